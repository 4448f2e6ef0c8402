// The atlas as objects that point at each other: emotions, features, links, concepts, ledger rows. Every object has the
// `row` of its table. Features, links and ledger rows may be very many: they read their columns when they are asked.
"use strict";

window.emosae = window.emosae || {};

/** The atlas from `data/atlas.js`. The ledger, the tokens and what a feature's own page shows come later: `ready()` loads
    the first two, `details(feature)` the third; to read them before is an error. Views are drawn after `ready()` unless
    they say `needs`: a function of the atlas and the address' parts that returns a promise. */
emosae.buildAtlas = (raw) => {
  const { groupRows, lengthOf, load, numbersOf, readerOf, recordOf, recordsOf, rowsOf } = emosae.data;
  const emotions = rowsOf(raw.emotions);
  const concepts = rowsOf(raw.concepts);
  const saes = rowsOf(raw.saes);
  const rungs = rowsOf(raw.rungs);
  const plain = (name) => ({ name, row: null }); // neutral text, or an emotion of another corpus
  const byName = new Map(emotions.map((emotion) => [emotion.name, emotion]));
  const saeByName = new Map(saes.map((sae) => [sae.name, sae]));
  const emotionOf = (name) => byName.get(name) || plain(name);
  const late = { ledger: null, ledgerFeatures: null, ledgerOfFeature: null, ledgerOfEmotion: null, words: null };
  const details = { profile: new Map(), rungs: new Map(), loaded: new Map() };
  const numbers = new Map();

  /** A numeric column of the features as a typed array; NaN, or -1 in none, where there is no value. */
  function column(name) {
    if (!numbers.has(name)) numbers.set(name, numbersOf(raw.features[name]));
    return numbers.get(name);
  }

  const once = (compute) => {
    let value;
    return (...given) => (value ||= compute())(...given);
  };
  const linksOf = once(() => {
    const [ends, others] = ["a", "b"].map((end) => groupRows(numbersOf(raw.links[end]), features.length));
    return (row) => [...ends(row), ...others(row)].sort((one, other) => one - other);
  });
  const featuresOfConcept = once(() => groupRows(column("concept"), concepts.length));
  const addresses = once(() => {
    const [owner, index] = [column("sae"), column("feature_idx")];
    const rows = new Map(saes.map((sae) => [sae.row, new Map()]));
    owner.forEach((sae, row) => rows.get(sae).set(index[row], row));
    return (sae, number) => rows.get(sae)?.get(number);
  });

  const at = { sae: readerOf(raw.features.sae), emotion: readerOf(raw.features.emotion), concept: readerOf(raw.features.concept) };
  const Feature = recordOf(raw.features, {
    sae: ({ row }) => saes[at.sae(row)],
    emotion: ({ row }) => emotions[at.emotion(row)] || null,
    concept: ({ row }) => concepts[at.concept(row)] || null,
    ledger: ({ row }) => Array.from(needed("ledgerOfFeature")(row), (place) => late.ledger[place]),
    links: (feature) => linksOf(feature.row).map((row) => {
      const link = links[row];
      const other = link.a === feature ? link.b : link.a;
      return { row, a: link.a, b: link.b, relation: link.relation, cosine: link.cosine, correlation: link.correlation, other };
    }),
    tokens: ({ row }) => needed("words").of(row),
    profile: ({ row }) => detail("profile", row, row),
  });
  const features = recordsOf(Feature, raw.sizes.n_features);

  const ends = { a: readerOf(raw.links.a), b: readerOf(raw.links.b) };
  const Link = recordOf(raw.links, { a: ({ row }) => features[ends.a(row)], b: ({ row }) => features[ends.b(row)] });
  const links = recordsOf(Link, lengthOf(raw.links.a));

  function needed(name) {
    if (late[name] === null) throw new Error("The ledger was read before it was loaded: await atlas.ready()");
    return late[name];
  }

  function detail(name, key, feature) {
    if (!details[name].has(key)) throw new Error(`${name} of feature ${feature} was read before it was loaded: await atlas.details(feature)`);
    return details[name].get(key);
  }

  for (const concept of concepts) {
    concept.emotions = concept.emotions.map((row) => emotions[row]);
    Object.defineProperty(concept, "features", { get: () => Array.from(featuresOfConcept(concept.row), (row) => features[row]) });
  }
  for (const emotion of emotions) {
    const [best, rows] = [emotion.best, () => Array.from(needed("ledgerOfEmotion")(emotion.row), (place) => late.ledger[place])];
    Object.defineProperties(emotion, {
      best: { get: () => needed("ledger")[best] || null },
      ledger: { get: rows },
      furthest: { get: () => late.ledger[needed("ledgerOfEmotion")(emotion.row)[0]] || null }, // the ledger is sorted by verdict
      features: { get: () => [...new Set(rows().map((entry) => entry.feature))] },
    });
  }

  function takeLedger(table) {
    const at = { feature: readerOf(table.feature), emotion: readerOf(table.emotion) };
    const Entry = recordOf(table, {
      feature: ({ row }) => features[at.feature(row)],
      emotion: ({ row }) => emotions[at.emotion(row)],
      measures: (entry) => raw.measures.map((name) => [name, entry[name]]),
      rungs: (entry) => detail("rungs", entry.row, entry.feature.row),
    });
    const ledger = recordsOf(Entry, lengthOf(table.feature));
    late.ledgerFeatures = numbersOf(table.feature);
    late.ledgerOfFeature = groupRows(late.ledgerFeatures, features.length);
    late.ledgerOfEmotion = groupRows(numbersOf(table.emotion), emotions.length);
    late.ledger = ledger;
  }

  function takeWords({ words, at, ends }) {
    const [places, stops] = [numbersOf(at), numbersOf(ends)];
    late.words = {
      words, places, stops,
      of: (row) => Array.from(places.subarray(row ? stops[row - 1] : 0, stops[row]), (place) => words[place]),
    };
  }

  let readying = null;
  function ready() {
    readying ||= Promise.all([load("ledger").then(takeLedger), load("words").then(takeWords)]);
    return readying;
  }

  /** Load what the page of a feature shows beside the ledger: its profile, and the rungs of its ledger rows. */
  async function loadDetails(feature) {
    const part = Math.floor(feature.row / raw.sizes.in_details);
    const found = await load(`details-${part}`);
    if (details.loaded.has(part)) return;
    details.loaded.set(part, true);
    found.features.profile.forEach((value, place) => details.profile.set(part * raw.sizes.in_details + place, value));
    found.ledger.row.forEach((row, place) => details.rungs.set(row, found.ledger.rungs[place]));
  }

  return {
    ...raw.meta,
    concepts, emotions, features, links, saes, rungs, column, emotionOf, ready,
    details: loadDetails,
    get ledger() { return needed("ledger"); },
    /** The feature of every ledger row, in the ledger's order. */
    get ledgerFeatures() { return needed("ledgerFeatures"); },
    get words() { return needed("words"); },
    get isReady() { return late.ledger !== null && late.words !== null; },
    linkColumns: raw.links,
    planes: raw.planes || [],
    overlap: raw.overlap,
    scenarios: rowsOf(raw.scenarios),
    feature: (sae, index) => /^\d+$/.test(index) ? features[addresses(saeByName.get(sae)?.row, Number(index))] : undefined,
    emotion: (name) => byName.get(name),
    /** Top stories of a feature: `{story, values, peak}`, strongest first. */
    async examples(feature) {
      if (feature.chunk === null) return [];
      const chunk = await load(`examples-${feature.chunk}`);
      const mine = rowsOf(chunk.examples).filter((example) => example.feature === feature.row);
      const parts = new Map(await Promise.all(
        [...new Set(mine.map((example) => example.part))].map(async (part) => [part, await load(`stories-${part}`)])));
      return mine.map((example) => readExample(example, parts.get(example.part)));
    },
    /** All stories that are shown anywhere, for the search, part by part. */
    async *stories() {
      for (let part = 0; part < raw.meta.story_parts; part += 1) {
        yield rowsOf(await load(`stories-${part}`)).map((story) => ({
          id: story.id, text: story.tokens.join(""), emotion: emotionOf(story.emotion), feature: features[story.feature],
        }));
      }
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
