// The Hierarchical Reasoning Model in plain JavaScript: hrm.py's forward pass, under hrm.py's names.
//
// One puzzle at a time, so there is no batch. S tokens of a puzzle, P positions of the puzzle embedding
// before them, D hidden size, V vocabulary; a state has rows = P+S. An array (rows, D) is a Float64Array, row
// after row: JavaScript computes in doubles, and would convert float32 at each step. What is needed again and
// again is allocated once, in `new HRM`: the loops create no garbage.
"use strict";

// ------------------------------------------------------------------------------ the parts of a Transformer
/** out (rows, m) = x (rows, n) · weightᵀ, weight (m, n). Nearly all of the time is spent here. Two rows and
 * four outputs are done together: eight sums stay in registers, and a number that was loaded is used
 * several times. The last block is moved back until it fits: it computes some results twice, and needs no
 * code of its own. */
function linear(out, x, weight, rows, n, m) {
  for (let i = 0; i < m; i += 4) {
    const o = Math.min(i, m - 4);
    const w0 = o * n, w1 = w0 + n, w2 = w1 + n, w3 = w2 + n;
    for (let j = 0; j < rows; j += 2) {
      const r = Math.min(j, rows - 2);
      const x0 = r * n, x1 = x0 + n;
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      for (let k = 0; k < n; k++) {
        const a = x[x0 + k], b = x[x1 + k];
        const u0 = weight[w0 + k], u1 = weight[w1 + k], u2 = weight[w2 + k], u3 = weight[w3 + k];
        a0 += a * u0, a1 += a * u1, a2 += a * u2, a3 += a * u3;
        b0 += b * u0, b1 += b * u1, b2 += b * u2, b3 += b * u3;
      }
      const y0 = r * m + o, y1 = y0 + m;
      out[y0] = a0, out[y0 + 1] = a1, out[y0 + 2] = a2, out[y0 + 3] = a3;
      out[y1] = b0, out[y1 + 1] = b1, out[y1 + 2] = b2, out[y1 + 3] = b3;
    }
  }
}

/** x += y */
function add(x, y) {
  for (let i = 0; i < x.length; i++) x[i] += y[i];
}

/** Scale every row of x (rows, D) to root mean square 1. */
function rms_norm(x, D, eps) {
  for (let start = 0; start < x.length; start += D) {
    let squares = 0;
    for (let i = start; i < start + D; i++) squares += x[i] * x[i];
    const scale = 1 / Math.sqrt(squares / D + eps);
    for (let i = start; i < start + D; i++) x[i] *= scale;
  }
}

const STEP = Math.LN2 / 128, TINY = -40;  // e^TINY is lost when it is added to 1
const POWERS = Float64Array.from({length: 1 - TINY / STEP}, (_, i) => Math.exp(-i * STEP));

/** eˣ for TINY < x ≤ 0, to 13 digits and in half the time of Math.exp: a power from the table, and a few
 * terms of the series for what is left of x. */
function exp(x) {
  const steps = x / STEP | 0, rest = x - steps * STEP;
  return POWERS[-steps] * (1 + rest * (1 + rest * (1 / 2 + rest * (1 / 6 + rest / 24))));
}

/** Every row of x (rows, n) becomes probabilities: exp(scale · x), divided by its sum. */
function softmax(x, n, scale = 1) {
  for (let start = 0; start < x.length; start += n) {
    let largest = -Infinity, sum = 0;
    for (let i = start; i < start + n; i++) if (x[i] > largest) largest = x[i];
    for (let i = start; i < start + n; i++) {
      const below = scale * (x[i] - largest);
      sum += x[i] = below > TINY ? exp(below) : 0;
    }
    const share = 1 / sum;
    for (let i = start; i < start + n; i++) x[i] *= share;
  }
}

/** Cosine and sine of the rotary angles, each (P+S, head_size/2), or null in a model that has none. "rope"
 * turns a pair of dimensions with the position in the row of tokens, "rope2d" half of the pairs with the
 * cell's row and half with its column. The puzzle embedding stands at row 0, column 0, off the grid. */
function rope_tables(config, P, head_size) {
  if (config.positions === "learned") return null;
  const rows = P + config.seq_len, pairs = head_size / 2, side = Math.sqrt(config.seq_len);
  const cos = new Float64Array(rows * pairs), sin = new Float64Array(rows * pairs);
  for (let r = 0; r < rows; r++) {
    const cell = r - P, off_grid = cell < 0;
    const row = off_grid ? 0 : Math.floor(cell / side) + 1, column = off_grid ? 0 : cell % side + 1;
    for (let i = 0; i < pairs; i++) {
      const flat = !config.positions.includes("2d"), half = pairs / 2;
      const place = flat ? r : i < half ? row : column;
      const angle = place * config.rope_base ** -(flat ? i / pairs : 2 * (i % half) / pairs);
      cos[r * pairs + i] = Math.cos(angle), sin[r * pairs + i] = Math.sin(angle);
    }
  }
  return {cos, sin};
}

