// What lies above the marks: axes, names, the links of the point in focus, rings, the lasso.
"use strict";

window.emosae = window.emosae || {};

/** Paint everything that concerns few points; names wait until the points stand still. */
emosae.paintOverlay = (plane, isStill) => {
  const BUTTONS = { width: 48, height: 215 }; // no name stands under them
  const { surface, ink, width, height } = plane;
  const ratio = window.devicePixelRatio || 1;
  const context = surface.getContext("2d");
  const { fontFamily } = getComputedStyle(surface);
  surface.width = Math.round(width * ratio);
  surface.height = Math.round(height * ratio);
  context.scale(ratio, ratio);
  context.lineJoin = "round";
  if (!isStill) return;
  if (plane.scene.axes) paintAxes(plane.scene.axes);
  const focus = plane.hovered ?? plane.pinned;
  if (focus !== null) paintNeighbours(focus);
  paintLabels();
  for (const row of [plane.pinned, plane.hovered]) if (row !== null) paintRing(row);
  paintLasso();

  function line(points, { colour = ink.muted, wide = 1, dash = [], alpha = 1, closed = false } = {}) {
    context.beginPath();
    points.forEach(({ x, y }, place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (closed) context.closePath();
    Object.assign(context, { strokeStyle: colour, lineWidth: wide, globalAlpha: alpha });
    context.setLineDash(dash);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  function write(text, x, y, { size = 13, weight = 600, align = "center", colour = ink.ink } = {}) {
    context.font = `${weight} ${size}px ${fontFamily}`;
    Object.assign(context, { textAlign: align, strokeStyle: ink.paper, lineWidth: 4, fillStyle: colour });
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }

  function paintAxes({ x, y }) {
    const zero = plane.toScreen(...plane.fromPlace([0, 0]));
    line([{ x: zero.x, y: 0 }, { x: zero.x, y: height }], { alpha: 0.35 });
    line([{ x: 0, y: zero.y }, { x: width, y: zero.y }], { alpha: 0.35 });
    const at = { x: Math.min(width - 24, Math.max(24, zero.x)), y: Math.min(height - 16, Math.max(20, zero.y)) };
    const style = { size: 12, weight: 500, colour: ink.muted };
    write(x[0], 10, at.y - 6, { ...style, align: "left" });
    write(x[1], width - 56, at.y - 6, { ...style, align: "right" });
    write(y[1], at.x, 18, style);
    write(y[0], at.x, height - 10, style);
  }

  function paintNeighbours(row) {
    const from = plane.screenOf(row);
    for (const [other, dashed] of plane.neighbours(row)) {
      if (Number.isNaN(plane.unitX[other])) continue;
      const to = plane.screenOf(other);
      line([from, to], { colour: ink.ink, wide: 1.6, dash: dashed ? [4, 4] : [], alpha: 0.85 });
      ring(to, 4, 1.4);
    }
  }

  function ring({ x, y }, radius, wide) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: ink.ink, lineWidth: wide });
    context.stroke();
  }

  function paintRing(row) {
    ring(plane.screenOf(row), (plane.scene.looks[4 * row + 2] / 16) * plane.grow + 5, 2);
  }

  /** Names in order of weight; one that would cover another is left out. */
  function paintLabels() {
    const taken = [];
    context.font = `600 13px ${fontFamily}`;
    for (const { text, x: px, y: py, raise } of plane.scene.labels) {
      const place = plane.toScreen(...plane.fromPlace([px, py]));
      if (place.x < 0 || place.x > width || place.y < 0 || place.y > height) continue;
      const half = context.measureText(text).width / 2 + 4;
      const y = Math.max(16, place.y - raise);
      const x = Math.min(width - half - (y < BUTTONS.height ? BUTTONS.width : 0), Math.max(half, place.x));
      if (taken.some((box) => Math.abs(box.x - x) < box.half + half && Math.abs(box.y - y) < 18)) continue;
      taken.push({ x, y, half });
      write(text, x, y);
    }
  }

  function paintLasso() {
    const outline = plane.lasso || plane.polygon?.map((corner) => plane.toScreen(...plane.fromPlace(corner)));
    if (!outline || outline.length < 2) return;
    line(outline, { colour: ink.accent, wide: 1.8, dash: [6, 4], closed: true });
    context.globalAlpha = 0.07;
    context.fillStyle = ink.accent;
    context.fill();
    context.globalAlpha = 1;
  }
};
