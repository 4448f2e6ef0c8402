// From an address' query to what the plane draws: which points are shown, how they look, their links and names.
"use strict";

window.emosae = window.emosae || {};

emosae.mapScene = (() => {
  const STRENGTHS = [0.4, 0.55, 0.95, 1, 1, 1]; // how solid a mark is by verdict, so that what is sure stands out
  const FEW = 2000; // points among which all are drawn large
  const MANY_LINKS = 4000; // above it, only those of the point in focus are drawn
  const SURE = 2; // the verdict from which features say where their emotion is named
  const DIMMED = 0.16;

  /** Which features pass the filters: 1 or 0 for each. */
  function passing(atlas, query) {
    const n = atlas.features.length;
    const shown = new Uint8Array(n).fill(1);
    const [sae, level, emotion] = ["sae", "level", "emotion"].map((name) => atlas.column(name));
    const saes = atlas.saes.map((one) => (!query.sae || one.name === query.sae) && (!query.layer || String(one.layer) === query.layer) && (!query.run || one.run === query.run));
    const wanted = query.emotion ? atlas.emotion(query.emotion)?.row ?? -2 : null;
    const lowest = Number(query.verdict) || 0;
    const scores = query.find && atlas.isReady ? new emosae.Finder(atlas).score(query.find) : null;
    for (let row = 0; row < n; row += 1) {
      const isOf = wanted === null || emotion[row] === wanted;
      if (!isOf || !saes[sae[row]] || level[row] < lowest || (scores && !scores[row])) shown[row] = 0;
    }
    if (wanted !== null && wanted >= 0 && atlas.isReady) addCandidates(atlas, wanted, (row) => saes[sae[row]] && level[row] >= lowest && (!scores || scores[row]), shown);
    if (query.status) for (const feature of atlas.features) if (feature.status !== query.status) shown[feature.row] = 0;
    return shown;
  }

  /** Features that stand nearer another emotion, but were a candidate for this one too. */
  function addCandidates(atlas, wanted, fits, shown) {
    for (const { feature } of atlas.emotions[wanted].ledger) if (fits(feature.row)) shown[feature.row] = 1;
  }

  /** Rows that are shown and have a place, the furthest verdicts last. */
  function drawOrder(shown, level, x, y) {
    const rows = [[], [], [], [], [], []];
    for (let row = 0; row < shown.length; row += 1) if (shown[row] && !Number.isNaN(x[row] + y[row])) rows[level[row]].push(row);
    return Uint32Array.from(rows.flat());
  }

  /** Four bytes a point: see SHADERS. */
  function looksOf(items, colouring, palette, chosen) {
    const looks = new Uint8Array(4 * items.n);
    const byKey = new Map(colouring.entries.map((entry) => [entry.key, entry]));
    const base = Math.max(1.9, Math.min(4.6, 4.6 * Math.sqrt(FEW / items.n)));
    const places = new Map(palette.map((hue, place) => [hue, place]));
    for (let row = 0; row < items.n; row += 1) {
      const entry = byKey.get(colouring.key(row)) || colouring.entries.at(-1);
      const level = items.level[row];
      const radius = items.size ? items.size[row] : base * (1 + 0.17 * level);
      const strength = STRENGTHS[level] * (chosen && !chosen.has(row) ? DIMMED : 1);
      looks[4 * row] = places.get(entry.hue);
      looks[4 * row + 1] = entry.shape;
      looks[4 * row + 2] = Math.min(255, Math.round(16 * radius));
      looks[4 * row + 3] = Math.round(255 * strength);
    }
    return looks;
  }

  function linksOf(atlas, items, shown, query) {
    if (items.noun !== "feature" || !areDrawn(atlas, query)) return { a: [], b: [], dashed: [] };
    const [a, b] = [emosae.data.numbersOf(atlas.linkColumns.a), emosae.data.numbersOf(atlas.linkColumns.b)];
    const relation = emosae.data.readerOf(atlas.linkColumns.relation);
    const kept = [];
    for (let link = 0; link < a.length; link += 1) if (shown[a[link]] && shown[b[link]]) kept.push(link);
    return {
      a: Uint32Array.from(kept, (link) => a[link]), b: Uint32Array.from(kept, (link) => b[link]),
      dashed: Uint8Array.from(kept, (link) => (relation(link) === "match" ? 0 : 1)),
    };
  }

  /** Whether all links are drawn rather than those of the point in focus. */
  function areDrawn(atlas, query) {
    return query.links ? query.links === "all" : atlas.links.length <= MANY_LINKS;
  }

  /** Names of emotions: where each stands itself, or above the middle of its points, the most numerous first. */
  function labelsOf(atlas, items, order, x, y, plane) {
    const groups = new Map();
    for (const row of order) {
      const emotion = items.emotion[row];
      if (!(emotion >= 0)) continue;
      if (!groups.has(emotion)) groups.set(emotion, []);
      groups.get(emotion).push(row);
    }
    const quantile = (values, share) => values.sort((one, other) => one - other)[Math.floor(share * (values.length - 1))];
    const isFew = items.n <= FEW;
    const at = (row, rows) => {
      if (plane) return { x: plane.emotion_x[row], y: plane.emotion_y[row], raise: 9 };
      const sure = rows.filter((one) => items.level[one] >= SURE);
      const told = sure.length >= 3 ? sure : rows;
      return { x: quantile(told.map((one) => x[one]), 0.5), y: quantile(told.map((one) => y[one]), isFew ? 0.875 : 0.5), raise: isFew ? 12 : -4 };
    };
    return [...groups].sort(([, some], [, others]) => others.length - some.length)
      .map(([row, rows]) => ({ text: atlas.emotions[row].name, ...at(row, rows) })).filter((label) => Number.isFinite(label.x));
  }

  /** Everything that the plane shows. `chosen` is a set of rows, or null if none are. */
  function mapScene(atlas, { items, colouring, plane, query, shown, chosen }) {
    const [x, y] = items.place(plane);
    const order = drawOrder(shown, items.level, x, y);
    const palette = [...new Set(colouring.entries.map(({ hue }) => hue))];
    return {
      x, y, order, palette, places: `${items.noun} ${plane ? plane.key : ""}`,
      looks: looksOf(items, colouring, palette, chosen), links: linksOf(atlas, items, chosen ? shown.map((one, row) => (chosen.has(row) ? one : 0)) : shown, query),
      labels: labelsOf(atlas, items, order, x, y, plane), axes: plane ? { x: plane.x, y: plane.y } : null, grow: items.n > FEW ? 3.2 : 2,
    };
  }

  return Object.assign(mapScene, { areDrawn, passing });
})();
