// Search as you type: emotions, concepts, features (by emotion, number, SAE, or the tokens they fire on), words of stories.
"use strict";

window.emosae = window.emosae || {};

emosae.buildSearch = (atlas) => {
  const { el, replace } = emosae.dom;
  const { emotionName, featureAddress, verdict } = emosae.marks;
  const { count } = emosae.format;
  const PER_GROUP = 6;
  const stories = [];
  let finder = null;
  let active = -1;

  const input = el("input", {
    id: "search", type: "search", placeholder: "Search emotion, token, feature number\u2026", autocomplete: "off", spellcheck: "false",
    role: "combobox", "aria-expanded": "false", "aria-controls": "search-results", "aria-autocomplete": "list",
    "aria-label": "Search the atlas",
  });
  const list = el("ul", { id: "search-results", role: "listbox", "aria-label": "Search results", hidden: true });
  const state = el("p", { class: "visually-hidden", role: "status" });

  input.addEventListener("input", () => update());
  input.addEventListener("focus", () => {
    prepare();
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

  /** Load what is searched, once: tokens first, then story after story. */
  async function prepare() {
    if (finder) return;
    await atlas.ready();
    if (finder) return;
    finder = new emosae.Finder(atlas);
    update(active);
    for await (const part of atlas.stories()) {
      stories.push(...part.map((story) => ({ ...story, lower: story.text.toLowerCase() })));
      update(active);
    }
  }

  function find(query) {
    const named = (things, words, make) => {
      const scored = things.map((thing) => [Math.max(0, ...words(thing).map((word) => emosae.scoreWord(word.toLowerCase().trim(), query))), thing])
        .filter(([score]) => score > 0).sort(([a], [b]) => b - a);
      return { total: scored.length, options: scored.slice(0, PER_GROUP).map(([, thing]) => make(thing)) };
    };
    const { rows, total } = finder ? finder.best(query, PER_GROUP) : { rows: [], total: 0 };
    const told = query.length > 2 ? stories.filter((story) => story.lower.includes(query)) : [];
    return {
      Emotions: named(atlas.emotions, (emotion) => [emotion.name], emotionOption),
      Concepts: named(atlas.concepts, (concept) => [concept.name, String(concept.concept), ...concept.emotions.map(({ name }) => name)], conceptOption),
      Features: { total, options: rows.map((row) => featureOption(atlas.features[row])), all: total > 1 && mapOption(query, total) },
      Stories: { total: told.length, options: told.slice(0, PER_GROUP).map((story) => storyOption(story, query)) },
    };
  }

  function option(href, ...content) {
    return el("li", { role: "option", "data-href": href, "aria-selected": "false" }, content);
  }

  function emotionOption(emotion) {
    return option(emosae.href("emotion", emotion.name), emotionName(emotion, { link: false }));
  }

  function conceptOption(concept) {
    return option(emosae.href("concept", concept.concept), el("bdi", {}, concept.name));
  }

  function featureOption(feature) {
    return option(emosae.href("feature", feature.sae.name, feature.feature_idx), el("bdi", { class: "address" }, featureAddress(feature)),
      " ", emotionName(feature.emotion, { link: false }), verdict(feature.level, atlas.rungs));
  }

  function mapOption(query, total) {
    return option(emosae.href("map", { find: query }), el("span", { class: "all" }, `Show ${count(total, "feature")} on the map`));
  }

  function storyOption(story, query) {
    return option(emosae.href("feature", story.feature.sae.name, story.feature.feature_idx),
      emotionName(story.emotion, { link: false }), " ", excerpt(story, query));
  }

  /** The words around the first match, which is marked. */
  function excerpt({ text, lower }, query) {
    const start = lower.indexOf(query);
    const from = Math.max(0, start - 30);
    const stop = start + query.length;
    return el("bdi", { class: "excerpt" }, from > 0 && "\u2026", text.slice(from, start), el("mark", {}, text.slice(start, stop)),
      text.slice(stop, stop + 60), stop + 60 < text.length && "\u2026");
  }

  /** Show what is found now; `place` is the option that stays chosen when more arrives. */
  function update(place = 0) {
    const query = input.value.trim().toLowerCase();
    if (!query || document.activeElement !== input) {
      close();
      return;
    }
    const groups = Object.entries(find(query)).filter(([, group]) => group.total > 0);
    replace(list, groups.map(([name, group]) => [
      el("li", { class: "group", role: "presentation" }, name, el("span", { class: "muted" }, ` ${group.total.toLocaleString("en")}`)),
      group.options, group.all,
    ]));
    const total = groups.reduce((sum, [, group]) => sum + group.total, 0);
    if (!total && !finder) list.append(el("li", { class: "nothing", role: "presentation" }, "Loading\u2026"));
    else if (!total) list.append(el("li", { class: "nothing", role: "presentation" }, "Nothing matches \u201c", el("bdi", {}, input.value.trim()), "\u201d."));
    replace(state, count(total, "result"));
    list.querySelectorAll("[role=option]").forEach((one, place) => { one.id = `result-${place}`; });
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    choose(total ? Math.max(0, place) : -1);
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

  function open(chosen) {
    input.value = "";
    close();
    input.blur();
    emosae.go(chosen.dataset.href);
  }

  function close() {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  return el("search", { class: "search" }, input, el("kbd", { "aria-hidden": "true" }, "/"), list, state);
};
