// Addresses: `#/view/part/part?key=value`. Every page has one, so links can be kept and the back button works.
"use strict";

window.emosae = window.emosae || {};

/** The address of a page; a last argument that is an object becomes the query, without its empty values. */
emosae.href = (view, ...parts) => {
  const query = typeof parts.at(-1) === "object" ? parts.pop() : {};
  const kept = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const path = [view, ...parts].map((part) => encodeURIComponent(part)).join("/");
  return `#/${path}${kept.length ? `?${new URLSearchParams(kept)}` : ""}`;
};

emosae.parseHash = (hash) => {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").map(decode);
  return { view: parts[0] || "overview", parts: parts.slice(1), query: Object.fromEntries(new URLSearchParams(search)) };

  function decode(part) {
    try {
      return decodeURIComponent(part);
    } catch {
      return part; // a hand-typed % sign
    }
  }
};

/** Draws the page that the address names, and again whenever the address changes. A change of the query alone (a filter,
    an order) keeps the place on the page and the focus. */
emosae.startRouter = ({ main, draw }) => {
  const scrolled = new Map();
  const pathOf = (hash) => hash.split("?", 1)[0];
  let current = location.hash;
  let byLink = false;
  let turn = 0;

  history.scrollRestoration = "manual";
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("a[href^='#/']")) byLink = true;
  });
  window.addEventListener("scroll", () => scrolled.set(current, window.scrollY), { passive: true });
  window.addEventListener("hashchange", async () => {
    const isSamePage = pathOf(location.hash) === pathOf(current);
    const top = isSamePage ? window.scrollY : byLink ? 0 : scrolled.get(location.hash) || 0;
    byLink = false;
    current = location.hash;
    await show({ focus: isSamePage ? document.activeElement.id : "h1" });
    window.scrollTo(0, top);
  });

  async function show({ focus = "" } = {}) {
    turn += 1;
    const mine = turn;
    emosae.tip.hide();
    const page = await draw(emosae.parseHash(location.hash));
    if (mine !== turn) return; // another address was asked for meanwhile
    main.replaceChildren(page);
    const heading = main.querySelector("h1");
    document.title = heading ? `${heading.textContent} \u00b7 emosae atlas` : "emosae atlas";
    if (heading) heading.tabIndex = -1;
    const target = focus === "h1" ? heading : document.getElementById(focus);
    target?.focus({ preventScroll: true });
  }

  /** Go to an address from code, as a link would. */
  emosae.go = (href) => {
    byLink = true;
    location.hash = href;
  };
  return show();
};
