// What single pages show beside the map: files that are loaded when such a page is opened.
"use strict";

window.emosae = window.emosae || {};

emosae.pages = (() => {
  const { load, rowsOf } = emosae.data;

  /** What the run measured of one feature beside its ledger rows; each part is null where there is none. */
  async function evidence(feature) {
    const about = await load("evidence");
    const part = Math.floor(feature.row / about.in_file);
    const found = await load(`evidence-${part}`);
    const place = feature.row - part * about.in_file;
    return {
      about,
      histogram: readHistogram(about.histograms.saes[feature.sae.name], about.histograms.bins, found.histogram[place]),
      tokens: found.tokens[place],
      connections: found.connections[place] && rowsOf(found.connections[place]),
      replication: found.replication[place] ? rowsOf(found.replication[place]) : [],
      neuronpedia: about.neuronpedia[feature.sae.name] ? `${about.neuronpedia[feature.sae.name]}/${feature.feature_idx}` : "",
    };
  }

  /** `{top, bins, rows}`: a row per emotion with its stories, those where the feature is silent, and the counts by bin. */
  function readHistogram(about, bins, stored) {
    if (!about || !stored || !stored.top) return null;
    const rows = about.emotions.map((emotion, place) => ({
      emotion, n: about.n_stories[place], silent: about.n_stories[place], counts: new Array(bins).fill(0), mean: 0,
    }));
    for (let at = 0; at < stored.cells.length; at += 3) {
      const [row, bin, count] = stored.cells.slice(at, at + 3);
      rows[row].counts[bin - 1] = count;
      rows[row].silent -= count;
      rows[row].mean += (count * (bin - 0.5)) / bins / rows[row].n;
    }
    return { top: stored.top, bins, rows };
  }

  /** How an emotion's best feature compares with the baselines. */
  async function comparisons(emotion) {
    const about = await load("evidence");
    return rowsOf(about.comparisons).filter((row) => row.emotion === emotion.name);
  }

  /** What there is to watch: `{arms, episodes, dials, trajectory, n}`. */
  async function rollouts() {
    const found = await load("rollouts");
    return { ...found, arms: rowsOf(found.arms), episodes: rowsOf(found.episodes), trajectory: rowsOf(found.trajectory) };
  }

  /** An episode with every arm that played it. */
  function rollout(episode) {
    return load(`rollout-${episode.row}`);
  }

  /** Conversations that were kept, and the number `n` of all. */
  async function talks() {
    const found = await load("talks");
    return { n: found.n, talks: rowsOf(found.talks) };
  }

  async function talk({ row }) {
    const { in_file: size } = await load("talks");
    const found = await load(`talk-${Math.floor(row / size)}`);
    return found[row % size];
  }

  async function geometry() {
    const found = await load("geometry");
    return {
      leaves: found.leaves, places: rowsOf(found.places), tree: rowsOf(found.tree),
      axes: rowsOf(found.axes), statements: rowsOf(found.statements),
    };
  }

  return { comparisons, evidence, geometry, rollout, rollouts, talk, talks };
})();
