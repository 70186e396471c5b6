// The page: the board that one edits, the film of the model's thoughts, the charts beside it, the votes.
"use strict";

const $ = id => document.getElementById(id);
const models = JSON.parse($("models").textContent);
const worker_code = ["hrm.js", "puzzles.js", "worker.js"].map(id => $(id).textContent).join("\n");
const worker_url = URL.createObjectURL(new Blob([worker_code], {type: "text/javascript"}));

let model, task;  // what is chosen above: its description, and its kind of puzzle
let inputs;  // the puzzle
let frames;  // the film: {predictions, probabilities, moves, segment, update}; the first one is the question
let segments;  // for each that is done: q_halt and milliseconds
let solution;  // the model's answer, once it has one
let shown = 0, playing = false, looked = 0;  // the frame on the board; the cell whose probabilities are shown
let worker = null, busy = false, timer = null;
const kept = {};  // each model's puzzle, for when one comes back to it

// --------------------------------------------------------------------------------------- small helpers
/** A new element with attributes and children; in SVG's namespace if the name begins with "svg:". */
function element(name, attributes = {}, ...children) {
  const svg = name.startsWith("svg:");
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function say(text, kind = "", where = $("message")) {
  where.textContent = text;
  where.className = kind;
}

function percent(p) {
  return p > 0.995 && p < 1 ? "> 99 %" : p > 0 && p < 0.005 ? "< 1 %" : `${Math.round(100 * p)} %`;
}

function plural(n, word) {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

function place(cell) {
  return `row ${Math.floor(cell / task.size) + 1}, column ${cell % task.size + 1}`;
}

const updates_per_segment = () => model.config.H_cycles * model.config.L_cycles;

// ------------------------------------------------------------------------------------------- the board
/** Fill an element with the cells of an empty board; those of a board that one plays on can have the focus. */
function make_board(board, cells_role) {
  board.style.setProperty("--n", task.size);
  board.replaceChildren(...range(task.size).map(row => {
    const cells = range(task.size).map(column => {
      const cell = element("div", {class: "cell", "data-cell": row * task.size + column});
      if (cells_role) cell.setAttribute("role", cells_role);
      if (task.box && column + 1 < task.size && (column + 1) % task.box[1] === 0) cell.classList.add("right-edge");
      if (task.box && row + 1 < task.size && (row + 1) % task.box[0] === 0) cell.classList.add("bottom-edge");
      return cell;
    });
    return element("div", {role: cells_role ? "row" : "none"}, ...cells);
  }));
}

/** Draw an answer to `question`; `before`: mark what changed since then; probabilities shade a maze's path. */
function draw(board, question, answer, before = answer, probabilities = null) {
  const cells = board.querySelectorAll(".cell"), wrong = new Set(task.wrong_cells(question, answer));
  const V = task.symbols.length, width = model.config.vocab_size;
  cells.forEach((cell, i) => {
    const token = answer[i], classes = cell.classList;
    const given = task instanceof Sudoku && question[i] > 1 && question[i] === token;
    const end = task instanceof Maze && token >= START && token <= GOAL;
    classes.toggle("wall", task instanceof Maze && token === WALL);
    classes.toggle("path", task instanceof Maze && token === PATH);
    classes.toggle("end", end);
    classes.toggle("given", given);
    classes.toggle("wrong", wrong.has(i));
    classes.toggle("changed", before[i] !== token);
    if (probabilities) cell.style.setProperty("--p", probabilities[i * width + token]);
    else cell.style.removeProperty("--p");
    cell.textContent = end || task instanceof Sudoku && token > 1 && token < V ? task.symbols[token] : "";
    if (cell.hasAttribute("role")) {
      const what = `${task.names[token] || "nothing"}${given ? ", given" : ""}${wrong.has(i) ? ", wrong" : ""}`;
      cell.setAttribute("aria-label", `${place(i)}: ${what}`);
    }
  });
}

/** The cell that a pointer is over, or null. */
function cell_at(event) {
  const cell = document.elementFromPoint(event.clientX, event.clientY)?.closest("#board .cell");
  return cell ? Number(cell.dataset.cell) : null;
}

function look_at(cell, focus = false) {
  looked = cell;
  $("board").querySelectorAll(".cell").forEach((each, i) => {
    each.tabIndex = i === cell ? 0 : -1;
    each.classList.toggle("looked", i === cell);
    if (i === cell && focus) each.focus({preventScroll: true});
  });
  show_odds();
}

// ------------------------------------------------------------------------------------ editing the puzzle
/** The puzzle is another one now: earlier thoughts are gone, and problems are named at once. */
function changed() {
  stop();
  frames = [{predictions: inputs, segment: 0, update: 0}], segments = [], solution = null, shown = 0;
  kept[model.name] = inputs;
  $("ballots").hidden = true;
  say("", "", $("verdict"));
  show();
  const problem = task.problem(inputs);
  say(problem || task.note(inputs), problem ? "wrong" : "");
}

/** Set a cell to a token; S and G move, as there is one of each. */
function put(cell, token) {
  if (inputs[cell] === token) return;
  inputs = inputs.slice();
  if (token === START || token === GOAL) {
    if (task instanceof Maze && inputs.includes(token)) inputs[inputs.indexOf(token)] = OPEN;
  }
  inputs[cell] = token;
  changed();
}

let drag = null;  // the token that a dragged pointer leaves behind; S and G are carried along

function press(event) {
  const cell = cell_at(event);
  if (cell === null) return;
  event.preventDefault();
  look_at(cell, true);
  if (task instanceof Sudoku) return;
  const brush = {S: START, G: GOAL}[document.querySelector("[name=brush]:checked").value];
  const end = [START, GOAL].includes(inputs[cell]);
  drag = brush ?? (end ? inputs[cell] : inputs[cell] === WALL ? OPEN : WALL);
  if (!end || brush) put(cell, drag);
}

function move(event) {
  const cell = cell_at(event);
  if (cell === null) return;
  if (cell !== looked && (drag !== null || event.pointerType === "mouse")) look_at(cell);
  if (drag !== null && ![START, GOAL].includes(inputs[cell])) put(cell, drag);
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const n = task.size, row = Math.floor(looked / n), column = looked % n, digit = task.symbols.indexOf(event.key);
  const erase = ["Backspace", "Delete", " ", "0", "."].includes(event.key);
  const arrows = {ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1],
                  ArrowRight: [row, column + 1], Home: [row, 0], End: [row, n - 1]};
  if (arrows[event.key]) {
    const [r, c] = arrows[event.key].map(at => Math.max(0, Math.min(n - 1, at)));
    look_at(r * n + c, true);
  } else if (task instanceof Sudoku && digit > 1) put(looked, digit);
  else if (task instanceof Sudoku && erase) put(looked, 1);
  else if (task instanceof Maze && [" ", "Enter"].includes(event.key)) {
    put(looked, inputs[looked] === WALL ? OPEN : WALL);
  } else if (task instanceof Maze && ["Backspace", "Delete"].includes(event.key)) put(looked, OPEN);
  else if (task instanceof Maze && /^[sg]$/i.test(event.key)) put(looked, /s/i.test(event.key) ? START : GOAL);
  else return;
  event.preventDefault();
}

/** A puzzle as text: what is wrong with it is said, and the board stays as it was. */
function use_text(text) {
  try {
    inputs = encode(task, text);
    changed();
    $("text").value = "";
  } catch (error) {
    say(error.message, "wrong");
  }
}

function new_puzzle(made) {
  inputs = made;
  changed();
  look_at(Math.max(0, inputs.findIndex(token => token === (task instanceof Maze ? OPEN : 1))));
}

// ----------------------------------------------------------------------------------- thinking, and its film
/** Give the worker a job; `hear` is told what it says. A worker that is busy with another job is ended. */
function ask(job, hear) {
  stop();
  worker ??= new Worker(worker_url);
  worker.onmessage = ({data}) => hear(data);
  worker.onerror = error => say(`The model stopped: ${error.message}. Load the page again.`, "wrong");
  busy = true;
  worker.postMessage({job, description: model, inputs, halt: !$("on").checked});
}

function stop() {
  if (busy) worker.terminate(), worker = null;
  busy = playing = false;
  clearTimeout(timer);
}

/** Is there a puzzle to think about? If not, the reason stays on the page. */
function ready() {
  const problem = task.problem(inputs);
  if (problem) say(problem, "wrong");
  return !problem;
}

function think() {
  if (playing) return pause();
  const unfinished = busy && !solution && frames.length > 1;
  if (unfinished || solution && shown < frames.length - 1) return play();
  if (!ready()) return;
  changed();
  ask("think", data => {
    if (data.kind === "update") {
      const update = frames.length, segment = Math.ceil(update / updates_per_segment());
      frames.push({...data, segment, update: update - (segment - 1) * updates_per_segment()});
    } else if (data.kind === "segment") segments.push(data);
    else if (data.kind === "answer") {
      busy = false, solution = data;
      const end = frames[updates_per_segment() * (1 + best_segment())];
      frames.push({...end, predictions: data.predictions, answer: true});
      const times = segments.map(segment => segment.milliseconds).sort((a, b) => a - b);
      $("timing").textContent = `A segment takes ${Math.round(times[times.length >> 1])} ms on your machine.`;
    }
    show();
  });
  play();
}

/** The segment, from 0, whose answer is given: that of the highest q_halt, or the last if it was to think on. */
function best_segment() {
  return segments.findIndex(segment => segment.q_halt === solution.q_halt);
}

function play() {
  playing = true;
  const turn = () => {
    const at_end = shown === frames.length - 1;
    if (at_end && solution) return pause();
    if (!at_end) step(1);
    timer = setTimeout(turn, at_end ? 20 : 1000 / $("speed").value);
  };
  turn();
}

function pause() {
  playing = false;
  clearTimeout(timer);
  show();
}

/** To the next or the last frame; by segments, to the next or the last end of one. */
function step(direction) {
  const stride = $("stride").value === "segment" ? updates_per_segment() : 1, last = frames.length - 1;
  const next = direction > 0 ? (Math.floor(shown / stride) + 1) * stride : (Math.ceil(shown / stride) - 1) * stride;
  const updates = solution ? last - 1 : last;
  if (direction > 0 && next > updates) shown = solution ? last : stride > 1 ? shown : last;
  else shown = Math.max(0, next);
  show();
}

function show() {
  const frame = frames[shown], question = shown === 0;
  draw($("board"), inputs, frame.predictions, question ? inputs : frames[shown - 1].predictions,
       frame.probabilities);
  $("slider").max = frames.length - 1, $("slider").value = shown;
  const where = question ? "the question" : frame.answer ? "the answer"
    : `segment ${frame.segment}, update ${frame.update}`;
  $("where").textContent = where;
  $("slider").setAttribute("aria-valuetext", where);
  $("think").textContent = playing ? "Pause" : shown && shown < frames.length - 1 ? "Go on" : "Think";
  $("back").disabled = question, $("forward").disabled = shown === frames.length - 1;
  if (frame.answer) say(...verdict());
  else if (!question) say(playing ? "Thinking …" : "What it would answer now. Changes are marked.");
  else if (frames.length > 1) say("The question.");
  show_odds();
  show_confidence();
  show_movement();
}

/** Is the answer right, after how long, and how sure was the model? */
function verdict() {
  const wrong = task.problem(inputs, solution.predictions), best = best_segment() + 1;
  const many = wrong || !(task instanceof Sudoku) ? "" : task.uniqueness(inputs);
  const sure = `confidence ${percent(sigmoid(solution.q_halt))}`
    + (best < segments.length ? ` in segment ${best}, the highest` : "");
  const said = `after ${plural(segments.length, "segment")}, ${sure}`;
  return wrong ? [`✗ Wrong ${said}: ${wrong}.`, "wrong"] : [`✓ Solved ${said}.${many}`, "right"];
}

// ------------------------------------------------------------------------------------------- the charts
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

function chart(figure, label, columns, ...shapes) {
  const x = i => LEFT + (WIDTH - LEFT - 26) * i / columns;
  figure.replaceChildren(element("svg:svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label},
                                 ...shapes.flat()));
  return x;
}

function line(x1, y1, x2, y2, kind) {
  return element("svg:line", {x1, y1, x2, y2, class: kind});
}

function text(x, y, content, anchor = "middle", kind = "") {
  return element("svg:text", {x, y, "text-anchor": anchor, class: kind}, content);
}

/** Points joined by lines, those after `now` faint. */
function curve(points, now, kind) {
  const joined = part => element("svg:polyline", {
    points: part.map(point => `${point.x},${point.y}`).join(" "), class: kind + (part === points ? " later" : "")});
  const dots = points.map(({i, x, y}) =>
    element("svg:circle", {cx: x, cy: y, r: 2.6, class: kind + (i > now ? " later" : "")}));
  return [joined(points), joined(points.filter(({i}) => i <= now)), ...dots];
}

function scale_x(i, columns) {
  return LEFT + (WIDTH - LEFT - 26) * i / columns;
}

function show_confidence() {
  const columns = Math.max(model.config.M_max, segments.length), now = frames[shown].segment;
  const done = frames[shown].answer || frames[shown].update === updates_per_segment() ? now : now - 1;
  const x = i => scale_x(i - 0.5, columns), y = p => 8 + (HEIGHT - BOTTOM - 8) * (1 - p);
  const points = segments.map(({q_halt}, i) => ({i: i + 1, x: x(i + 1), y: y(sigmoid(q_halt))}));
  const grid = [0, 0.5, 1].flatMap(p => [line(LEFT, y(p), WIDTH - 26, y(p), "axis"), text(LEFT - 6, y(p) + 4, p, "end")]);
  const ticks = range(columns).map(i => text(x(i + 1), HEIGHT - 8, i + 1));
  const limit = model.config.halting === "bce"
    ? [line(LEFT, y(model.confidence), WIDTH - 26, y(model.confidence), "limit"),
       text(WIDTH - 22, y(model.confidence) + 4, model.confidence, "start")] : [];
  const values = segments.slice(0, done).map(({q_halt}) => sigmoid(q_halt).toFixed(2)).join(", ");
  chart($("confidence"), `σ(q_halt) by segment: ${values || "no segment yet"}`, columns,
        grid, ticks, limit, curve(points, done, "q"));
}

function show_movement() {
  const T = model.config.L_cycles, film = frames.filter(frame => frame.moves && !frame.answer);
  const columns = Math.max(model.config.M_max * updates_per_segment(), film.length);
  const now = frames[shown].answer ? film.length : shown;
  const all = film.flatMap(({moves}) => [moves.z_L, moves.z_H ?? moves.z_L]);
  const low = Math.min(-1, Math.floor(Math.log10(Math.max(1e-6, Math.min(1, ...all))))), high = 1.2;
  const x = i => scale_x(i, columns);
  const y = value => 8 + (HEIGHT - BOTTOM - 8) * (high - Math.log10(Math.max(value, 1e-6))) / (high - low);
  const points = state => film.flatMap(({moves}, i) =>
    moves[state] === null ? [] : {i: i + 1, x: x(i + 1), y: y(moves[state])});
  const powers = range(2 - low).map(i => 10 ** (low + i));
  const grid = powers.flatMap(p => [line(LEFT, y(p), WIDTH - 26, y(p), "axis"), text(LEFT - 6, y(p) + 4, p, "end")]);
  const ends = range(columns / updates_per_segment()).flatMap(segment => {
    const at = x((segment + 1) * updates_per_segment() + 0.5), middle = x((segment + 0.5) * updates_per_segment() + 0.5);
    return [line(at, 8, at, HEIGHT - BOTTOM, "dotted"), text(middle, HEIGHT - 8, segment + 1)];
  });
  const lines = ["z_L", "z_H"].flatMap(state => {
    const drawn = points(state), last = drawn.at(-1);
    const name = last ? [text(last.x + 7, last.y + (state === "z_H" ? -4 : 11), state, "start", state)] : [];
    return [...curve(drawn, now, state), ...name];
  });
  const moves = film[now - 1]?.moves;
  chart($("movement"), moves ? `After update ${now}, z_L moved by ${moves.z_L.toFixed(2)}`
        + (moves.z_H === null ? "" : ` and z_H by ${moves.z_H.toFixed(2)}`) : "No update yet", columns, grid, ends, lines);
}

// --------------------------------------------------------------------------------------------- the votes
function vote() {
  if (!ready()) return;
  changed();
  const asked = range(8).map(() => element("li", {}, element("div", {class: "board", role: "img"}), element("small")));
  $("eight").replaceChildren(...asked);
  [$("chosen"), ...$("eight").querySelectorAll(".board")].forEach(board => {
    make_board(board);
    draw(board, inputs, inputs);
    board.setAttribute("aria-label", "no answer yet");
  });
  $("ballots").hidden = false;
  say("Thinking …", "", $("verdict"));
  const proposals = [];
  ask("vote", data => {
    if (data.kind === "vote") {
      proposals.push(data);
      const board = asked[data.k].querySelector(".board"), [small] = asked[data.k].getElementsByTagName("small");
      const right = task.check(inputs, data.answer);
      draw(board, inputs, data.answer);
      board.setAttribute("aria-label", task.problem(inputs, data.answer) || "right");
      small.replaceChildren(element("b", {class: right ? "right" : "wrong-text"}, right ? "✓ right" : "✗ wrong"),
                            `, ${percent(sigmoid(data.q_halt))} sure`, element("br"), data.name);
      say(`Thinking … ${proposals.length} of 8`, "", $("verdict"));
    } else {
      busy = false;
      show_choice(proposals, data.best, asked);
    }
  });
}

function show_choice(proposals, best, asked) {
  const {answer} = proposals[best], wrong = task.problem(inputs, answer);
  const same = proposals.map(other => other.answer.every((token, i) => token === answer[i]));
  const alike = same.filter(Boolean).length, right = proposals.filter(p => task.check(inputs, p.answer)).length;
  same.forEach((it, k) => asked[k].classList.toggle("chosen", it));
  draw($("chosen"), inputs, answer);
  $("chosen").setAttribute("aria-label", wrong || "right");
  say(wrong ? `✗ Wrong: ${wrong}. Given by ${alike} of 8; none is right.`.replace("none is right", right
    ? `${right} right` : "none is right") : `✓ Solved. ${alike} of 8 views give this answer.`,
      wrong ? "wrong" : "right", $("verdict"));
}

// ------------------------------------------------------------------------------------------ starting up
function choose(next) {
  stop();
  model = next, task = make_task(model);
  const maze = task instanceof Maze, {config} = model;
  document.body.className = model.task;
  $("parameters").textContent = `${(model.parameters / 1e6).toFixed(1)} million`;
  $("learned").textContent = model.train_size;
  $("T").textContent = config.L_cycles === 2 ? "two" : config.L_cycles;
  $("rule").textContent = config.halting === "bce"
    ? `Above ${model.confidence}, the dashed line, the model stops. The answer is that of the surest segment.`
    : "It stops when stopping is worth more than going on.";
  $("views").textContent = maze
    ? "A maze that is turned or mirrored is the same maze to us, but not to the model, which knows each cell by its "
      + "place. It may fail on one view and solve another."
    : "A Sudoku with its digits renamed and its rows and columns shuffled is the same puzzle to us, but not to the "
      + "model, which knows each cell by its place. It may fail on one view and solve another.";
  $("keys").textContent = maze
    ? "Click or drag to build walls and take them away; drag S and G. On the keyboard: arrows, space for a wall, S, G."
    : "Choose a cell, then type or tap a digit. On the keyboard: arrows, digits, delete.";
  $("text").placeholder = `${task.size ** 2} characters: ${maze ? "# wall, space or . open, S, G" : "digits, . for a blank"}`;
  $("pad").replaceChildren(...(maze ? [] : range(task.size + 1).map(d => {
    const button = element("button", {type: "button", "aria-label": d ? d : "erase"}, d ? `${d}` : "⌫");
    button.onclick = () => (put(looked, d + 1), look_at(looked, true));
    return button;
  })));
  $("board").setAttribute("aria-label", `${maze ? "Maze" : "Sudoku"}, ${task.size} by ${task.size}`);
  make_board($("board"), "gridcell");
  new_puzzle(kept[model.name] ?? (maze ? task.generate() : task.generate(true)));
}

function start() {
  $("choice").append(...models.map((each, i) => {
    const radio = element("input", {type: "radio", name: "model", value: each.name, ...(i ? {} : {checked: ""})});
    radio.onchange = () => choose(each);
    const kind = each.task === "maze" ? "Maze" : "Sudoku";
    return element("label", {}, radio, element("span", {}, `${kind} ${each.size}×${each.size}`));
  }));
  $("board").addEventListener("pointerdown", press);
  $("board").addEventListener("keydown", key);
  addEventListener("pointermove", move);
  addEventListener("pointerup", () => drag = null);
  addEventListener("pointercancel", () => drag = null);
  addEventListener("paste", event => {
    const pasted = event.clipboardData.getData("text");
    event.preventDefault();
    use_text(pasted);
  });
  $("paste").onsubmit = event => (event.preventDefault(), use_text($("text").value));
  $("slider").oninput = () => (shown = Number($("slider").value), pause());
  $("back").onclick = () => (pause(), step(-1));
  $("forward").onclick = () => (pause(), step(1));
  $("think").onclick = think;
  $("on").onchange = changed;
  $("another").onclick = () => new_puzzle(task.generate());
  $("easy").onclick = () => new_puzzle(task.generate(true));
  $("hard").onclick = () => new_puzzle(task.generate(false));
  $("clear").onclick = () => new_puzzle(task.empty());
  $("vote").onclick = vote;
  choose(models[0]);
}

start();
