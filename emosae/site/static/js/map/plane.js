// The map's plane: points and links at given places under a view that zooms and moves. Marks are drawn by WebGL (or flatly
// without it); names, rings, the lasso and whatever concerns few points lie on a second canvas above.
"use strict";

window.emosae = window.emosae || {};

/** Shows a scene `{places, x, y, looks, palette, order, links, labels, axes, grow}`: `x`, `y` of every point (NaN: it has no
    place), `places` a name for where they come from, `looks` four bytes a point (see shaders.js), `palette` classes that set
    colours, `order` the rows shown, `links` `{a, b, dashed}`. */
emosae.Plane = class {
  static #PAD = 38;
  static #TURN_MS = 420;

  /** `onHover(row, box)`, `onOpen(row)`, `onLasso(polygon)` in the units of the places; `neighbours(row)` lists `[row, dashed]`. */
  constructor({ label, onHover, onOpen, onLasso, neighbours }) {
    Object.assign(this, { onHover, onOpen, onLasso, neighbours });
    this.view = { scale: 1, x: 0, y: 0 };
    this.hovered = this.pinned = this.lasso = this.polygon = null;
    this.isLassoing = false;
    this.surface = emosae.dom.el("canvas", { tabindex: "0", role: "application", "aria-label": label, class: "surface" });
    this.element = emosae.dom.el("div", { class: "plane" }, this.surface);
    this.#setMarks(emosae.GlMarks.create((event) => { event.preventDefault(); this.#setMarks(new emosae.FlatMarks()); }) || new emosae.FlatMarks());
    emosae.listenToGestures(this);
    new ResizeObserver(() => this.draw()).observe(this.surface);
  }

  #setMarks(marks) {
    this.marks?.canvas.remove();
    this.marks = marks;
    this.element.prepend(marks.canvas);
    if (!this.scene) return;
    this.#upload(this.unit);
    this.draw();
  }

  get width() { return this.surface.clientWidth; }

  get height() { return this.surface.clientHeight; }

  /** Show a scene; points that stand elsewhere than before wander there. */
  show(scene) {
    const before = this.scene;
    const [old, isMoved] = [this.unit, before?.places !== scene.places];
    this.scene = scene;
    if (isMoved) this.#frame();
    const wanders = isMoved && old && old.length === this.unit.length && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.turnStart = wanders ? performance.now() : null;
    if (isMoved && old) this.view = { scale: 1, x: 0, y: 0 };
    this.grid = new emosae.Grid(this.unitX, this.unitY, scene.order);
    this.hovered = null;
    this.#upload(wanders ? old : this.unit);
    this.recolour();
  }

  #upload(from) {
    const { marks, scene } = this;
    marks.setPlaces(from, this.unit);
    marks.setLooks(scene.looks);
    marks.setOrder(scene.order);
    marks.setLinks(scene.links);
    if (this.colours) marks.setColours(this.colours);
  }

  /** Change how points look and which are shown, without moving any. */
  restyle({ looks, order, links }) {
    Object.assign(this.scene, { looks, order, links });
    this.grid = new emosae.Grid(this.unitX, this.unitY, order);
    this.#upload(this.unit);
    this.draw();
  }

  /** Read the colours anew, as after a change of theme. */
  recolour() {
    const { colourOf } = emosae.marks;
    const probe = emosae.dom.el("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    const read = (className) => {
      probe.fillStyle = colourOf(className);
      probe.fillRect(0, 0, 1, 1);
      return [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((value) => value / 255);
    };
    const { palette, links } = this.scene;
    const colours = new Float32Array(72);
    palette.forEach((name, place) => colours.set(read(name), 3 * place));
    const faint = Math.max(0.05, Math.min(0.4, 2.4 / Math.sqrt(1 + links.a.length))); // many links lie over one another
    this.colours = { palette: colours, paper: read("paper-colour"), link: [...read("muted"), faint] };
    this.ink = { ink: colourOf("ink"), muted: colourOf("muted"), paper: colourOf("paper-colour"), accent: colourOf("accent-colour") };
    this.marks.setColours(this.colours);
    this.draw();
  }

  /** Places as numbers from -1 to 1: each axis fills its side, because the axes of a layout mean nothing. */
  #frame() {
    const { x, y, axes } = this.scene;
    const span = (values) => {
      let [least, most] = [Infinity, -Infinity];
      for (const value of values) {
        if (value < least) least = value;
        if (value > most) most = value;
      }
      if (axes) [least, most] = [-Math.max(Math.abs(least), Math.abs(most)), Math.max(Math.abs(least), Math.abs(most))];
      return least <= most ? { middle: (least + most) / 2, half: (most - least) / 2 || 1 } : { middle: 0, half: 1 };
    };
    [this.spanX, this.spanY] = [span(x), span(y)];
    this.unitX = Float32Array.from(x, (value) => (value - this.spanX.middle) / this.spanX.half);
    this.unitY = Float32Array.from(y, (value) => (value - this.spanY.middle) / this.spanY.half);
    this.unit = new Float32Array(2 * x.length);
    for (let row = 0; row < x.length; row += 1) {
      this.unit[2 * row] = this.unitX[row];
      this.unit[2 * row + 1] = this.unitY[row];
    }
  }

  /** Pixels from the middle to where 1 lies, before zooming. */
  get half() {
    return { x: Math.max(20, this.width / 2 - emosae.Plane.#PAD), y: Math.max(20, this.height / 2 - emosae.Plane.#PAD) };
  }

  /** Where a place from -1 to 1 lies on the canvas. */
  toScreen(ux, uy) {
    const { half, view } = this;
    return { x: this.width / 2 + view.x + view.scale * half.x * ux, y: this.height / 2 + view.y - view.scale * half.y * uy };
  }

  toUnit({ x, y }) {
    const { half, view } = this;
    return [(x - this.width / 2 - view.x) / (view.scale * half.x), -(y - this.height / 2 - view.y) / (view.scale * half.y)];
  }

  screenOf(row) { return this.toScreen(this.unitX[row], this.unitY[row]); }

  /** A place in the units of the points, as it is kept in an address. */
  toPlace([ux, uy]) {
    return [ux * this.spanX.half + this.spanX.middle, uy * this.spanY.half + this.spanY.middle];
  }

  fromPlace([x, y]) {
    return [(x - this.spanX.middle) / this.spanX.half, (y - this.spanY.middle) / this.spanY.half];
  }

  /** Rows shown inside a polygon in the units of the points. */
  rowsInside(polygon) {
    return this.grid.inside(polygon.map((corner) => this.fromPlace(corner)));
  }

  /** The outline of what is in view, in the units of the points. */
  get window() {
    return [[0, 0], [this.width, 0], [this.width, this.height], [0, this.height]].map(([x, y]) => this.toPlace(this.toUnit({ x, y })));
  }

  nearest({ x, y }, reach = 14) {
    const { half, view } = this;
    return this.grid.nearest(...this.toUnit({ x, y }), reach / (view.scale * half.x), reach / (view.scale * half.y));
  }

  /** Put one point in the middle, ringed. */
  pin(row) {
    this.pinned = this.centred = row;
    this.draw();
  }

  hover(row) {
    if (row === this.hovered) return;
    this.hovered = row;
    this.draw();
    if (row === null) {
      this.onHover(null, null);
      return;
    }
    const { x, y } = this.screenOf(row);
    const frame = this.surface.getBoundingClientRect();
    this.onHover(row, { left: frame.left + x - 8, right: frame.left + x + 8, top: frame.top + y - 8, bottom: frame.top + y + 8 });
  }

  /** Zoom by a factor about a place given in pixels from the middle. */
  zoom(factor, centre = { x: 0, y: 0 }) {
    const scale = Math.min(400, Math.max(0.7, this.view.scale * factor));
    const change = scale / this.view.scale;
    this.view = { scale, x: centre.x - (centre.x - this.view.x) * change, y: centre.y - (centre.y - this.view.y) * change };
    this.draw();
  }

  move(dx, dy) {
    this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
    this.draw();
  }

  reset() {
    this.view = { scale: 1, x: 0, y: 0 };
    this.pinned = null;
    this.draw();
  }

  /** Zoom to these rows. */
  frameRows(rows) {
    if (!rows.length) return;
    const reach = (values) => rows.reduce(([least, most], row) => [Math.min(least, values[row]), Math.max(most, values[row])], [Infinity, -Infinity]);
    const [[left, right], [bottom, top]] = [reach(this.unitX), reach(this.unitY)];
    const scale = Math.min(60, 1.8 / Math.max(0.02, right - left, top - bottom));
    this.view = { scale, x: -scale * this.half.x * (left + right) / 2, y: scale * this.half.y * (bottom + top) / 2 };
    this.draw();
  }

  draw() {
    if (this.queued) return;
    this.queued = requestAnimationFrame(() => {
      this.queued = null;
      if (this.surface.isConnected && this.scene) this.#paint();
    });
  }

  /** How much larger marks are than at first sight. */
  get grow() {
    const room = Math.min(1, Math.max(0.6, this.width / 900));
    return room * Math.min(this.scene.grow, Math.max(0.85, Math.sqrt(this.view.scale) * 0.95));
  }

  #paint() {
    if (this.centred !== null && this.centred !== undefined) this.#centre();
    const { width, height, half, view } = this;
    const ratio = window.devicePixelRatio || 1;
    const turn = this.turnStart === null ? 1 : Math.min(1, (performance.now() - this.turnStart) / emosae.Plane.#TURN_MS);
    this.marks.draw({
      width, height, ratio, grow: this.grow, turn: turn * turn * (3 - 2 * turn),
      scale: [(2 * view.scale * half.x) / width, (2 * view.scale * half.y) / height], shift: [(2 * view.x) / width, (-2 * view.y) / height],
    });
    emosae.paintOverlay(this, turn >= 1);
    if (turn < 1) this.draw();
    else this.turnStart = null;
    if (turn < 1 || !this.waiting) return;
    performance.mark("emosae-map-drawn");
    setTimeout(this.waiting, 60); // once what was drawn is on the screen
    this.waiting = null;
  }

  /** Do something once, after the points were drawn. */
  afterDrawing(act) {
    this.waiting = act;
    this.draw();
  }

  /** Only now, because a canvas has no size before it stands in the page. */
  #centre() {
    const [scale, row] = [Math.max(2.5, this.view.scale), this.centred];
    this.view = { scale, x: -scale * this.half.x * this.unitX[row], y: scale * this.half.y * this.unitY[row] };
    this.centred = null;
  }
};
