// Building pages out of nodes. Text from the data enters through text nodes and attributes only, never as markup.
"use strict";

window.emosae = window.emosae || {};

emosae.dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SAFE_LINK = /^(#|https:\/\/)/;

  /** An HTML element. Attributes: `on` holds listeners, `css` style properties; null, false and "" children are skipped. */
  function el(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  /** An SVG element, with the same rules as `el`. */
  function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
  }

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
    append(node, children);
    return node;
  }

  function setAttribute(node, name, value) {
    if (value === null || value === undefined || value === false) return;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "css") {
      for (const [property, setting] of Object.entries(value)) node.style.setProperty(property, setting);
    } else if (name === "href" && !SAFE_LINK.test(value)) {
      throw new Error(`refused link: ${value}`);
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }

  function append(node, children) {
    for (const child of children.flat(Infinity)) {
      if (child === null || child === undefined || child === false || child === "") continue;
      node.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
  }

  /** Replace all that `node` holds. */
  function replace(node, ...children) {
    node.textContent = "";
    append(node, children);
  }

  /** Text for screen readers only. */
  function hidden(text) {
    return el("span", { class: "visually-hidden" }, text);
  }

  return { append, el, hidden, replace, svg };
})();

emosae.format = (() => {
  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

  /** A number with fixed decimals, and a real minus sign; a dash where there is none. */
  function fixed(value, digits = 2) {
    return isNumber(value) ? value.toFixed(digits).replace("-", "\u2212") : "\u2013";
  }

  /** A difference, with its sign. */
  function signed(value, digits = 2) {
    return isNumber(value) && value >= 0 ? `+${fixed(value, digits)}` : fixed(value, digits);
  }

  /** An interval in words that a line may not break. */
  function range(lo, hi, write = fixed) {
    return isNumber(lo) && isNumber(hi) ? `${write(lo)} to ${write(hi)}` : "no interval";
  }

  function percent(value) {
    return isNumber(value) ? `${Math.round(100 * value)}%` : "\u2013";
  }

  /** A probability; tiny ones as a power of ten. */
  function pvalue(value) {
    if (!isNumber(value)) return "\u2013";
    if (value === 0) return "0";
    return value < 0.001 ? value.toExponential(0).replace("e-", "e\u2212") : value.toFixed(3);
  }

  function activation(value) {
    return isNumber(value) ? String(Number(value.toPrecision(3))) : "\u2013";
  }

  /** `1 feature`, `2 features`. */
  function count(n, noun, plural = `${noun}s`) {
    return `${n.toLocaleString("en")} ${n === 1 ? noun : plural}`;
  }

  return { activation, count, fixed, isNumber, percent, pvalue, range, signed };
})();
