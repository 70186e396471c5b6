// What stands beside the board: the probabilities of a cell, σ(q_halt) by segment, how far the states move.
"use strict";
/** Symbols of the cell that one looks at, with what the model gives each. */
function show_odds() {
  const frame = frames[shown], V = model.config.vocab_size;
  $("looked").textContent = place(looked);
  $("odds").replaceChildren(...range(task.symbols.length).slice(1).map(token => {
    const p = frame.probabilities?.[looked * V + token];
    const bar = element("span", {class: "track"}, element("i", {style: `width: ${100 * (p ?? 0)}%`}));
    return element("li", {}, element("span", {}, task.names[token]), bar,
                   element("span", {}, p === undefined ? "–" : percent(p)));
  }));
}

const WIDTH = 420, HEIGHT = 150, LEFT = 34, BOTTOM = 24;

function chart(figure, label, ...shapes) {
  const size = `0 0 ${WIDTH} ${HEIGHT}`;
  const drawing = {viewBox: size, role: "img", "aria-label": label};
  figure.replaceChildren(element("svg:svg", drawing, ...shapes.flat()));
}

function line(x1, y1, x2, y2, kind) {
  return element("svg:line", {x1, y1, x2, y2, class: kind});
}

function text(x, y, content, anchor = "middle", kind = "") {
  return element("svg:text", {x, y, "text-anchor": anchor, class: kind}, content);
}

/** Points joined by lines, those after `now` faint. */
function curve(points, now, kind) {
  const joined = part => element("svg:polyline", {points: part.map(({x, y}) => `${x},${y}`).join(" "),
                                                  class: kind + (part === points ? " later" : "")});
  const dots = points.map(({i, x, y}) =>
    element("svg:circle", {cx: x, cy: y, r: 2.6, class: kind + (i > now ? " later" : "")}));
  return [joined(points), joined(points.filter(({i}) => i <= now)), ...dots];
}

/** Horizontal lines at these values, which stand beside them. */
function levels(values, y) {
  return values.flatMap(value => [line(LEFT, y(value), WIDTH - 26, y(value), "axis"),
                                  text(LEFT - 6, y(value) + 4, value, "end")]);
}

function scale_x(i, columns) {
  return LEFT + (WIDTH - LEFT - 26) * i / columns;
}

function show_confidence() {
  const columns = Math.max(model.config.M_max, segments.length), now = frames[shown].segment;
  const done = frames[shown].answer || frames[shown].update === updates_per_segment() ? now : now - 1;
  const x = i => scale_x(i - 0.5, columns), y = p => 8 + (HEIGHT - BOTTOM - 8) * (1 - p);
  const points = segments.map(({q_halt}, i) => ({i: i + 1, x: x(i + 1), y: y(sigmoid(q_halt))}));
  const grid = levels([0, 0.5, 1], y);
  const ticks = range(columns).map(i => text(x(i + 1), HEIGHT - 8, i + 1));
  const limit = model.config.halting === "bce"
    ? [line(LEFT, y(model.confidence), WIDTH - 26, y(model.confidence), "limit"),
       text(WIDTH - 22, y(model.confidence) + 4, model.confidence, "start")] : [];
  const values = segments.slice(0, done).map(({q_halt}) => sigmoid(q_halt).toFixed(2)).join(", ");
  chart($("confidence"), `σ(q_halt) by segment: ${values || "no segment yet"}`,
        grid, ticks, limit, curve(points, done, "q"));
}

function show_movement() {
  const film = frames.filter(frame => frame.moves && !frame.answer);
  const columns = Math.max(model.config.M_max * updates_per_segment(), film.length);
  const now = frames[shown].answer ? film.length : shown;
  const all = film.flatMap(({moves}) => [moves.z_L, moves.z_H ?? moves.z_L]);
  const low = Math.min(-1, Math.floor(Math.log10(Math.max(1e-6, Math.min(1, ...all))))), high = 1.2;
  const x = i => scale_x(i - 0.5, columns);
  const y = value => 8 + (HEIGHT - BOTTOM - 8) * (high - Math.log10(Math.max(value, 1e-6))) / (high - low);
  const points = state => film.flatMap(({moves}, i) =>
    moves[state] === null ? [] : {i: i + 1, x: x(i + 1), y: y(moves[state])});
  const powers = range(2 - low).map(i => 10 ** (low + i));
  const grid = levels(powers, y);
  const ends = range(columns / updates_per_segment()).flatMap(segment => {
    const [middle, at] = [0.5, 1].map(part => x((segment + part) * updates_per_segment() + 0.5));
    return [line(at, 8, at, HEIGHT - BOTTOM, "dotted"), text(middle, HEIGHT - 8, segment + 1)];
  });
  const lines = ["z_L", "z_H"].flatMap(state => {
    const drawn = points(state), last = drawn.at(-1);
    const name = last ? [text(last.x + 7, last.y + (state === "z_H" ? -4 : 11), state, "start", state)] : [];
    return [...curve(drawn, now, state), ...name];
  });
  const moves = film[now - 1]?.moves, slow = moves?.z_H ? ` and z_H by ${moves.z_H.toFixed(2)}` : "";
  const label = moves ? `Update ${now} moved z_L by ${moves.z_L.toFixed(2)}${slow}` : "No update yet";
  chart($("movement"), label, grid, ends, lines);
}