/** Rotary positions on the queries or keys x (P+S, head_size) of one head: i turns with i + head_size/2. */
function rotate(x, {cos, sin}, pairs) {
  for (let at = 0; at < cos.length; at++) {
    const i = at + pairs * Math.floor(at / pairs), j = i + pairs, first = x[i], second = x[j];
    x[i] = first * cos[at] - second * sin[at];
    x[j] = second * cos[at] + first * sin[at];
  }
}

/** out = full (not causal) self-attention of h (P+S, D); q, k and v come from one projection. */
function attention(model, weights, h, out) {
  const {D, rows, head_size, rope, bands, buffers: {qkv, q, k, v_T, scores, mixed, all_mixed}} = model;
  linear(qkv, h, weights.qkv, rows, D, 3 * D);
  for (let first = 0; first < D; first += head_size) {  // a head has the features from `first` on
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < head_size; i++) {
        const from = r * 3 * D + first + i, to = r * head_size + i;
        q[to] = qkv[from], k[to] = qkv[from + D], v_T[i * rows + r] = qkv[from + 2 * D];
      }
    }
    if (rope) rotate(q, rope, head_size / 2), rotate(k, rope, head_size / 2);
    for (const band of bands) {
      linear(scores, band.q, k, band.rows, head_size, rows);  // (band.rows, P+S)
      softmax(scores, rows, 1 / Math.sqrt(head_size));
      linear(band.mixed, scores, v_T, band.rows, rows, head_size);
    }
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < head_size; i++) all_mixed[r * D + first + i] = mixed[r * head_size + i];
    }
  }
  linear(out, all_mixed, weights.out, rows, D, D);
}

/** out = W_down(silu(gate) · up) of h (P+S, D). */
function swiglu(model, weights, h, out) {
  const {D, rows, inner, buffers: {gate_up, gated}} = model;
  linear(gate_up, h, weights.gate_up, rows, D, 2 * inner);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < inner; i++) {
      const gate = gate_up[2 * r * inner + i], up = gate_up[(2 * r + 1) * inner + i];
      gated[r * inner + i] = gate / (1 + Math.exp(-gate)) * up;
    }
  }
  linear(out, gated, weights.down, rows, inner, D);
}

/** Post-Norm: the norm comes after the residual sum. h (P+S, D) changes in place. */
function block(model, weights, h) {
  for (const part of [attention, swiglu]) {
    part(model, weights, h, model.buffers.change);
    add(h, model.buffers.change);
    rms_norm(h, model.D, model.config.norm_eps);
  }
}

/** f(z, injections): one update of a recurrent state z (P+S, D), in place. */
function reasoning_module(model, blocks, z, ...injections) {
  for (const injection of injections) add(z, injection);
  for (const weights of blocks) block(model, weights, z);
}

// ----------------------------------------------------------------------------------------------- the model
class HRM {
  /** config: HRMConfig's fields; state: name -> weights, as in PyTorch's state_dict, each a Float64Array. */
  constructor(config, state) {
    const D = config.hidden_size, P = Math.ceil(config.puzzle_emb_ndim / D), rows = P + config.seq_len;
    const head_size = D / config.num_heads, inner = state["L.blocks.0.mlp.down.weight"].length / D;
    const rope = rope_tables(config, P, head_size);
    Object.assign(this, {config, state, D, P, rows, head_size, inner, rope});
    const blocks = (name, layers) => Array.from({length: layers}, (_, i) => {
      const weight = part => state[`${name}.blocks.${i}.${part}.weight`];
      return {qkv: weight("attention.qkv"), out: weight("attention.out"),
              gate_up: weight("mlp.gate_up"), down: weight("mlp.down")};
    });
    this.H = blocks("H", config.H_layers), this.L = blocks("L", config.L_layers);
    const widths = {qkv: 3 * D, q: head_size, k: head_size, v_T: head_size, mixed: head_size,
                    all_mixed: D, gate_up: 2 * inner, gated: inner, change: D};
    this.buffers = {};
    for (const [name, width] of Object.entries(widths)) this.buffers[name] = new Float64Array(rows * width);
    this.make_bands(rows, head_size);
  }

  /** Attention works on a band of rows at a time, so that their scores stay in the processor's cache. The
   * last band is moved back until it fits, as in `linear`. */
  make_bands(rows, head_size) {
    const height = Math.min(8, rows), {q, mixed} = this.buffers;
    this.buffers.scores = new Float64Array(height * rows);
    this.bands = [];
    for (let r = 0; r < rows; r += height) {
      const first = Math.min(r, rows - height), part = [first * head_size, (first + height) * head_size];
      this.bands.push({rows: height, q: q.subarray(...part), mixed: mixed.subarray(...part)});
    }
  }

