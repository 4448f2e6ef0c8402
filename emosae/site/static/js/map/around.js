// What stands around the map: filters, buttons, legend, and what a lasso selected.
"use strict";

window.emosae = window.emosae || {};

(() => {
  const { el } = emosae.dom;
  const { count } = emosae.format;
  const { glyph } = emosae.marks;

  /** The filters. `go(change)` opens the address so changed, `type(text)` narrows at once. */
  emosae.mapFilters = (state, { go, type }) => {
    const { atlas, query, colourings, colour } = state;
    const layers = [...new Set(atlas.saes.map((sae) => sae.layer).filter((layer) => layer !== null))].sort((a, b) => a - b);
    const runs = [...new Set(atlas.saes.map((sae) => sae.run).filter(Boolean))];
    const furthest = atlas.rungs.length;
    const options = (first, values) => [["", first], ...values.map((value) => [String(value), String(value)])];
    const select = (title, key, value, choices) => el("label", {}, title,
      el("select", { id: `filter-${key}`, on: { change: (event) => go({ [key]: event.target.value }) } },
        choices.map(([one, name]) => el("option", { value: one, selected: one === (value || "") }, name))));
    const isOpen = !matchMedia("(max-width: 760px)").matches || Object.keys(query).some((key) => key !== "at");
    return el("details", { class: "filter-box", open: isOpen }, el("summary", {}, "Find, filter, colour"), el("div", { class: "filters", role: "group", "aria-label": "Filters" },
      el("label", { class: "find" }, "Find", el("input", {
        id: "filter-find", type: "search", value: query.find || "", placeholder: "emotion, token, number\u2026", autocomplete: "off", spellcheck: "false",
        on: { input: (event) => type(event.target.value) },
      })),
      select("Emotion", "emotion", query.emotion, options("all", atlas.emotions.map(({ name }) => name))),
      runs.length > 1 && select("Run", "run", query.run, options("all", runs)),
      select("SAE", "sae", query.sae, options("all", atlas.saes.map(({ name }) => name))),
      layers.length > 1 && select("Layer", "layer", query.layer, options("all", layers)),
      select("Verdict", "verdict", query.verdict, [["", "any"], ...atlas.rungs.map(({ name }, place) =>
        [String(place + 1), place + 1 < furthest ? `${name} or further` : name])]),
      el("span", { class: "display" },
      select("Colour", "colour", colour === "emotion" ? "" : colour, Object.entries(colourings).map(([key, { title }]) => [key === "emotion" ? "" : key, title])),
      atlas.planes.length > 0 && select("Places", "plane", state.plane?.key, [["", "emotion profiles"], ...atlas.planes.map(({ key, title }) => [key, title])]),
      atlas.concepts.length > 0 && select("Marks", "marks", query.marks, [["", "features"], ["concepts", "concepts"]]),
      atlas.links.length > 0 && !query.marks && select("Links", "links", emosae.mapScene.areDrawn(atlas, query) ? "all" : "focus",
        [["all", "all"], ["focus", "in focus"]]))));
  };

  /** Buttons on the map. */
  emosae.mapControls = (plane, go) => {
    const button = (text, label, click, pressed = null) =>
      el("button", { type: "button", "aria-label": label, title: label, "aria-pressed": pressed, on: { click } }, text);
    const lasso = button("\u25cc", "Select with a lasso (or drag with Shift held)", () => {
      plane.isLassoing = !plane.isLassoing;
      lasso.setAttribute("aria-pressed", String(plane.isLassoing));
      plane.element.classList.toggle("lassoing", plane.isLassoing);
    }, String(plane.isLassoing));
    return el("div", { class: "zoom" },
      button("+", "Zoom in", () => plane.zoom(1.5)), button("\u2212", "Zoom out", () => plane.zoom(1 / 1.5)),
      button("\u2922", "Show everything", () => plane.reset()), lasso,
      button("\u25a3", "Select what is in view", () => plane.onLasso(plane.window)));
  };

  function tally(rows, keyOf) {
    const counts = new Map();
    for (const row of rows) counts.set(keyOf(row), (counts.get(keyOf(row)) || 0) + 1);
    return counts;
  }

  function mark(entry) {
    if (/^(rung|ramp)/.test(entry.hue)) return el("i", { class: `swatch ${entry.hue}` });
    return glyph(entry.key < 0 ? null : entry.key);
  }

  /** Every category that is shown, with how many points it has; a click narrows the map to it. */
  emosae.mapLegend = ({ colourings, colour }, order, addressOf) => {
    const { title, key, entries } = colourings[colour];
    const counts = tally(order, key);
    const present = entries.filter((entry) => counts.has(entry.key));
    return el("ul", { class: "legend", "aria-label": `Legend: ${title}` }, present.map((entry) => {
      const content = [mark(entry), el("bdi", {}, entry.name), el("span", { class: "muted" }, counts.get(entry.key).toLocaleString("en"))];
      return el("li", {}, entry.change ? el("a", { href: addressOf(entry.change) }, content) : el("span", {}, content));
    }));
  };

  /** What the lasso holds: how many, of which categories. */
  emosae.mapSelection = ({ atlas, items, colourings }, order, chosen, { plane, clear }) => {
    if (!chosen) return null;
    const bars = (colouring, n) => {
      const counts = tally(chosen, colouring.key);
      const sorted = colouring.entries.filter((entry) => counts.has(entry.key)).sort((a, b) => counts.get(b.key) - counts.get(a.key));
      const top = Math.max(1, ...counts.values());
      return [el("ol", { class: "tally" }, sorted.slice(0, n).map((entry) => el("li", {},
        el("span", { class: "emotion" }, mark(entry), el("bdi", {}, entry.name)), emosae.plots.bar(counts.get(entry.key), top),
        el("span", { class: "number" }, counts.get(entry.key).toLocaleString("en"))))),
      sorted.length > n && el("p", { class: "note" }, `and ${sorted.length - n} more`)];
    };
    return el("section", { class: "card", "aria-labelledby": "selection" },
      el("h2", { id: "selection" }, `${chosen.length.toLocaleString("en")} selected`),
      el("p", { class: "note", role: "status" }, `of ${count(order.length, items.noun)} shown`),
      chosen.length > 0 && [el("h3", {}, "Emotions"), bars(colourings.emotion, 8), el("h3", {}, "Verdicts"), bars(colourings.verdict, 6)],
      el("p", { class: "buttons" },
        chosen.length > 0 && el("button", { type: "button", on: { click: () => plane.frameRows(chosen) } }, "Zoom to them"),
        el("a", { class: "button", href: clear }, "Clear")));
  };
})();
