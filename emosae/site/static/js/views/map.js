// The map: every feature or concept at its stored place, filtered, coloured and selected; the same features as a list below.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

emosae.views.map = (() => {
  const { el, replace } = emosae.dom;
  const { count } = emosae.format;
  const LISTED = 500;
  const TYPING_MS = 90;
  let plane = null; // one for all visits, so that the view stays when the filters change or one comes back
  let current = null;

  function map(atlas, _, query) {
    const kind = query.marks === "concepts" && atlas.concepts.length ? "concepts" : "features";
    const items = emosae.mapItems(atlas, kind);
    const colourings = emosae.mapColourings(atlas, items);
    const state = {
      atlas, query: { ...query }, items, colourings,
      colour: colourings[query.colour] ? query.colour : "emotion", plane: atlas.planes.find(({ key }) => key === query.plane) || null,
      status: el("p", { class: "note", role: "status" }), spoken: el("p", { class: "visually-hidden", role: "status" }),
      legend: el("div"), aside: el("div", { class: "map-aside" }), list: el("div"), empty: el("div"),
    };
    current = state;
    plane ||= makePlane();
    plane.pinned = null;
    const stage = el("div", { class: "map-stage" }, plane.element, emosae.mapControls(plane, (change) => go(change)), state.empty);
    const page = el("div", { class: "page wide map-page" },
      el("div", { class: "section-head" }, el("h1", {}, "Map"), state.status),
      emosae.mapFilters(state, { go, type }),
      el("figure", { class: "map" }, el("div", { class: "map-frame" }, stage, state.aside), state.spoken,
        el("figcaption", {}, state.legend, el("p", { class: "note" }, explain(state)))),
      state.list);
    refresh(state, { whole: true });
    if (query.at && kind === "features" && atlas.features[query.at]) plane.pin(Number(query.at));
    emosae.redraw = () => plane.recolour();
    plane.afterDrawing(() => {
      if (!atlas.isReady) atlas.ready().then(() => { if (current === state) refresh(state); });
    });
    return page;
  }

  map.needs = async (atlas, parts, query) => { if (query?.find || query?.emotion) await atlas.ready(); };

  function makePlane() {
    return new emosae.Plane({
      label: "Map. Arrow keys go from point to point, Enter opens one, plus and minus zoom, S selects what is in view.",
      onOpen: (row) => emosae.go(current.items.href(row)),
      onHover: (row, box) => {
        replace(current.spoken, row === null ? "" : current.items.spoken(row));
        if (row === null) emosae.tip.hide();
        else emosae.tip.show(current.items.note(row), box);
      },
      onLasso: (polygon) => go({ lasso: polygon.map((corner) => corner.map((value) => Number(value.toPrecision(4))).join("~")).join("_") }),
      neighbours: (row) => current.items.neighbours(row),
    });
  }

  function addressOf(change) {
    return emosae.href("map", { ...current.query, at: "", ...change });
  }

  function go(change) {
    emosae.go(addressOf(change));
  }

  /** What was typed narrows the map at once; the address follows without a new page. */
  function type(text) {
    clearTimeout(current.typing);
    const state = current;
    state.typing = setTimeout(async () => {
      await state.atlas.ready();
      if (current !== state) return;
      state.query.find = text.trim();
      history.replaceState(null, "", addressOf({}));
      refresh(state);
    }, TYPING_MS);
  }

  function readLasso(text) {
    const corners = (text || "").split("_").map((corner) => corner.split("~").map(Number));
    return corners.length > 2 && corners.every((corner) => corner.length === 2 && corner.every(Number.isFinite)) ? corners : null;
  }

  /** Filter, select and draw. `whole` also places the points and reads the colours. */
  function refresh(state, { whole = false } = {}) {
    const { atlas, items, query } = state;
    const features = emosae.mapScene.passing(atlas, query);
    const shown = items.passes(features);
    const scene = (chosen) => emosae.mapScene(atlas, { ...state, colouring: state.colourings[state.colour], shown, chosen });
    const first = scene(null);
    const polygon = readLasso(query.lasso);
    if (whole) plane.show(first);
    else plane.restyle(first);
    plane.polygon = polygon;
    const chosen = polygon && plane.rowsInside(polygon);
    if (chosen) plane.restyle(scene(new Set(chosen)));
    describe(state, { order: first.order, chosen, features });
  }

  /** Everything around the drawing that depends on what is shown. */
  function describe(state, { order, chosen, features }) {
    const { atlas, items, legend, aside, list, empty } = state;
    const total = items.n;
    replace(state.status, order.length === total ? count(total, items.noun) : `${order.length.toLocaleString("en")} of ${count(total, items.noun)}`);
    replace(empty, order.length === 0 && el("p", { class: "nothing" }, total ? "Nothing passes these filters. " : "This atlas has no features. ",
      total > 0 && el("a", { href: emosae.href("map") }, "Show all features")));
    replace(legend, emosae.mapLegend(state, order, addressOf));
    replace(aside, emosae.mapSelection(state, order, chosen, { plane, clear: addressOf({ lasso: "" }) }));
    aside.hidden = !chosen;
    const rows = items.noun === "feature" ? chosen : chosen?.flatMap((row) => atlas.concepts[row].features.map((feature) => feature.row));
    const listed = rows ? Uint8Array.from(features, () => 0) : features;
    if (rows) for (const row of rows) listed[row] = features[row];
    replace(list, atlas.isReady ? listing(atlas, listed, Boolean(rows)) : el("p", { class: "note", role: "status" }, "Loading the list\u2026"));
  }

  function explain({ items, plane: shown, atlas }) {
    const marks = items.noun === "feature" ? "Large, solid marks have the furthest verdicts; solid lines link features that match across SAEs, dashed ones those that split, merge or are absorbed."
      : "A mark is a group of features that match across SAEs, in the middle of its features; large ones have many.";
    const places = shown ? shown.note : "Places come from the features\u2019 emotion profiles; only nearness means something.";
    const several = new Set(atlas.saes.map((sae) => sae.run)).size > 1;
    const runs = several ? "Features of different runs are linked only where they could be compared; the notes on About say where." : "";
    return [places, atlas.features.length ? marks : "", runs].filter(Boolean).join(" ");
  }

  function listing(atlas, listed, isSelection) {
    const rows = emosae.rankedFeatures(atlas).filter((row) => listed[row]);
    if (!rows.length) return null;
    const { aurocColumn, table, verdictColumn } = emosae.tables;
    const shown = Array.from(rows.subarray(0, LISTED), (row) => atlas.features[row]);
    const entryOf = new Map(shown.map((feature) => [feature, feature.ledger[0]]));
    const auroc = aurocColumn([...entryOf.values()]);
    return el("section", { "aria-labelledby": "listing" },
      el("h2", { id: "listing" }, isSelection ? "The selected features as a list" : "The same features as a list"),
      rows.length > LISTED && el("p", { class: "note" }, `The first ${LISTED} of ${count(rows.length, "feature")}, the furthest verdicts first; filter or select to see others.`),
      table("Features on the map", [
        { title: "Feature", cell: emosae.marks.featureName },
        { title: "Emotion", cell: (feature) => emosae.marks.emotionName(feature.emotion) },
        { ...auroc, cell: (feature) => auroc.cell(entryOf.get(feature)) },
        { title: "Fires most on", className: "tokens", cell: (feature) => feature.tokens.slice(0, 4).map((token) => [el("q", {}, emosae.text.visible(token)), " "]) },
        { ...verdictColumn(atlas), cell: (feature) => emosae.marks.verdict(feature.level, atlas.rungs) },
      ], shown));
  }

  return map;
})();

/** Rows of all features, the furthest verdict and then the best AUROC first, as the ledger is sorted. */
emosae.rankedFeatures = (atlas) => {
  if (!atlas.isReady) throw new Error("The ledger was read before it was loaded: await atlas.ready()");
  const seen = new Set();
  for (const row of atlas.ledgerFeatures) seen.add(row);
  for (let row = 0; row < atlas.features.length; row += 1) seen.add(row);
  return Uint32Array.from(seen);
};
