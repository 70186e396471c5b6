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
  if (where.textContent === text && where.className === kind) return;  // a screen reader would say it again
  where.textContent = text;
  where.className = kind;
}

function percent(p) {
  const text = p > 0.995 && p < 1 ? "> 99 %" : p > 0 && p < 0.005 ? "< 1 %" : `${Math.round(100 * p)} %`;
  return text.replaceAll(" ", "\u00a0");  // does not break over two lines
}

function plural(n, word) {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

function place(cell) {
  return `row ${Math.floor(cell / task.size) + 1}, column ${cell % task.size + 1}`;
}

const updates_per_segment = () => model.config.H_cycles * model.config.L_cycles;

// ------------------------------------------------------------------------------------------- the board
/** Fill an element with the cells of an empty board; those of the board that one plays on have a role. */
function make_board(board, cells_role) {
  board.style.setProperty("--n", task.size);
  board.replaceChildren(...range(task.size).map(row => {
    const cells = range(task.size).map(column => {
      const cell = element("div", {class: "cell", "data-cell": row * task.size + column});
      if (cells_role) cell.setAttribute("role", cells_role);
      const ends = (at, length) => at + 1 < task.size && (at + 1) % length === 0;
      if (task.box && ends(column, task.box[1])) cell.classList.add("right-edge");
      if (task.box && ends(row, task.box[0])) cell.classList.add("bottom-edge");
      return cell;
    });
    return element("div", {role: cells_role ? "row" : "none"}, ...cells);
  }));
}

/** Draw an answer to `question`. `before`: mark what changed since; probabilities shade a maze's path. */
function draw(board, question, answer, before = answer, probabilities = null) {
  const cells = board.querySelectorAll(".cell"), wrong = new Set(task.wrong_cells(question, answer));
  const V = model.config.vocab_size;
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
    if (probabilities) cell.style.setProperty("--p", probabilities[i * V + token]);
    else cell.style.removeProperty("--p");
    const letter = task instanceof Sudoku ? token : [START, GOAL].includes(question[i]) ? question[i] : token;
    cell.textContent = task.written(letter);
    if (cell.hasAttribute("role")) {
      const notes = (given ? ", given" : "") + (wrong.has(i) ? ", wrong" : "");
      cell.setAttribute("aria-label", `${place(i)}: ${task.names[token] || "nothing"}${notes}`);
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
  say(problem || task.note(inputs) || "Ready.", problem ? "wrong" : "");
}

/** Set a cell to a token. S and G move, as there is one of each; what was `under` them comes back. */
function put(cell, token, under = OPEN) {
  if (inputs[cell] === token) return;
  inputs = inputs.slice();
  if (task instanceof Maze && [START, GOAL].includes(token) && inputs.includes(token)) {
    inputs[inputs.indexOf(token)] = under;
  }
  inputs[cell] = token;
  changed();
}

let drag = null;  // the token that a dragged pointer leaves behind; S and G are carried along,
let under = OPEN;  // over cells that they do not change
let before_drag = null;  // the puzzle as it was, should the pointer turn out to be one of two fingers

function press(event) {
  const cell = cell_at(event);
  if (cell === null || !event.isPrimary) return;
  event.preventDefault();
  look_at(cell, true);
  if (task instanceof Sudoku) return;
  before_drag = inputs;
  const brush = {S: START, G: GOAL}[document.querySelector("[name=brush]:checked").value];
  const end = [START, GOAL].includes(inputs[cell]);
  drag = brush ?? (end ? inputs[cell] : inputs[cell] === WALL ? OPEN : WALL);
  under = end ? OPEN : inputs[cell];
  if (!end || brush) put(cell, drag);
}

function move(event) {
  const cell = cell_at(event);
  if (cell === null || !event.isPrimary) return;
  if (cell !== looked && (drag !== null || event.pointerType === "mouse")) look_at(cell);
  if (drag === null || [START, GOAL].includes(inputs[cell])) return;
  const next = inputs[cell];
  put(cell, drag, under);
  under = next;
}

function cancel() {
  if (drag !== null && inputs !== before_drag) inputs = before_drag, changed();
  drag = null;
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const n = task.size, row = Math.floor(looked / n), column = looked % n;
  const digit = task.symbols.indexOf(event.key), end = {s: START, g: GOAL}[event.key.toLowerCase()];
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
  else if (task instanceof Maze && end) put(looked, end);
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
  worker.onerror = error => {
    stop();
    say(`The model stopped: ${error.message}. Load the page again.`, "wrong");
  };
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

/** The segment, from 0, whose answer is given: the surest one, or the last if it was to think on. */
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
  const next = stride * (direction > 0 ? Math.floor(shown / stride) + 1 : Math.ceil(shown / stride) - 1);
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

// --------------------------------------------------------------------------------------------- the votes
function vote() {
  if (!ready()) return;
  if (busy) changed();
  else pause();
  const small = () => element("div", {class: "board", role: "img"});
  const asked = range(8).map(() => element("li", {}, small(), element("small")));
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
      const [board, small] = asked[data.k].children;
      const right = task.check(inputs, data.answer);
      draw(board, inputs, data.answer);
      board.setAttribute("aria-label", task.problem(inputs, data.answer) || "right");
      const mark = element("b", {class: right ? "right" : "wrong-text"}, right ? "✓ right" : "✗ wrong");
      small.replaceChildren(mark, `, ${percent(sigmoid(data.q_halt))} sure`, element("br"), data.name);
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
  const alike = same.filter(Boolean).length;
  const right = proposals.filter(proposal => task.check(inputs, proposal.answer)).length;
  same.forEach((it, k) => asked[k].classList.toggle("chosen", it));
  draw($("chosen"), inputs, answer);
  $("chosen").setAttribute("aria-label", wrong || "right");
  const others = right ? `${right} of the others are right` : "no view gives the right one";
  const lost = `✗ Wrong: ${wrong}. ${alike} of 8 views give this answer; ${others}.`;
  const won = `✓ Solved. ${alike} of 8 views give this answer.`;
  say(wrong ? lost : won, wrong ? "wrong" : "right", $("verdict"));
}

// ------------------------------------------------------------------------------------------ starting up
function choose(next) {
  stop();
  model = next, task = make_task(model);
  const maze = task instanceof Maze, {config} = model;
  const large = task.size > 15;
  document.body.className = `${model.task} ${large ? "large" : ""}`;
  $("parameters").textContent = `${(model.parameters / 1e6).toFixed(1)} million`;
  $("timing").textContent = large ? `A segment takes about 2 s; it may want ${config.M_max} of them.` : "";
  $("T").textContent = config.L_cycles === 2 ? "twice" : plural(config.L_cycles, "time");
  $("rule").textContent = config.halting === "bce"
    ? `Above ${model.confidence}, the dashed line, the model stops. The answer is that of the surest segment.`
    : "It stops when stopping is worth more than going on.";
  if (model.confidence === 1) $("rule").textContent = "It thinks to the end, and answers then.";
  $("views").textContent = maze
    ? "To us, a maze that is turned or mirrored is the same maze."
    : "To us, a Sudoku with its digits renamed and its rows and columns shuffled is the same puzzle.";
  $("views").textContent += " To the model, which knows each cell by its place, it is another one: "
    + "it may fail on one view and solve another." + (large ? " This takes a minute or two." : "");
  $("keys").textContent = maze
    ? "Click or drag to build walls and take them away; drag S and G. "
      + "On the keyboard: arrows, space for a wall, S, G. As text: # wall, . open, S, G."
      + (large ? " Two fingers enlarge the page." : "")
    : "Choose a cell, then type or tap a digit. "
      + "On the keyboard: arrows, digits, delete. As text: digits, and . for a blank.";
  $("text").placeholder = `${task.size ** 2} characters`;
  $("pad").replaceChildren(...(maze ? [] : range(task.size + 1).map(d => {
    const button = element("button", {type: "button", "aria-label": d ? d : "erase"}, d ? `${d}` : "⌫");
    button.onclick = () => (put(looked, d + 1), look_at(looked, true));
    return button;
  })));
  $("board").setAttribute("aria-label", `${maze ? "Maze" : "Sudoku"}, ${task.size} by ${task.size}`);
  make_board($("board"), "gridcell");
  new_puzzle(kept[model.name] ?? (maze ? task.generate() : task.generate(Math.random, true)));
}

function start() {
  $("choice").append(...models.map((each, i) => {
    const radio = element("input", {type: "radio", name: "model", value: each.name});
    radio.checked = i === 0;
    radio.onchange = () => choose(each);
    const kind = each.task === "maze" ? "Maze" : "Sudoku";
    return element("label", {}, radio, element("span", {}, `${kind} ${each.size}×${each.size}`));
  }));
  $("board").addEventListener("pointerdown", press);
  $("board").addEventListener("keydown", key);
  $("board").addEventListener("focusin", event => look_at(Number(event.target.dataset.cell)));
  addEventListener("pointermove", move);
  addEventListener("pointerup", () => drag = null);
  addEventListener("pointercancel", cancel);
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
  $("easy").onclick = () => new_puzzle(task.generate(Math.random, true));
  $("hard").onclick = () => new_puzzle(task.generate());
  $("clear").onclick = () => new_puzzle(task.empty());
  $("vote").onclick = vote;
  choose(models[0]);
}

start();
