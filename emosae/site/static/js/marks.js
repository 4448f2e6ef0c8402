// How an emotion looks: one of six hues that stay apart for colour-blind readers, times one of six shapes. Verdicts are a
// single hue that deepens, always with pips and words beside it.
"use strict";

window.emosae = window.emosae || {};

emosae.marks = (() => {
  const { el, svg } = emosae.dom;
  const HUES = 6;
  // Outlines in a square from -1 to 1; all cover about the same area.
  const SHAPES = [
    null, // a circle
    [[-0.86, -0.86], [0.86, -0.86], [0.86, 0.86], [-0.86, 0.86]],
    [[0, -1.15], [1.07, 0.8], [-1.07, 0.8]],
    [[0, -1.22], [1.22, 0], [0, 1.22], [-1.22, 0]],
    [[0, 1.15], [1.07, -0.8], [-1.07, -0.8]],
    [[-0.42, -1.15], [0.42, -1.15], [0.42, -0.42], [1.15, -0.42], [1.15, 0.42], [0.42, 0.42], [0.42, 1.15],
      [-0.42, 1.15], [-0.42, 0.42], [-1.15, 0.42], [-1.15, -0.42], [-0.42, -0.42]],
  ];

  function hueClass(place) {
    return place === null ? "hue-none" : `hue-${place % HUES}`;
  }

  function shapeOf(place) {
    return place === null ? 0 : Math.floor(place / HUES) % SHAPES.length;
  }

  /** Add the outline of a mark to a canvas path. */
  function tracePath(context, shape, x, y, radius) {
    const corners = SHAPES[shape];
    if (!corners) {
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 2 * Math.PI);
      return;
    }
    corners.forEach(([dx, dy], place) => {
      if (place === 0) context.moveTo(x + dx * radius, y + dy * radius);
      else context.lineTo(x + dx * radius, y + dy * radius);
    });
    context.closePath();
  }

  /** Corners of a shape in a square from -1 to 1; null for a circle. */
  function outline(shape) {
    return SHAPES[shape];
  }

  /** The small mark that stands beside a category's name everywhere; `place` counts the categories from 0. */
  function glyph(place) {
    const corners = SHAPES[shapeOf(place)];
    const outline = corners
      ? svg("polygon", { points: corners.map(([x, y]) => `${x},${y}`).join(" ") })
      : svg("circle", { r: 1 });
    return svg("svg", { class: `glyph ${hueClass(place)}`, viewBox: "-1.3 -1.3 2.6 2.6", "aria-hidden": "true" }, outline);
  }

  /** An emotion's mark and name, linked to its page. */
  function emotionName(emotion, { link = true } = {}) {
    if (!emotion) return el("span", { class: "emotion muted" }, glyph(null), "no emotion");
    const parts = [glyph(emotion.row), el("bdi", {}, emotion.name)];
    return link && emotion.row !== null
      ? el("a", { class: "emotion", href: emosae.href("emotion", emotion.name) }, parts)
      : el("span", { class: "emotion" }, parts);
  }

  /** Pips and the name of the highest rung reached; 0 is none. */
  function verdict(level, rungs) {
    const pips = rungs.map((_, place) => el("i", { class: place < level ? "pip on" : "pip" }));
    const name = level > 0 ? rungs[level - 1].name : "not detected";
    return el("span", { class: level > 0 ? "verdict" : "verdict unproven" },
      el("span", { class: `pips rung-${level}`, "aria-hidden": "true" }, pips), name);
  }

  function featureAddress(feature) {
    return `${feature.sae.name}/${feature.feature_idx}`;
  }

  /** A feature's address, linked to its page. */
  function featureName(feature) {
    const href = emosae.href("feature", feature.sae.name, feature.feature_idx);
    return el("a", { class: "address", href }, el("bdi", {}, feature.sae.name), "/", el("b", {}, feature.feature_idx));
  }

  /** The colour that a class gives to text, resolved for a canvas. */
  function colourOf(className) {
    const probe = el("span", { class: className, hidden: true });
    document.body.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }

  return { colourOf, emotionName, featureAddress, featureName, glyph, hueClass, outline, shapeOf, tracePath, verdict };
})();
