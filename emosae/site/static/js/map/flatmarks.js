// Draws the marks and links of the map on a plain canvas, where a browser has no WebGL 2; it answers to the same calls.
"use strict";

window.emosae = window.emosae || {};

emosae.FlatMarks = class {
  constructor() {
    this.canvas = emosae.dom.el("canvas", { "aria-hidden": "true", "data-drawer": "flat" });
    this.context = this.canvas.getContext("2d");
    this.order = new Uint32Array(0);
    this.links = { a: [], b: [], dashed: [] };
  }

  setPlaces(from, to) { this.places = to; }

  setLooks(looks) { this.looks = looks; }

  setOrder(rows) { this.order = rows; }

  setLinks(links) { this.links = links; }

  setColours({ palette, paper, link }) {
    const write = (values) => `rgb(${values.slice(0, 3).map((value) => Math.round(255 * value)).join(" ")} / ${values[3] ?? 1})`;
    this.colours = { palette: (place) => write([...palette.slice(3 * place, 3 * place + 3)]), paper: write(paper), link: write(link) };
  }

  draw({ width, height, ratio, scale, shift, grow }) {
    const { canvas, context } = this;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.scale(ratio, ratio);
    this.at = (row) => [((this.places[2 * row] * scale[0] + shift[0] + 1) / 2) * width, ((1 - this.places[2 * row + 1] * scale[1] - shift[1]) / 2) * height];
    this.#drawLinks();
    for (const row of this.order) this.#drawMark(row, grow);
  }

  #drawLinks() {
    const { context } = this;
    const { a, b, dashed } = this.links;
    context.strokeStyle = this.colours.link;
    for (const isDashed of [0, 1]) {
      context.beginPath();
      context.setLineDash(isDashed ? [3, 3] : []);
      for (let link = 0; link < a.length; link += 1) {
        if (dashed[link] !== isDashed) continue;
        context.moveTo(...this.at(a[link]));
        context.lineTo(...this.at(b[link]));
      }
      context.stroke();
    }
    context.setLineDash([]);
  }

  #drawMark(row, grow) {
    const { context } = this;
    const [colour, shape, size, strength] = this.looks.subarray(4 * row, 4 * row + 4);
    const [x, y] = this.at(row);
    context.globalAlpha = strength / 255;
    context.fillStyle = this.colours.palette(colour);
    const radius = (size / 16) * grow;
    if (radius < 3) context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
    else {
      context.beginPath();
      emosae.marks.tracePath(context, shape, x, y, radius);
      context.fill();
      context.strokeStyle = this.colours.paper;
      context.stroke();
    }
    context.globalAlpha = 1;
  }
};