  /** z⁰ = (z_H⁰, z_L⁰), each (P+S, D): one vector each for all positions. */
  initial_state() {
    const everywhere = init => Float64Array.from({length: this.rows * this.D}, (_, i) => init[i % this.D]);
    return {z_H: everywhere(this.state.H_init), z_L: everywhere(this.state.L_init)};
  }

  /** x̃ = √D · E[token] (P+S, D), the puzzle embedding in front as P positions. */
  input_network(inputs) {
    const {D, P} = this, x = new Float64Array(this.rows * D), table = this.state["tokens.weight"];
    x.set(this.state.puzzle_emb?.subarray(0, this.config.puzzle_emb_ndim) ?? []);
    inputs.forEach((token, i) => x.set(table.subarray(token * D, (token + 1) * D), (P + i) * D));
    const learned = this.config.positions.includes("learned");
    if (learned) add(x, this.state["positions.weight"]);
    const scale = Math.sqrt(learned ? D / 2 : D);  // 1/√2 keeps the variance of one embedding
    return x.map(value => value * scale);
  }

  /** N·T updates of L and N of H (paper, figure 4). `watch` sees the state after each update of L, and of H
   * where H has its turn. */
  think({z_H, z_L}, x, watch) {
    const N = this.config.H_cycles, T = this.config.L_cycles;
    for (let i = 1; i <= N * T; i++) {
      reasoning_module(this, this.L, z_L, z_H, x);
      if (i % T === 0) reasoning_module(this, this.H, z_H, z_L);
      watch?.(z_H, z_L, i);
    }
  }

  /** One segment: think, then both heads -> token logits (S, V), q_halt, q_continue. z changes in place. */
  forward(z, x, watch) {
    this.think(z, x, watch);
    return {logits: this.head(z.z_H), ...this.q_head(z.z_H)};
  }

  head(z_H) {
    const {D, P, config: {seq_len, vocab_size}} = this, logits = new Float64Array(seq_len * vocab_size);
    linear(logits, z_H.subarray(P * D), this.state["head.weight"], seq_len, D, vocab_size);
    return logits;
  }

  q_head(z_H) {
    const weight = this.state["q_head.weight"], [q_halt, q_continue] = this.state["q_head.bias"];
    const first = z_H.subarray(0, this.D);  // reads the first position only
    const product = row => first.reduce((sum, value, i) => sum + value * weight[row * this.D + i], 0);
    return {q_halt: q_halt + product(0), q_continue: q_continue + product(1)};
  }

  /** Is stopping worth more than going on? With "bce": is the answer right with a probability above
   * `confidence`? */
  wants_to_halt(q_halt, q_continue, confidence = 0.5) {
    return q_halt > (this.config.halting === "q" ? q_continue : Math.log(confidence / (1 - confidence)));
  }
}

// ----------------------------------------------------------------------------------------------- inference
/** The most probable token of every cell: logits or probabilities (S, V) -> (S,). */
function argmax(logits, V) {
  return Uint8Array.from({length: logits.length / V}, (_, s) => {
    const row = logits.subarray(s * V, (s + 1) * V);
    return row.indexOf(Math.max(...row));
  });
}

/** Think about a puzzle (S,) for up to `max_segments`, until the Q-head says stop; the answer is the one
 * with the highest q_halt on the way. halt=false, or confidence 1: think to the end, and answer then.
 * `after_segment` is told of each. */
function solve(model, inputs, {max_segments = model.config.M_max, halt = true, confidence = 0.5, watch,
                               after_segment} = {}) {
  halt &&= confidence < 1;
  const z = model.initial_state(), x = model.input_network(inputs);
  const solution = {predictions: null, segments: 0, q_halt: -Infinity};
  while (solution.segments < max_segments) {
    const {logits, q_halt, q_continue} = model.forward(z, x, watch);
    solution.segments++;
    if (!halt || q_halt > solution.q_halt) {
      solution.predictions = argmax(logits, model.config.vocab_size);
      solution.q_halt = q_halt;
    }
    after_segment?.({logits, q_halt, q_continue});
    if (halt && model.wants_to_halt(q_halt, q_continue, confidence)) break;
  }
  return solution;
}

/** A float16 array in base64 -> Float64Array: one sign bit, 5 bits of exponent, 10 of fraction. */
function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
  return Float64Array.from(new Uint16Array(bytes.buffer), half => {
    const sign = half >> 15 ? -1 : 1, exponent = half >> 10 & 31, fraction = half & 1023;
    return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  });
}
