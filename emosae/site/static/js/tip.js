// One floating note for the whole page, for values under the pointer. What it says is also reachable without a pointer.
"use strict";

window.emosae = window.emosae || {};

emosae.tip = (() => {
  const { el, replace } = emosae.dom;
  const MARGIN = 8;
  const note = el("div", { class: "tip", role: "presentation", hidden: true });

  /** Show `content` beside a rectangle or point given in window coordinates. */
  function show(content, box) {
    if (!note.isConnected) document.body.append(note);
    replace(note, content);
    note.hidden = false;
    const { width, height } = note.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    const left = Math.min(Math.max(MARGIN, (box.left + box.right - width) / 2), room - width - MARGIN);
    const above = box.top - height - MARGIN;
    note.style.left = `${left}px`;
    note.style.top = `${above > MARGIN ? above : box.bottom + MARGIN}px`;
  }

  function hide() {
    note.hidden = true;
  }

  return { hide, show };
})();
