"use strict";
document.documentElement.classList.add("scripted");

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const isNumber = head.dataset.kind === "number";
    head.querySelector("button").addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      const sign = order === "ascending" ? 1 : -1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const key = (row) => (isNumber ? row.cells[column].dataset.sort : row.cells[column].querySelector(".name")?.textContent ?? row.cells[column].textContent);
      const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        return sign * (isNumber ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

const marks = [...document.querySelectorAll('.drawing [style*="--series-"]')].map((mark) => [
  mark,
  mark.getAttribute("style").match(/--series-(\d+)/)[1],
]);
const buttons = [...document.querySelectorAll(".key button")];
const pressed = () => buttons.filter((button) => button.getAttribute("aria-pressed") === "true");
const show = (chosen) => {
  for (const [mark, series] of marks) mark.classList.toggle("dim", chosen.length > 0 && !chosen.includes(series));
};
const showPressed = () => show(pressed().map((button) => button.dataset.series));

for (const button of buttons) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    showPressed();
  });
  button.addEventListener("pointerenter", () => show([button.dataset.series, ...pressed().map((other) => other.dataset.series)]));
  button.addEventListener("pointerleave", showPressed);
}
