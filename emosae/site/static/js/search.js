// Search as you type: emotions, concepts, features (by number, SAE, or the tokens they fire on), and words of stories.
"use strict";

window.emosae = window.emosae || {};

emosae.buildSearch = (atlas) => {
  const { el, replace } = emosae.dom;
  const { emotionName, featureAddress, verdict } = emosae.marks;
  const PER_GROUP = 6;
  const entries = [
    ...atlas.emotions.map((emotion) => ({
      group: "Emotions", words: [emotion.name], href: emosae.href("emotion", emotion.name),
      draw: () => emotionName(emotion, { link: false }),
    })),
    ...atlas.concepts.map((concept) => ({
      group: "Concepts", words: [concept.name, String(concept.concept), ...concept.emotions.map((emotion) => emotion.name)],
      href: emosae.href("concept", concept.concept), draw: () => el("bdi", {}, concept.name),
    })),
    ...atlas.features.map((feature) => ({
      group: "Features",
      words: [featureAddress(feature), String(feature.feature_idx), feature.emotion?.name || "", ...feature.tokens],
      href: emosae.href("feature", feature.sae.name, feature.feature_idx), weight: feature.level,
      draw: () => [el("bdi", { class: "address" }, featureAddress(feature)), " ", emotionName(feature.emotion, { link: false }),
        verdict(feature.level, atlas.rungs)],
    })),
  ];
  let stories = null;

  const input = el("input", {
    id: "search", type: "search", placeholder: "Search emotion, token, feature number\u2026", autocomplete: "off", spellcheck: "false",
    role: "combobox", "aria-expanded": "false", "aria-controls": "search-results", "aria-autocomplete": "list",
    "aria-label": "Search the atlas",
  });
  const list = el("ul", { id: "search-results", role: "listbox", "aria-label": "Search results", hidden: true });
  const state = el("p", { class: "visually-hidden", role: "status" });
  let active = -1;

  input.addEventListener("input", update);
  input.addEventListener("focus", () => {
    if (!stories) atlas.stories().then((found) => { stories = found.map(storyEntry); update(); }, () => { stories = []; });
    update();
  });
  input.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) {
      event.preventDefault();
      choose(active + move);
    } else if (event.key === "Enter") {
      const option = list.querySelectorAll("[role=option]")[Math.max(0, active)];
      if (option) open(option);
    } else if (event.key === "Escape") close();
  });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus until the click arrives
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) open(option);
  });
  input.addEventListener("blur", close);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    event.preventDefault();
    input.focus();
  });

  function storyEntry(story) {
    return {
      group: "Stories", words: [], text: story.text.toLowerCase(), weight: 0,
      href: emosae.href("feature", story.feature.sae.name, story.feature.feature_idx),
      draw: (query) => [emotionName(story.emotion, { link: false }), " ", excerpt(story.text, query)],
    };
  }

  /** The words around the first match, which is marked. */
  function excerpt(text, query) {
    const start = text.toLowerCase().indexOf(query);
    const from = Math.max(0, start - 30);
    const stop = start + query.length;
    return el("bdi", { class: "excerpt" }, from > 0 && "\u2026", text.slice(from, start), el("mark", {}, text.slice(start, stop)),
      text.slice(stop, stop + 60), stop + 60 < text.length && "\u2026");
  }

  /** 3 the whole word, 2 its beginning, 1 inside it, 0 not at all. */
  function score({ words, text }, query) {
    if (text !== undefined) return query.length > 2 && text.includes(query) ? 1 : 0;
    return Math.max(0, ...words.map((word) => {
      const place = word.toLowerCase().trim().indexOf(query);
      return place < 0 ? 0 : place > 0 ? 1 : word.trim().length === query.length ? 3 : 2;
    }));
  }

  function find(query) {
    const scored = [...entries, ...(stories || [])].map((entry) => [score(entry, query), entry]).filter(([points]) => points > 0);
    scored.sort(([a, x], [b, y]) => b - a || (y.weight || 0) - (x.weight || 0));
    return Map.groupBy ? Map.groupBy(scored.map(([, entry]) => entry), (entry) => entry.group) : group(scored);
  }

  function group(scored) {
    const groups = new Map();
    for (const [, entry] of scored) groups.set(entry.group, [...(groups.get(entry.group) || []), entry]);
    return groups;
  }

  function update() {
    const query = input.value.trim().toLowerCase();
    if (!query || document.activeElement !== input) {
      close();
      return;
    }
    const groups = find(query);
    const order = ["Emotions", "Concepts", "Features", "Stories"].filter((name) => groups.has(name));
    replace(list, order.map((name) => [
      el("li", { class: "group", role: "presentation" }, name, el("span", { class: "muted" }, ` ${groups.get(name).length}`)),
      groups.get(name).slice(0, PER_GROUP).map((entry) =>
        el("li", { role: "option", "data-href": entry.href, "aria-selected": "false" }, entry.draw(query))),
    ]));
    const total = [...groups.values()].reduce((sum, found) => sum + found.length, 0);
    if (!total) list.append(el("li", { class: "nothing", role: "presentation" }, "Nothing matches \u201c", el("bdi", {}, input.value.trim()), "\u201d."));
    replace(state, emosae.format.count(total, "result"));
    list.querySelectorAll("[role=option]").forEach((option, place) => { option.id = `result-${place}`; });
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    choose(total ? 0 : -1);
  }

  function choose(place) {
    const options = [...list.querySelectorAll("[role=option]")];
    options[active]?.setAttribute("aria-selected", "false");
    active = options.length ? (place + options.length) % options.length : -1;
    options[active]?.setAttribute("aria-selected", "true");
    options[active]?.scrollIntoView({ block: "nearest" });
    if (active >= 0) input.setAttribute("aria-activedescendant", options[active].id);
    else input.removeAttribute("aria-activedescendant");
  }

  function open(option) {
    input.value = "";
    close();
    input.blur();
    emosae.go(option.dataset.href);
  }

  function close() {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  return el("search", { class: "search" }, input, el("kbd", { "aria-hidden": "true" }, "/"), list, state);
};
