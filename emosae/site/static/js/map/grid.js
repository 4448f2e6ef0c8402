// Points in the square from -1 to 1, sorted into cells, so that the one under the pointer and those inside a lasso are found
// without looking at all of them.
"use strict";

window.emosae = window.emosae || {};

emosae.Grid = class {
  static #SIDE = 96;

  /** `rows` of the points at `x`, `y`. */
  constructor(x, y, rows) {
    Object.assign(this, { x, y });
    const side = emosae.Grid.#SIDE;
    const cells = Int32Array.from(rows, (row) => this.#cell(y[row]) * side + this.#cell(x[row]));
    const inCell = emosae.data.groupRows(cells, side * side);
    this.cell = (column, line) => inCell(line * side + column);
    this.rows = rows;
  }

  #cell(value) {
    const side = emosae.Grid.#SIDE;
    return Math.min(side - 1, Math.max(0, Math.floor(((value + 1) / 2) * side)));
  }

  /** Call `visit(row)` for every point in the cells that a box touches. */
  #visit({ left, right, bottom, top }, visit) {
    for (let line = this.#cell(bottom); line <= this.#cell(top); line += 1) {
      for (let column = this.#cell(left); column <= this.#cell(right); column += 1) {
        for (const place of this.cell(column, line)) visit(this.rows[place]);
      }
    }
  }

  /** The nearest point within an ellipse of these half axes; of equally near ones the last, which is drawn on top. */
  nearest(x, y, reachX, reachY) {
    let [best, least] = [null, 1];
    this.#visit({ left: x - reachX, right: x + reachX, bottom: y - reachY, top: y + reachY }, (row) => {
      const square = ((this.x[row] - x) / reachX) ** 2 + ((this.y[row] - y) / reachY) ** 2;
      if (square <= least) [best, least] = [row, square];
    });
    return best;
  }

  /** Points inside a polygon `[[x, y], ...]`. */
  inside(polygon) {
    const [xs, ys] = [polygon.map(([x]) => x), polygon.map(([, y]) => y)];
    const box = { left: Math.min(...xs), right: Math.max(...xs), bottom: Math.min(...ys), top: Math.max(...ys) };
    const found = [];
    this.#visit(box, (row) => { if (emosae.Grid.isInside(polygon, this.x[row], this.y[row])) found.push(row); });
    return found;
  }

  /** Whether a ray from the point crosses the outline an odd number of times. */
  static isInside(polygon, x, y) {
    let isInside = false;
    for (let place = 0, last = polygon.length - 1; place < polygon.length; last = place, place += 1) {
      const [[ax, ay], [bx, by]] = [polygon[place], polygon[last]];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) isInside = !isInside;
    }
    return isInside;
  }
};
