// Which features a few typed letters mean: their emotion, their number or SAE, or a token that they fire on. Distinct words
// are scored once, so that tens of thousands of features take milliseconds.
"use strict";

window.emosae = window.emosae || {};

/** How well `word` (lower case) fits what was typed: 3 the whole word, 2 its beginning, 1 inside it, 0 not at all. */
emosae.scoreWord = (word, typed) => {
  const place = word.indexOf(typed);
  if (place < 0) return 0;
  return place > 0 ? 1 : word.length === typed.length ? 3 : 2;
};

/** Scores features of an atlas that is ready. */
emosae.Finder = class {
  constructor(atlas) {
    const lower = (text) => text.toLowerCase().trim();
    this.atlas = atlas;
    this.words = atlas.words.words.map(lower);
    this.emotions = atlas.emotions.map((emotion) => lower(emotion.name));
    this.saes = atlas.saes.map((sae) => lower(sae.name));
  }

  /** A score from 0 to 3 for every feature. */
  score(text) {
    const typed = text.toLowerCase().trim();
    const { atlas } = this;
    const scores = new Uint8Array(atlas.features.length);
    if (!typed) return scores;
    const [emotion, sae, index] = ["emotion", "sae", "feature_idx"].map((name) => atlas.column(name));
    const byEmotion = this.emotions.map((name) => emosae.scoreWord(name, typed));
    const bySae = this.saes.map((name) => emosae.scoreWord(name, typed));
    const inSae = this.saes.map((name) => this.#numberAfter(name, typed));
    for (let row = 0; row < scores.length; row += 1) {
      const number = inSae[sae[row]];
      const byNumber = number === "" ? 0 : emosae.scoreWord(String(index[row]), number);
      scores[row] = Math.max(byEmotion[emotion[row]] || 0, bySae[sae[row]], byNumber);
    }
    this.#scoreTokens(typed, scores);
    return scores;
  }

  /** What was typed of a feature's number: all of it, or what follows `sae/`; empty if no number was meant. */
  #numberAfter(sae, typed) {
    const cut = typed.lastIndexOf("/");
    const number = typed.slice(cut + 1);
    return /^\d+$/.test(number) && (cut < 0 || sae.endsWith(typed.slice(0, cut))) ? number : "";
  }

  #scoreTokens(typed, scores) {
    const byWord = Uint8Array.from(this.words, (word) => emosae.scoreWord(word, typed));
    const { places, stops } = this.atlas.words;
    let at = 0;
    for (let row = 0; row < scores.length; row += 1) {
      for (; at < stops[row]; at += 1) if (byWord[places[at]] > scores[row]) scores[row] = byWord[places[at]];
    }
  }

  /** The best `n` of the features that `text` fits, by score and then by verdict, and how many there are. */
  best(text, n) {
    const [scores, level] = [this.score(text), this.atlas.column("level")];
    const rank = (row) => scores[row] * 16 + level[row];
    const rows = [];
    let total = 0;
    for (let row = 0; row < scores.length; row += 1) {
      if (!scores[row]) continue;
      total += 1;
      if (rows.length === n && rank(row) <= rank(rows[n - 1])) continue;
      let place = rows.length;
      while (place > 0 && rank(rows[place - 1]) < rank(row)) place -= 1;
      rows.splice(place, 0, row);
      rows.length = Math.min(rows.length, n);
    }
    return { rows, total };
  }
};
