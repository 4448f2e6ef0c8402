// The map's canvas: marks and links at their stored places, zoomed by wheel, pinch, buttons or keys.
"use strict";

window.emosae = window.emosae || {};

/** A plane of points `{row, x, y, hue, shape, size, strength, item}`: `hue` is a class that sets a colour; links are `{a, b, dashed}` point rows. */
emosae.Plane = class {
  static #ZOOM = 1.35;
  static #PAD = 34;

  constructor({ points, links, labels, onHover, onOpen, label }) {
    Object.assign(this, { points, links, labels, onHover, onOpen });
    this.view = { scale: 1, x: 0, y: 0 };
    this.hovered = null;
    this.pinned = null;
    this.pointers = new Map();
    this.canvas = emosae.dom.el("canvas", { tabindex: "0", role: "application", "aria-label": label });
    this.context = this.canvas.getContext("2d");
    this.#frame();
    this.#listen();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
  }

  /** Show only these points. */
  filter(isShown) {
    this.shown = this.points.filter(isShown);
    this.draw();
  }

  /** Put one point in the middle, ringed. */
  pin(point) {
    this.pinned = this.centred = point;
    this.draw();
  }

  zoom(factor, centre = { x: 0, y: 0 }) {
    const scale = Math.min(60, Math.max(0.7, this.view.scale * factor));
    const change = scale / this.view.scale;
    const move = (old, at) => at - (at - old) * change;
    this.view = { scale, x: move(this.view.x, centre.x), y: move(this.view.y, centre.y) };
    this.draw();
  }

  reset() {
    this.view = { scale: 1, x: 0, y: 0 };
    this.pinned = null;
    this.draw();
  }

  /** Map the points' bounding box onto -1..1, keeping its proportions. */
  #frame() {
    const [xs, ys] = [this.points.map((point) => point.x), this.points.map((point) => point.y)];
    const bounds = (values) => values.reduce(([lo, hi], value) => [Math.min(lo, value), Math.max(hi, value)], [Infinity, -Infinity]);
    const middle = ([lo, hi]) => (lo + hi) / 2 || 0;
    const half = ([lo, hi]) => (hi - lo) / 2 || 1;
    const [boundsX, boundsY] = [bounds(xs), bounds(ys)];
    this.centre = { x: middle(boundsX), y: middle(boundsY) };
    this.half = { x: half(boundsX), y: half(boundsY) };
    this.shown = this.points;
  }

  /** A point in pixels from the middle, before zooming. The two axes of a layout mean nothing, so each fills its side. */
  #unit(point) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return {
      x: ((point.x - this.centre.x) / this.half.x) * (width / 2 - emosae.Plane.#PAD),
      y: -((point.y - this.centre.y) / this.half.y) * (height / 2 - emosae.Plane.#PAD),
    };
  }

  /** Only now, because a canvas has no size before it stands in the page. */
  #centre(point) {
    const scale = 2.5;
    const unit = this.#unit(point);
    this.view = { scale, x: -scale * unit.x, y: -scale * unit.y };
    this.centred = null;
  }

  /** Where a point lies on the canvas. */
  #at(point) {
    const unit = this.#unit(point);
    return {
      x: this.canvas.clientWidth / 2 + this.view.x + this.view.scale * unit.x,
      y: this.canvas.clientHeight / 2 + this.view.y + this.view.scale * unit.y,
    };
  }

  draw() {
    if (this.queued) return;
    this.queued = requestAnimationFrame(() => {
      this.queued = null;
      if (this.canvas.isConnected) this.#paint();
    });
  }

  #paint() {
    const { canvas, context } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    context.scale(ratio, ratio);
    if (this.centred) this.#centre(this.centred);
    this.ink = this.#colours();
    this.places = new Map(this.shown.map((point) => [point.row, this.#at(point)]));
    this.#paintLinks();
    for (const point of this.shown) this.#paintMark(point);
    this.#paintLabels();
    for (const point of [this.pinned, this.hovered]) if (point && this.places.has(point.row)) this.#paintRing(point);
  }

  #colours() {
    const { colourOf, hueClass } = emosae.marks;
    const hues = new Map();
    for (const { hue } of this.shown) if (!hues.has(hue)) hues.set(hue, colourOf(hue || hueClass(null)));
    return { hues, ink: colourOf("ink"), muted: colourOf("muted"), paper: colourOf("paper-colour") };
  }

  #paintLinks() {
    const { context } = this;
    const focus = this.hovered || this.pinned;
    for (const link of this.links) {
      const [from, to] = [this.places.get(link.a), this.places.get(link.b)];
      if (!from || !to) continue;
      const isNear = focus && (link.a === focus.row || link.b === focus.row);
      context.beginPath();
      context.setLineDash(link.dashed ? [3, 3] : []);
      context.moveTo(from.x, from.y);
      context.lineTo(to.x, to.y);
      context.strokeStyle = isNear ? this.ink.ink : this.ink.muted;
      context.globalAlpha = isNear ? 0.9 : 0.4;
      context.lineWidth = isNear ? 1.6 : 1;
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  #paintMark(point) {
    const { context } = this;
    const { x, y } = this.places.get(point.row);
    context.beginPath();
    emosae.marks.tracePath(context, point.shape, x, y, this.#radius(point));
    context.fillStyle = this.ink.hues.get(point.hue);
    context.globalAlpha = point.strength;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = this.ink.paper;
    context.lineWidth = 1;
    context.stroke();
  }

  #radius(point) {
    return point.size * Math.min(2, Math.max(0.85, Math.sqrt(this.view.scale) * 0.95));
  }

  #paintRing(point) {
    const { x, y } = this.places.get(point.row);
    this.context.beginPath();
    this.context.arc(x, y, this.#radius(point) + 5, 0, 2 * Math.PI);
    this.context.strokeStyle = this.ink.ink;
    this.context.lineWidth = 2;
    this.context.stroke();
  }

  /** Names at the median place of their points; a name that would cover another is left out. */
  #paintLabels() {
    const { context } = this;
    const taken = [];
    const { fontFamily } = getComputedStyle(this.canvas);
    context.font = `600 13px ${fontFamily}`;
    context.textAlign = "center";
    context.lineJoin = "round";
    for (const { text, rows } of this.labels) {
      const places = rows.map((row) => this.places.get(row)).filter(Boolean);
      if (!places.length) continue;
      const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
      const x = middle(places.map((place) => place.x));
      const y = Math.max(16, places.map((place) => place.y).sort((a, b) => a - b)[Math.floor(places.length / 8)] - 12);
      const half = context.measureText(text).width / 2 + 4;
      if (taken.some((box) => Math.abs(box.x - x) < box.half + half && Math.abs(box.y - y) < 17)) continue;
      taken.push({ x, y, half });
      context.strokeStyle = this.ink.paper;
      context.lineWidth = 4;
      context.strokeText(text, x, y);
      context.fillStyle = this.ink.ink;
      context.fillText(text, x, y);
    }
  }

  #nearest(x, y, reach = 14) {
    let [best, distance] = [null, reach * reach];
    for (const point of this.shown) {
      const place = this.places?.get(point.row);
      if (!place) continue;
      const square = (place.x - x) ** 2 + (place.y - y) ** 2;
      if (square < distance) [best, distance] = [point, square];
    }
    return best;
  }

  #hover(point) {
    this.hovered = point;
    this.draw();
    if (!point) {
      emosae.tip.hide();
      this.onHover(null, null);
      return;
    }
    const place = this.places.get(point.row);
    const frame = this.canvas.getBoundingClientRect();
    const box = { left: frame.left + place.x - 8, right: frame.left + place.x + 8, top: frame.top + place.y - 8, bottom: frame.top + place.y + 8 };
    this.onHover(point, box);
  }

  #listen() {
    const { canvas } = this;
    const on = (event, listener, options) => canvas.addEventListener(event, listener.bind(this), options);
    on("pointerdown", this.#press);
    on("pointermove", this.#move);
    on("pointerup", this.#release);
    on("pointercancel", this.#release);
    on("pointerleave", () => { if (!this.pointers.size) this.#hover(null); });
    on("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), this.#fromMiddle(event));
    }, { passive: false });
    on("dblclick", (event) => this.zoom(2, this.#fromMiddle(event)));
    on("keydown", this.#key);
    on("blur", () => this.#hover(null));
  }

  #fromMiddle(event) {
    const frame = this.canvas.getBoundingClientRect();
    return { x: event.clientX - frame.left - frame.width / 2, y: event.clientY - frame.top - frame.height / 2 };
  }

  #press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.#fromMiddle(event));
    this.travelled = 0;
  }

  #move(event) {
    const now = this.#fromMiddle(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.#hover(this.#nearest(event.offsetX, event.offsetY));
      return;
    }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    const apart = (place) => Math.hypot(place.x - others[0].x, place.y - others[0].y) || 1;
    if (others.length) this.zoom(apart(now) / apart(before), others[0]);
    else this.view = { ...this.view, x: this.view.x + now.x - before.x, y: this.view.y + now.y - before.y };
    this.travelled += Math.hypot(now.x - before.x, now.y - before.y);
    this.pointers.set(event.pointerId, now);
    if (this.travelled > 4) emosae.tip.hide();
    this.draw();
  }

  #release(event) {
    this.pointers.delete(event.pointerId);
    if (event.type !== "pointerup" || this.travelled > 4) return;
    const point = this.#nearest(event.offsetX, event.offsetY, event.pointerType === "touch" ? 24 : 14);
    if (point && (event.pointerType !== "touch" || this.hovered === point)) this.onOpen(point);
    else this.#hover(point);
  }

  #key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const actions = {
      "+": () => this.zoom(emosae.Plane.#ZOOM), "=": () => this.zoom(emosae.Plane.#ZOOM),
      "-": () => this.zoom(1 / emosae.Plane.#ZOOM), "0": () => this.reset(),
      Escape: () => this.#hover(null), Enter: () => this.hovered && this.onOpen(this.hovered),
    };
    if (!way && !actions[event.key]) return;
    event.preventDefault();
    if (way) this.#step(way);
    else actions[event.key]();
  }

  /** Go to the point that lies nearest in a direction. */
  #step([dx, dy]) {
    if (!this.places) return;
    const from = this.hovered ? this.places.get(this.hovered.row)
      : { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 };
    let [best, cost] = [null, Infinity];
    for (const point of this.shown) {
      if (point === this.hovered) continue;
      const place = this.places.get(point.row);
      const along = (place.x - from.x) * dx + (place.y - from.y) * dy;
      const aside = Math.abs((place.x - from.x) * dy) + Math.abs((place.y - from.y) * dx);
      if (along > 0 && along + 2.5 * aside < cost) [best, cost] = [point, along + 2.5 * aside];
    }
    if (best || !this.hovered) this.#hover(best || this.shown[0] || null);
  }
};
