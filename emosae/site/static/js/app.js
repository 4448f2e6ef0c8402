// Starts the page: the frame around the views, the theme, the router.
"use strict";

(() => {
  const { el, replace } = emosae.dom;
  const NAVIGATION = [["overview", "Overview"], ["map", "Map"], ["emotions", "Emotions"], ["concepts", "Concepts"],
    ["scenarios", "Scenarios"], ["compare", "Compare"], ["about", "About"]];
  const PARENT = { emotion: "emotions", feature: "map", concept: "concepts", rollout: "scenarios", talk: "scenarios" };
  const main = document.querySelector("main");

  document.querySelector(".skip").addEventListener("click", () => main.querySelector("h1")?.focus());
  start();

  async function start() {
    setTheme(readTheme());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(document.documentElement.dataset.theme));
    try {
      const atlas = emosae.buildAtlas(await emosae.data.load("atlas"));
      drawFrame(atlas);
      await emosae.startRouter({ main, draw: (address) => drawView(atlas, address) });
    } catch (error) {
      replace(main, failure(error));
      throw error;
    }
  }

  async function drawView(atlas, { view, parts, query }) {
    markNavigation(PARENT[view] || view);
    const draw = emosae.views[view];
    try {
      if (draw) await (draw.needs ? draw.needs(atlas, parts, query) : atlas.ready());
      return draw ? await draw(atlas, parts, query) : notFound(`There is no page called \u201c${view}\u201d.`);
    } catch (error) {
      return failure(error);
    }
  }

  function notFound(message) {
    return el("div", { class: "page narrow" }, el("h1", {}, "Not here"), el("p", {}, message),
      el("p", {}, el("a", { href: emosae.href("overview") }, "Back to the overview")));
  }
  emosae.notFound = notFound;

  function failure(error) {
    return el("div", { class: "page narrow", role: "alert" }, el("h1", {}, "This page could not be shown"), el("p", {}, error.message));
  }

  function drawFrame(atlas) {
    replace(document.querySelector("#search-place"), emosae.buildSearch(atlas));
    const label = document.querySelector("#synthetic");
    label.hidden = !atlas.synthetic;
    if (atlas.synthetic) replace(label, el("b", {}, "Synthetic model."),
      " Trained from scratch on generated text as a test instrument, so that the truth is known. Nothing here describes a real assistant.");
  }

  function markNavigation(view) {
    replace(document.querySelector("nav"), NAVIGATION.map(([name, title]) =>
      el("a", { href: emosae.href(name), "aria-current": name === view ? "page" : null }, title)));
    const [bar, current] = [document.querySelector("nav"), document.querySelector("nav [aria-current]")];
    if (current) bar.scrollLeft = current.offsetLeft - bar.offsetLeft - (bar.clientWidth - current.offsetWidth) / 2; // on a phone not all fit
  }

  function readTheme() {
    try {
      return localStorage.getItem("emosae-theme") || "auto";
    } catch {
      return "auto"; // storage is switched off
    }
  }

  function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    const isDark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
    const next = isDark ? "light" : "dark";
    replace(document.querySelector("#theme-place"), el("button", {
      class: "theme", type: "button", "aria-label": `Switch to ${next} colours`, title: `Switch to ${next} colours`,
      on: { click: () => keepTheme(next) },
    }, isDark ? "\u263c" : "\u263e"));
    emosae.redraw?.(); // what is drawn on a canvas does not change its colours by itself
  }

  function keepTheme(theme) {
    setTheme(theme);
    document.querySelector("#theme-place button").focus();
    try {
      localStorage.setItem("emosae-theme", theme);
    } catch {
      // storage is switched off: the choice lasts until the page is closed
    }
  }
})();
