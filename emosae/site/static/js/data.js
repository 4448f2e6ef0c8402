// The data: files under data/ that call `emosae.receive(name, value)`. A page opened from disk may not fetch, but it may
// add a script element, so every file is a script with one call in it.
"use strict";

window.emosae = window.emosae || {};

emosae.data = (() => {
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

  /** Rows of a table that is stored by column. */
  function rowsOf(table) {
    const names = Object.keys(table);
    const length = names.length ? table[names[0]].length : 0;
    return Array.from({ length }, (_, row) => {
      const record = Object.create(null);
      record.row = row;
      for (const name of names) record[name] = table[name][row];
      return record;
    });
  }

  return { load, rowsOf };
})();

/** The atlas as objects that point at each other: emotions, features, links, concepts, ledger rows. Every object has the
    `row` of its table. */
emosae.buildAtlas = (raw) => {
  const { rowsOf } = emosae.data;
  const emotions = rowsOf(raw.emotions);
  const features = rowsOf(raw.features);
  const concepts = rowsOf(raw.concepts);
  const saes = rowsOf(raw.saes);
  const ledger = rowsOf(raw.ledger);
  const links = rowsOf(raw.links);
  const byAddress = new Map();

  const rungs = rowsOf(raw.rungs);
  const plain = (name) => ({ name, row: null }); // neutral text, or an emotion of another corpus
  const byName = new Map(emotions.map((emotion) => [emotion.name, emotion]));
  const emotionOf = (name) => byName.get(name) || plain(name);

  for (const emotion of emotions) Object.assign(emotion, { features: [], ledger: [] });
  for (const concept of concepts) {
    concept.features = [];
    concept.emotions = concept.emotions.map((row) => emotions[row]);
  }
  for (const feature of features) {
    feature.sae = saes[feature.sae];
    feature.emotion = emotions[feature.emotion] || null;
    feature.concept = concepts[feature.concept] || null;
    Object.assign(feature, { ledger: [], links: [] });
    feature.concept?.features.push(feature);
    byAddress.set(`${feature.sae.name}/${feature.feature_idx}`, feature);
  }
  for (const entry of ledger) {
    entry.feature = features[entry.feature];
    entry.emotion = emotions[entry.emotion];
    entry.measures = raw.measures.map((name) => [name, entry[name]]);
    entry.feature.ledger.push(entry);
    entry.emotion.ledger.push(entry);
    if (!entry.emotion.features.includes(entry.feature)) entry.emotion.features.push(entry.feature);
  }
  for (const link of links) {
    link.a = features[link.a];
    link.b = features[link.b];
    link.a.links.push({ ...link, other: link.b });
    link.b.links.push({ ...link, other: link.a });
  }
  for (const emotion of emotions) {
    emotion.best = ledger[emotion.best] || null;
    emotion.furthest = emotion.ledger[0] || null; // the ledger is sorted by verdict
  }

  return {
    ...raw.meta,
    concepts, emotions, features, ledger, links, saes,
    overlap: raw.overlap,
    rungs,
    scenarios: rowsOf(raw.scenarios),
    feature: (sae, index) => byAddress.get(`${sae}/${index}`),
    emotion: (name) => byName.get(name),
    emotionOf,
    /** Top stories of a feature: `{story, values, peak}`, strongest first. */
    async examples(feature) {
      if (feature.chunk === null) return [];
      const chunk = await emosae.data.load(`examples-${feature.chunk}`);
      const mine = rowsOf(chunk.examples).filter((example) => example.feature === feature.row);
      const parts = new Map(await Promise.all(
        [...new Set(mine.map((example) => example.part))].map(
          async (part) => [part, await emosae.data.load(`stories-${part}`)])));
      return mine.map((example) => readExample(example, parts.get(example.part)));
    },
    /** All stories that are shown anywhere, for the search. */
    async stories() {
      const parts = await Promise.all(
        Array.from({ length: raw.meta.story_parts }, (_, part) => emosae.data.load(`stories-${part}`)));
      return parts.flatMap((part) => rowsOf(part).map((story) => ({
        id: story.id, text: story.tokens.join(""), emotion: emotionOf(story.emotion), feature: features[story.feature],
      })));
    },
  };

  function readExample(example, part) {
    const story = example.story;
    const values = new Array(part.tokens[story].length).fill(0);
    example.at.forEach((position, place) => { values[position] = example.values[place]; });
    return {
      id: part.id[story], emotion: emotionOf(part.emotion[story]), split: part.split[story],
      tokens: part.tokens[story], values, peak: Math.max(0, ...example.values), cut: part.cut[story],
    };
  }
};
