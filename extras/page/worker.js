// The worker: computes in the background what the page asks for, and tells it step by step. It is made of
// hrm.js, puzzles.js and this file. A job that is no longer wanted ends with its worker.
"use strict";

let known = null, model = null;  // the model that was asked for last

onmessage = ({data: {job, description, inputs, halt}}) => {
  if (known !== description.name) {
    const state = Object.entries(description.weights).map(([name, text]) => [name, unpack(text)]);
    known = description.name, model = new HRM(description.config, Object.fromEntries(state));
  }
  if (job === "think") think(description, inputs, halt);
  if (job === "vote") vote(description, inputs);
};

/** ‖z − z_before‖ over the D features, then the mean over the positions: how far an update moved a state. */
function moved(z, before, D) {
  let sum = 0;
  for (let start = 0; start < z.length; start += D) {
    let squares = 0;
    for (let i = start; i < start + D; i++) squares += (z[i] - before[i]) ** 2;
    sum += Math.sqrt(squares);
  }
  return sum * D / z.length;
}

/** Think about a puzzle; after each update of L, the page hears what the model would answer now: one
 * H-update more, on the side, which the state does not see (paper, figure 7). After T of them, H has made it
 * itself. */
function think(description, inputs, halt) {
  const {config, D} = model, z = model.initial_state();
  const before = {z_H: z.z_H, z_L: z.z_L}, on_the_side = new Float64Array(z.z_H.length);
  let watching = 0;  // milliseconds that the model itself would not need

  const watch = (z_H, z_L, i) => {
    const start = performance.now();
    const H_moves = i % config.L_cycles === 0;
    on_the_side.set(z_H);
    if (!H_moves) reasoning_module(model, model.H, on_the_side, z_L);
    const probabilities = model.head(on_the_side);
    const predictions = argmax(probabilities, config.vocab_size);
    softmax(probabilities, config.vocab_size);
    const moves = {z_L: moved(z_L, before.z_L, D), z_H: H_moves ? moved(on_the_side, before.z_H, D) : null};
    before.z_L = z_L.slice();
    if (H_moves) before.z_H = on_the_side.slice();
    postMessage({kind: "update", predictions, probabilities, moves});
    watching += performance.now() - start;
  };

  let start = performance.now();
  const after_segment = ({q_halt}) => {
    const milliseconds = performance.now() - start - watching;
    postMessage({kind: "segment", q_halt, milliseconds});
    start = performance.now(), watching = 0;
  };
  const solution = solve(model, inputs, {halt, confidence: description.confidence, watch, after_segment});
  postMessage({kind: "answer", ...solution});
}

/** Ask 8 times, each time under another symmetry; the page hears every answer, turned back. */
function vote(description, inputs) {
  const task = make_task(description), proposals = [];
  for (let k = 0; k < 8; k++) {
    const view = task.view(k);
    const solution = solve(model, transform(inputs, view), {confidence: description.confidence});
    const answer = undo(solution.predictions, view);
    proposals.push({answer, q_halt: solution.q_halt, valid: task.keeps_rules(inputs, answer)});
    postMessage({kind: "vote", k, name: view.name, segments: solution.segments, ...proposals.at(-1)});
  }
  postMessage({kind: "chosen", best: best_of(proposals)});
}
