// Draws the marks and links of the map with WebGL 2.
"use strict";

window.emosae = window.emosae || {};

emosae.GlMarks = class {
  /** A drawer on its own canvas, or null if this browser has no WebGL 2. */
  static create(onLost) {
    const canvas = emosae.dom.el("canvas", { "aria-hidden": "true", "data-drawer": "webgl" });
    const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true, powerPreference: "low-power" });
    return gl && new emosae.GlMarks(canvas, gl, onLost);
  }

  constructor(canvas, gl, onLost) {
    Object.assign(this, { canvas, gl });
    const { markVertex, markFragment, linkVertex, linkFragment } = emosae.SHADERS;
    this.marks = this.#program(markVertex, markFragment);
    this.links = this.#program(linkVertex, linkFragment);
    this.buffers = new Map();
    this.counts = { marks: 0, links: 0 };
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    canvas.addEventListener("webglcontextlost", onLost);
  }

  #program(vertex, fragment) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`The map's drawing program was refused: ${gl.getProgramInfoLog(program)}`);
    return { program, array: gl.createVertexArray() };
  }

  /** Hand numbers to an attribute of a program. */
  #attribute({ program, array }, name, values, size) {
    const { gl } = this;
    if (!this.buffers.has(name)) this.buffers.set(name, gl.createBuffer());
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.get(name));
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    const location = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, values instanceof Uint8Array ? gl.UNSIGNED_BYTE : gl.FLOAT, false, 0, 0);
  }

  /** Places as x and y of every point, now and before the last change. */
  setPlaces(from, to) {
    this.to = to;
    this.#attribute(this.marks, "from", from, 2);
    this.#attribute(this.marks, "to", to, 2);
  }

  setLooks(looks) {
    this.#attribute(this.marks, "look", looks, 4);
  }

  /** The rows that are drawn, the last on top. */
  setOrder(rows) {
    const { gl } = this;
    if (!this.order) this.order = gl.createBuffer();
    gl.bindVertexArray(this.marks.array);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.order);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, rows, gl.STATIC_DRAW);
    this.counts.marks = rows.length;
  }

  /** Links as pairs of rows, and whether each is dashed. */
  setLinks({ a, b, dashed }) {
    const [here, there, kind] = [0, 1, 2].map(() => new Float32Array(4 * a.length));
    a.forEach((_, link) => [a[link], b[link]].forEach((row, end) => {
      const other = end ? a[link] : b[link];
      here.set(this.to.subarray(2 * row, 2 * row + 2), 4 * link + 2 * end);
      there.set(this.to.subarray(2 * other, 2 * other + 2), 4 * link + 2 * end);
      kind.set([end, dashed[link]], 4 * link + 2 * end);
    }));
    this.#attribute(this.links, "here", here, 2);
    this.#attribute(this.links, "there", there, 2);
    this.#attribute(this.links, "kind", kind, 2);
    this.counts.links = 2 * a.length;
  }

  /** Colours as numbers from 0 to 1: `palette` by place, `paper`, and `link` with its opacity. */
  setColours(colours) {
    this.colours = colours;
  }

  /** Draw with places mapped by `scale` and `shift` onto -1..1, `turn` of the way from the old places, marks grown by `grow`. */
  draw({ width, height, ratio, scale, shift, turn, grow }) {
    const { gl, canvas } = this;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const shared = { scale, shift, ratio };
    if (turn >= 1 && this.counts.links) {
      this.#use(this.links, { ...shared, size: [canvas.width, canvas.height], colour: this.colours.link });
      gl.drawArrays(gl.LINES, 0, this.counts.links);
    }
    if (!this.counts.marks) return;
    this.#use(this.marks, { ...shared, turn, grow, paper: this.colours.paper });
    gl.uniform3fv(gl.getUniformLocation(this.marks.program, "palette"), this.colours.palette);
    gl.drawElements(gl.POINTS, this.counts.marks, gl.UNSIGNED_INT, 0);
  }

  #use({ program, array }, uniforms) {
    const { gl } = this;
    gl.useProgram(program);
    gl.bindVertexArray(array);
    for (const [name, value] of Object.entries(uniforms)) {
      const values = [value].flat();
      gl[`uniform${values.length}fv`](gl.getUniformLocation(program, name), values);
    }
  }
};
