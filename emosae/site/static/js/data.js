// The data: files under data/ that call `emosae.receive(name, value)`. A page opened from disk may not fetch, but it may
// add a script element, so every file is a script with one call in it. Long columns are numbers in base64, decoded when
// they are first read.
"use strict";

window.emosae = window.emosae || {};

emosae.data = (() => {
  const ARRAYS = { i1: Int8Array, i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };
  const received = new Map();
  const pending = new Map();

  /** Called by a data file. */
  emosae.receive = (name, value) => received.set(name, value);

  /** The value of a data file, loaded when first asked for. */
  function load(name) {
    if (!pending.has(name)) pending.set(name, received.has(name) ? Promise.resolve() : addScript(name));
    return pending.get(name).then(() => received.get(name));
  }

  function addScript(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.addEventListener("load", () => (received.has(name) ? resolve() : reject(missing(name))));
      script.addEventListener("error", () => reject(missing(name)));
      document.head.append(script);
    });
  }

  function missing(name) {
    return new Error(`The file data/${name}.js is missing or damaged. Copy the whole folder, or build it again.`);
  }

  /** Bytes of base64 text. */
  function decodeBytes(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let place = 0; place < binary.length; place += 1) bytes[place] = binary.charCodeAt(place);
    return bytes;
  }

  /** Numbers of a stored column as a typed array; NaN where there is none. */
  function numbersOf(stored) {
    if (Array.isArray(stored)) return Float64Array.from(stored, (value) => (typeof value === "number" ? value : NaN));
    const values = new ARRAYS[stored.type](decodeBytes(stored.base64).buffer); // little-endian, as every browser's machine
    return stored.null === undefined ? values : Float64Array.from(values, (value) => (value === stored.null ? NaN : value));
  }

  /** A function that reads a stored column by row; null where there is no value. */
  function readerOf(stored) {
    if (Array.isArray(stored)) return (row) => stored[row];
    let values = null;
    if (stored.words) {
      return (row) => stored.words[(values ||= numbersOf(stored.at))[row]] ?? null;
    }
    return (row) => {
      const value = (values ||= numbersOf(stored))[row];
      return Number.isNaN(value) ? null : value;
    };
  }

  function lengthOf(stored) {
    return Array.isArray(stored) ? stored.length : stored.words ? lengthOf(stored.at) : numbersOf(stored).length;
  }

  /** Rows of a small table that is stored by column, as plain objects. */
  function rowsOf(table) {
    const names = Object.keys(table);
    const length = names.length ? lengthOf(table[names[0]]) : 0;
    const readers = names.map((name) => readerOf(table[name]));
    return Array.from({ length }, (_, row) => {
      const record = Object.create(null);
      record.row = row;
      names.forEach((name, place) => { record[name] = readers[place](row); });
      return record;
    });
  }

  /** A class of records that read the columns of a long table by their `row`, and what `extra` computes of them. */
  function recordOf(table, extra = {}) {
    const Record = class { constructor(row) { this.row = row; } };
    const define = (name, get) => Object.defineProperty(Record.prototype, name, { get, enumerable: true, configurable: true });
    for (const name of Object.keys(table)) {
      const read = readerOf(table[name]);
      define(name, function () { return read(this.row); });
    }
    for (const [name, compute] of Object.entries(extra)) define(name, function () { return compute(this); });
    return Record;
  }

  /** Records of all rows of a long table. */
  function recordsOf(Record, length) {
    return Array.from({ length }, (_, row) => new Record(row));
  }

  /** Rows of a table by the value of a whole-number column: `(value) => rows`, in the table's order. */
  function groupRows(values, n) {
    const ends = new Uint32Array(n + 1);
    for (const value of values) if (value >= 0) ends[value + 1] += 1;
    for (let place = 0; place < n; place += 1) ends[place + 1] += ends[place];
    const next = ends.slice();
    const rows = new Uint32Array(ends[n]);
    values.forEach((value, row) => { if (value >= 0) { rows[next[value]] = row; next[value] += 1; } });
    return (value) => rows.subarray(ends[value], ends[value + 1]);
  }

  return { groupRows, lengthOf, load, numbersOf, readerOf, recordOf, recordsOf, rowsOf };
})();
