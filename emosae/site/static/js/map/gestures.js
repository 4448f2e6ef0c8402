// Pointer and keys on the map: drag moves, wheel and pinch zoom, shift-drag (or a drag in lasso mode) draws a lasso, a click
// opens; arrows go from point to point.
"use strict";

window.emosae = window.emosae || {};

emosae.listenToGestures = (plane) => {
  const ZOOM = 1.35;
  const CORNERS = 40; // of a lasso, as it is kept
  const { surface } = plane;
  const pointers = new Map();
  let travelled = 0;
  let waiting = null;
  const on = (event, listener, options) => surface.addEventListener(event, listener, options);

  function fromMiddle(event) {
    const frame = surface.getBoundingClientRect();
    return { x: event.clientX - frame.left - frame.width / 2, y: event.clientY - frame.top - frame.height / 2 };
  }

  function onSurface(event) {
    return { x: event.offsetX, y: event.offsetY };
  }

  on("pointerdown", (event) => {
    surface.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, fromMiddle(event));
    travelled = 0;
    plane.lasso = (plane.isLassoing || event.shiftKey) && pointers.size === 1 ? [onSurface(event)] : null;
  });

  on("pointermove", (event) => {
    const [now, before] = [fromMiddle(event), pointers.get(event.pointerId)];
    if (!before) hoverSoon(onSurface(event));
    else drag(event, now, before);
  });

  /** The point under the pointer, once a frame. */
  function hoverSoon(place) {
    if (!waiting) requestAnimationFrame(() => {
      const at = waiting;
      waiting = null;
      if (at && plane.grid) plane.hover(plane.nearest(at));
    });
    waiting = place;
  }

  function drag(event, now, before) {
    travelled += Math.hypot(now.x - before.x, now.y - before.y);
    pointers.set(event.pointerId, now);
    if (travelled > 4) plane.hover(null);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    const apart = (place) => Math.hypot(place.x - other.x, place.y - other.y) || 1;
    if (other) plane.zoom(apart(now) / apart(before), other);
    else if (plane.lasso) extendLasso(onSurface(event));
    else plane.move(now.x - before.x, now.y - before.y);
  }

  function extendLasso(place) {
    const last = plane.lasso.at(-1);
    if (Math.hypot(place.x - last.x, place.y - last.y) > 4) plane.lasso.push(place);
    plane.draw();
  }

  function release(event) {
    pointers.delete(event.pointerId);
    const outline = plane.lasso;
    plane.lasso = null;
    if (outline && outline.length > 3) finishLasso(outline);
    else if (event.type === "pointerup" && travelled <= 4) click(event);
    plane.draw();
  }

  function finishLasso(outline) {
    const step = Math.max(1, outline.length / CORNERS);
    const kept = Array.from({ length: Math.min(outline.length, CORNERS) }, (_, place) => outline[Math.floor(place * step)]);
    plane.onLasso(kept.map((corner) => plane.toPlace(plane.toUnit(corner))));
  }

  /** A tap on a touch screen first shows what is there, and opens it the second time. */
  function click(event) {
    const isTouch = event.pointerType === "touch";
    const row = plane.nearest(onSurface(event), isTouch ? 24 : 14);
    if (row !== null && (!isTouch || plane.hovered === row)) plane.onOpen(row);
    else plane.hover(row);
  }

  on("pointerup", release);
  on("pointercancel", release);
  on("pointerleave", () => {
    waiting = null;
    if (!pointers.size) plane.hover(null);
  });
  on("wheel", (event) => {
    event.preventDefault();
    plane.hover(null);
    plane.zoom(Math.exp(-event.deltaY / 400), fromMiddle(event));
  }, { passive: false });
  on("dblclick", (event) => plane.zoom(2, fromMiddle(event)));
  on("blur", () => plane.hover(null));

  const ACTIONS = {
    "+": () => plane.zoom(ZOOM), "=": () => plane.zoom(ZOOM), "-": () => plane.zoom(1 / ZOOM), 0: () => plane.reset(),
    Escape: () => plane.hover(null), Enter: () => plane.hovered !== null && plane.onOpen(plane.hovered),
    s: () => plane.onLasso(plane.window),
  };
  on("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if ((!way && !ACTIONS[event.key]) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (way) step(way);
    else ACTIONS[event.key]();
  });

  /** Go to the point that lies nearest in a direction. */
  function step([dx, dy]) {
    const from = plane.hovered === null ? { x: plane.width / 2, y: plane.height / 2 } : plane.screenOf(plane.hovered);
    let [best, least] = [null, Infinity];
    for (const row of plane.scene.order) {
      const { x, y } = plane.screenOf(row);
      const [along, aside] = [(x - from.x) * dx + (y - from.y) * dy, Math.abs((x - from.x) * dy) + Math.abs((y - from.y) * dx)];
      if (row !== plane.hovered && along > 0 && along + 2.5 * aside < least) [best, least] = [row, along + 2.5 * aside];
    }
    if (best !== null || plane.hovered === null) plane.hover(best ?? plane.scene.order[0] ?? null);
  }
};
