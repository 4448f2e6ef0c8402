// How the map is coloured: by emotion, layer, SAE, model, verdict or match. Every colouring gives each point a category, and
// every category a hue that colour-blind readers can tell, and a shape where hues run out.
"use strict";

window.emosae = window.emosae || {};

/** The colourings that this atlas allows: `{title, key(row), entries}`, an entry being `{key, name, hue, shape, change}`, where
    `change` of the address narrows the map to it. */
emosae.mapColourings = (atlas, items) => {
  const { hueClass, shapeOf } = emosae.marks;
  const RAMP = 8;
  const rowOr = (value) => (value >= 0 ? value : -1);
  const named = (place) => ({ hue: hueClass(place), shape: shapeOf(place) });
  const distinct = (values) => [...new Set(values.filter((value) => value !== null && value !== undefined))];
  const none = (name) => ({ key: -1, name, hue: hueClass(null), shape: 0, change: null });

  function byEmotion() {
    return {
      title: "emotion", key: (row) => rowOr(items.emotion[row]),
      entries: [...atlas.emotions.map((emotion) => ({ key: emotion.row, name: emotion.name, ...named(emotion.row), change: { emotion: emotion.name } })),
        none("no emotion")],
    };
  }

  function byVerdict() {
    const entry = (level, name) => ({ key: level, name, hue: `rung-${level}`, shape: 0, change: level ? { verdict: level } : null });
    return { title: "verdict", key: (row) => items.level[row], entries: [entry(0, "not detected"), ...atlas.rungs.map(({ name }, place) => entry(place + 1, name))] };
  }

  /** A colouring by something that an SAE has. */
  function bySae(title, valueOf, look, change) {
    const values = distinct(atlas.saes.map(valueOf)).sort((a, b) => (typeof a === "number" ? a - b : 0));
    const keys = atlas.saes.map((sae) => values.indexOf(valueOf(sae)));
    return values.length && {
      title, key: (row) => (items.sae[row] >= 0 ? keys[items.sae[row]] : -1),
      entries: [...values.map((value, place) => ({ key: place, name: String(value), ...look(place, values.length), change: change(value) })), none("unknown")],
    };
  }

  const ramp = (place, n) => ({ hue: `ramp-${n > 1 ? Math.round((place * (RAMP - 1)) / (n - 1)) : 0}`, shape: 0 });

  /** A colouring by a column of texts that features have. */
  function byText(title, name) {
    if (items.noun !== "feature" || !atlas.features.some((feature) => feature[name])) return null;
    const values = distinct(atlas.features.map((feature) => feature[name])).sort();
    const place = new Map(values.map((value, at) => [value, at]));
    return {
      title, key: (row) => place.get(atlas.features[row][name]) ?? -1,
      entries: [...values.map((value, at) => ({ key: at, name: value, ...named(at), change: { [name]: value } })), none("unknown")],
    };
  }

  const models = distinct(atlas.saes.map((sae) => sae.run));
  return Object.fromEntries(Object.entries({
    emotion: byEmotion(),
    layer: bySae("layer", (sae) => sae.layer, ramp, (layer) => ({ layer })),
    sae: bySae("SAE", (sae) => sae.name, named, (sae) => ({ sae })),
    run: models.length > 1 && bySae("run", (sae) => sae.run, named, (run) => ({ run })),
    verdict: byVerdict(),
    status: byText("match", "status"),
  }).filter(([, colouring]) => colouring));
};
