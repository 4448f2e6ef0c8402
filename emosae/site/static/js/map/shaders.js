// The map's two programs for the graphics card: marks with their six shapes, and links.
"use strict";

window.emosae = window.emosae || {};

/** A point is `from` or `to` in the square from -1 to 1, `turn` of the way between them; `look` is the place of its colour,
    its shape, its radius in sixteenths of a pixel and how solid it is out of 255. */
emosae.SHADERS = {
  markVertex: `#version 300 es
    precision highp float;
    in vec2 from; in vec2 to; in vec4 look;
    uniform vec2 scale; uniform vec2 shift; uniform float turn; uniform float grow; uniform float ratio;
    uniform vec3 palette[24];
    out vec3 colour; out float radius; out float strength; flat out int shape;
    void main() {
      gl_Position = vec4(mix(from, to, turn) * scale + shift, 0.0, 1.0);
      radius = look.z / 16.0 * grow * ratio;
      gl_PointSize = 2.0 * (1.25 * radius + 2.0 * ratio);
      colour = palette[int(look.x)];
      shape = int(look.y);
      strength = look.w / 255.0;
    }`,
  markFragment: `#version 300 es
    precision highp float;
    in vec3 colour; in float radius; in float strength; flat in int shape;
    uniform vec3 paper; uniform float ratio;
    out vec4 ink;
    float outline(vec2 p) {
      vec2 q = abs(p);
      if (shape == 1) return max(q.x, q.y) - 0.86;
      if (shape == 3) return (q.x + q.y - 1.22) * 0.7071;
      if (shape == 5) return min(max(q.x - 0.42, q.y - 1.15), max(q.x - 1.15, q.y - 0.42));
      if (shape == 2 || shape == 4) {
        float y = shape == 2 ? p.y : -p.y;
        return max(y - 0.8, dot(vec2(q.x, y), vec2(0.8768, -0.4811)) - 0.5533);
      }
      return length(p) - 1.0;
    }
    void main() {
      float reach = 1.25 * radius + 2.0 * ratio;
      float away = outline((gl_PointCoord * 2.0 - 1.0) * reach / radius) * radius;
      float body = clamp(0.5 - away, 0.0, 1.0);
      float rim = radius < 3.0 * ratio ? 0.0 : clamp(0.5 + ratio - away, 0.0, 1.0) * 0.9;
      float cover = strength * max(body, rim);
      if (cover < 0.01) discard;
      ink = vec4(mix(paper, colour, body / max(max(body, rim), 0.001)) * cover, cover);
    }`,
  linkVertex: `#version 300 es
    precision highp float;
    in vec2 here; in vec2 there; in vec2 kind;
    uniform vec2 scale; uniform vec2 shift; uniform vec2 size;
    out float along; flat out float dashed;
    void main() {
      gl_Position = vec4(here * scale + shift, 0.0, 1.0);
      along = kind.x * length((here - there) * scale * size / 2.0);
      dashed = kind.y;
    }`,
  linkFragment: `#version 300 es
    precision highp float;
    in float along; flat in float dashed;
    uniform vec4 colour; uniform float ratio;
    out vec4 ink;
    void main() {
      if (dashed > 0.5 && fract(along / (6.0 * ratio)) > 0.5) discard;
      ink = vec4(colour.rgb * colour.a, colour.a);
    }`,
};
