// The two kinds of puzzle: how they are made, checked, and turned. As in puzzles/maze.py, sudoku.py and
// vote.py, under their names. A puzzle and an answer are arrays of S tokens; token 0, PAD, never occurs.
"use strict";

/** Random numbers in [0, 1) that a seed repeats (mulberry32). */
function random_numbers(seed) {
  return () => {
    seed = seed + 0x6D2B79F5 | 0;
    let x = Math.imul(seed ^ seed >>> 15, seed | 1);
    x ^= x + Math.imul(x ^ x >>> 7, x | 61);
    return ((x ^ x >>> 14) >>> 0) / 2 ** 32;
  };
}

function range(n) {
  return Array.from({length: n}, (_, i) => i);
}

function shuffled(items, random) {
  const order = items.map(item => [random(), item]);
  return order.sort((a, b) => a[0] - b[0]).map(pair => pair[1]);
}

/** Apply a symmetry: cell[i] is where cell i comes from, token[t] what token t becomes. */
function transform(row, {cell, token}) {
  return Uint8Array.from(cell, from => token[row[from]]);
}

/** The inverse of `transform`. */
function undo(row, {cell, token}) {
  const before = new Uint8Array(row.length);
  cell.forEach((from, i) => before[from] = token.indexOf(row[i]));
  return before;
}

// ----------------------------------------------------------------------------------------------------- mazes
const [PAD, WALL, OPEN, START, GOAL, PATH] = range(6);

class Maze {
  symbols = "_# SGo";
  names = ["", "wall", "open", "S", "G", "path"];

  /** `random`: random mazes, with paths as long for their size as Maze-Hard's, over 110 steps at 30x30. */
  constructor({size, random}) {
    this.size = size, this.random = random;
    this.min_path = Math.floor(110 / 900 * size * size);
    this.aliases = {".": " "};
    this.beside = range(size * size).map(cell => {  // the cells beside each cell
      const row = Math.floor(cell / size), column = cell % size;
      return [[row - 1, column], [row + 1, column], [row, column - 1], [row, column + 1]]
        .filter(([r, c]) => Math.min(r, c) >= 0 && Math.max(r, c) < size).map(([r, c]) => r * size + c);
    });
  }

  /** Steps from a cell to each that can be reached through passable ones; -1 to the others. */
  distances(passable, source) {
    const steps = new Int16Array(passable.length).fill(-1), reached = [source];
    steps[source] = 0;
    for (const cell of reached) {  // goes on over what is added meanwhile: breadth first
      for (const next of this.beside[cell]) {
        if (passable[next] && steps[next] < 0) steps[next] = steps[cell] + 1, reached.push(next);
      }
    }
    return steps;
  }

  /** Steps of a shortest way from S to G through cells with tokens from `lowest` on; -1 if there is none. */
  path_length(tokens, lowest) {
    const start = tokens.indexOf(START), goal = tokens.indexOf(GOAL);
    if (start < 0 || goal < 0) return -1;
    return this.distances(tokens.map(token => token >= lowest), start)[goal];
  }

  /** An unchanged maze whose 'o' are one path from S to G, perhaps longer than needed. */
  keeps_rules(inputs, answer) {
    const unchanged = inputs.every((token, i) => (answer[i] === PATH ? OPEN : answer[i]) === token);
    const marked = answer.filter(token => token === PATH).length;
    return unchanged && this.path_length(answer, START) === marked + 1;
  }

  /** The path is a shortest one, too. */
  check(inputs, answer) {
    const shortest = this.path_length(inputs, OPEN);
    return this.keeps_rules(inputs, answer) && answer.filter(token => token === PATH).length + 1 === shortest;
  }

  /** Why this is no puzzle, or why the answer is wrong; "" if nothing is. */
  problem(inputs, answer) {
    const count = wanted => inputs.filter(token => token === wanted).length;
    for (const [name, token] of [["S", START], ["G", GOAL]]) {
      if (count(token) === 0) return `There is no ${name}: choose ${name} above, then a cell.`;
      if (count(token) > 1) return `There is more than one ${name}.`;
    }
    if (count(PATH)) return "There are path cells in the question.";
    if (this.path_length(inputs, OPEN) < 0) return "There is no way from S to G: open a wall.";
    if (!answer || this.check(inputs, answer)) return "";
    if (inputs.some((token, i) => (answer[i] === PATH ? OPEN : answer[i]) !== token)) {
      const through = answer.some((token, i) => token === PATH && inputs[i] === WALL);
      return through ? "the path runs through a wall" : "the answer changes the maze";
    }
    return this.keeps_rules(inputs, answer) ? "there is a shorter path" : "that is not one path from S to G";
  }

  /** What stands in a cell of the board. */
  written(token) {
    return token === START || token === GOAL ? this.symbols[token] : "";
  }

  /** What makes a maze unlike those that the model learned from; "" if nothing does. */
  note(inputs) {
    const n = this.size, passable = inputs.map(token => token !== WALL);
    const open = range(n * n).filter(i => passable[i]), walls = 1 - open.length / (n * n);
    const steps = this.distances(passable, inputs.indexOf(START));
    const learned = "The model learned from mazes";
    if (this.random) {
      const far = steps[inputs.indexOf(GOAL)];
      if (walls < 0.3 || walls > 0.5) return `${learned} with 30 to 50 % walls. Expect mistakes.`;
      if (far <= this.min_path) return `${learned} with paths over ${this.min_path} steps; here it is ${far}.`;
      return "";
    }
    const odd = cell => Math.floor(cell / n) % 2 === 1 || cell % n % 2 === 1;
    const border = cell => this.beside[cell].length < 4;
    const edges = open.flatMap(i => this.beside[i].filter(j => j > i && passable[j])).length;
    const loops = edges - open.length + 1;  // in a maze that hangs together
    if (open.some(i => border(i) || !odd(i))) {
      return `${learned} with an outer wall and pillars at even places. Expect mistakes.`;
    }
    if (open.some(i => steps[i] < 0)) return `${learned} without closed rooms. Expect mistakes.`;
    if (loops > 0) return `${learned} without loops; this one has ${loops}. Expect mistakes, or build walls.`;
    return "";
  }

  /** Path cells on walls, and cells that the answer changes. */
  wrong_cells(inputs, answer) {
    const wrong = (token, i) => token === PATH ? inputs[i] !== OPEN : token !== inputs[i];
    return range(inputs.length).filter(i => wrong(answer[i], i));
  }

  /** The k-th of the 8 rotations and reflections. */
  view(k) {
    const n = this.size, token = range(this.symbols.length);
    const cell = range(n * n).map(i => {
      let row = Math.floor(i / n), column = i % n;
      for (let turn = 0; turn < k % 4; turn++) [row, column] = [column, n - 1 - row];
      if (k % 8 >= 4) [row, column] = [column, row];
      return row * n + column;
    });
    return {cell, token, name: ["as it is", "turned by 90°", "turned by 180°", "turned by 270°", "mirrored",
                                "mirrored, turned by 90°", "mirrored, turned by 180°",
                                "mirrored, turned by 270°"][k % 8]};
  }

  generate(random = Math.random) {
    return this.random ? this.random_maze(random) : this.perfect_maze(random);
  }

  /** Each cell is a wall with a probability that is drawn for the maze. A double sweep looks for a long path:
   * from a random cell to the farthest one, and from there to the farthest again. If it is over min_path, S
   * and G are any two cells that far apart. */
  random_maze(random) {
    const n = this.size, cells = range(n * n);
    for (;;) {
      const walls = 0.3 + 0.2 * random(), passable = cells.map(() => random() >= walls);
      const open = cells.filter(i => passable[i]);
      let cell = open[Math.floor(random() * open.length)], longest = 0;
      for (let sweep = 0; sweep < 2; sweep++) {
        const steps = this.distances(passable, cell);
        longest = Math.max(...steps), cell = steps.indexOf(longest);
      }
      if (longest <= this.min_path) continue;
      let pairs = 0, start, goal;
      for (const from of open) {
        this.distances(passable, from).forEach((steps, to) => {
          if (steps > this.min_path && random() * ++pairs < 1) start = from, goal = to;  // each as probable
        });
      }
      const inputs = Uint8Array.from(passable, open => open ? OPEN : WALL);
      inputs[start] = START, inputs[goal] = GOAL;
      return inputs;
    }
  }

  /** Rooms at odd coordinates, joined by Kruskal's algorithm: one path between any two. */
  perfect_maze(random) {
    const n = this.size, inputs = new Uint8Array(n * n).fill(WALL);
    const rooms = range(n * n).filter(i => Math.floor(i / n) % 2 && i % n % 2), component = new Map();
    for (const room of rooms) inputs[room] = OPEN, component.set(room, room);
    const walls = rooms.flatMap(a => [[a, a + 2], [a, a + 2 * n]]).filter(pair => component.has(pair[1]));
    for (const [a, b] of shuffled(walls, random)) {
      const [keep, drop] = [component.get(a), component.get(b)];
      if (keep === drop) continue;
      inputs[(a + b) / 2] = OPEN;
      for (const room of rooms) if (component.get(room) === drop) component.set(room, keep);
    }
    const [start, goal] = shuffled(rooms, random);
    inputs[start] = START, inputs[goal] = GOAL;
    return inputs;
  }

  /** Nothing but the outer wall and the pillars that all perfect mazes have; S and G in opposite corners. */
  empty() {
    const n = this.size, inputs = Uint8Array.from(range(n * n), i => {
      const row = Math.floor(i / n), column = i % n;
      const edge = Math.min(row, column, n - 1 - row, n - 1 - column) === 0;
      return !this.random && (edge || row % 2 === 0 && column % 2 === 0) ? WALL : OPEN;
    });
    inputs[n + 1] = START, inputs[(n - 1) * n - 2] = GOAL;
    return inputs;
  }
}

// --------------------------------------------------------------------------------------------------- Sudokus
class Sudoku {
  constructor({size, box}) {
    this.size = size, this.box = box;
    this.symbols = "_.123456789".slice(0, size + 2);
    this.names = [...this.symbols].map((symbol, token) => token === 1 ? "blank" : symbol);
    this.aliases = {"0": ".", "_": "."};
    const [box_rows, box_columns] = box, unit = [[], [], []];
    for (const cell of range(size * size)) {
      const row = Math.floor(cell / size), column = cell % size;
      const in_box = row - row % box_rows + Math.floor(column / box_columns);
      [row, column, in_box].forEach((number, kind) => (unit[kind][number] ??= []).push(cell));
    }
    this.units = unit.flat();  // the rows, then the columns, then the boxes
    this.units_of = range(size * size).map(cell => range(3 * size).filter(u => this.units[u].includes(cell)));
    const others = (units, cell) => units.flatMap(u => this.units[u]).filter(other => other !== cell);
    this.peers = this.units_of.map(others);
  }

  /** The cells whose digit occurs twice in a row, column or box. */
  violations(tokens) {
    const twice = i => tokens[i] > 1 && this.peers[i].some(j => tokens[j] === tokens[i]);
    return range(tokens.length).filter(twice);
  }

  /** Every cell filled, no rule broken, givens kept. */
  check(inputs, answer) {
    const kept = inputs.every((token, i) => token <= 1 || token === answer[i]);
    return kept && answer.every(token => token > 1) && !this.violations(answer).length;
  }

  keeps_rules(inputs, answer) {
    return this.check(inputs, answer);
  }

  problem(inputs, answer) {
    const twice = tokens => {
      const cell = this.violations(tokens)[0];
      const unit = cell === undefined ? -1
        : this.units.findIndex(u => u.includes(cell) && u.filter(i => tokens[i] === tokens[cell]).length > 1);
      const kind = ["row", "column", "box"][Math.floor(unit / this.size)], number = unit % this.size + 1;
      return unit < 0 ? "" : `${this.symbols[tokens[cell]]} stands twice in ${kind} ${number}`;
    };
    if (twice(inputs)) return `The digit ${twice(inputs)}.`;
    if (!answer) return this.solutions(inputs, 1)?.length === 0 ? "This Sudoku has no solution." : "";
    if (inputs.some((token, i) => token > 1 && token !== answer[i])) return "a given is changed";
    if (answer.some(token => token <= 1)) return "the answer has blanks";
    return twice(answer);
  }

  written(token) {
    return token > 1 ? this.symbols[token] ?? "" : "";
  }

  note(inputs) {
    return this.uniqueness(inputs).trim();
  }

  /** A Sudoku should have one solution; this says so if it has more. */
  uniqueness(inputs) {
    return this.solutions(inputs, 2)?.length === 2 ? " This Sudoku has more than one solution." : "";
  }

  wrong_cells(inputs, answer) {
    const changed = range(inputs.length).filter(i => inputs[i] > 1 && inputs[i] !== answer[i]);
    return [...new Set([...this.violations(answer), ...changed])];
  }

  /** At most `limit` solutions, by depth-first search on the blank with the fewest digits left; null if that
   * takes more than `patience` guesses. */
  solutions(inputs, limit, random = null, patience = 50000) {
    const board = Uint8Array.from(inputs), found = [];
    const all = (1 << this.size + 2) - 4;  // a bit for each token but PAD and blank
    const taken = new Uint16Array(this.units.length);  // by the digits in each row, column and box
    const flip = (cell, token) => this.units_of[cell].forEach(unit => taken[unit] ^= 1 << token);
    board.forEach((token, cell) => token > 1 && flip(cell, token));
    const search = () => {
      let cell = -1, options = 0, fewest = this.size + 1;
      for (let i = 0; i < board.length && fewest > 1; i++) {
        if (board[i] > 1) continue;
        const [row, column, box] = this.units_of[i];
        const free = all & ~(taken[row] | taken[column] | taken[box]);
        let count = 0;
        for (let bits = free; bits; bits &= bits - 1) count++;
        if (count < fewest) cell = i, options = free, fewest = count;
      }
      if (cell < 0) return found.push(Uint8Array.from(board));
      const tokens = range(this.size).map(d => d + 2).filter(token => options >> token & 1);
      for (const token of random ? shuffled(tokens, random) : tokens) {
        if (found.length >= limit || patience-- <= 0) break;
        board[cell] = token, flip(cell, token);
        search();
        board[cell] = 1, flip(cell, token);
      }
    };
    search();
    return patience < 0 ? null : found;
  }

  /** Digits, bands, stacks and the lines in them are shuffled, and the board is perhaps transposed. */
  view(k) {
    const random = random_numbers(k), [box_rows, box_columns] = this.box, n = this.size;
    if (k === 0) return {cell: range(n * n), token: range(n + 2), name: "as it is"};
    const lines = per_band => shuffled(range(n / per_band), random)
      .flatMap(band => shuffled(range(per_band), random).map(line => band * per_band + line));
    const rows = lines(box_rows), columns = lines(box_columns);
    const transposed = box_rows === box_columns && random() < 0.5;
    const cell = rows.flatMap(row => columns.map(column => transposed ? column * n + row : row * n + column));
    return {cell, token: [0, 1, ...shuffled(range(n).map(d => d + 2), random)],
            name: `shuffled${transposed ? ", transposed" : ""}`};
  }

  /** A puzzle with one solution: a full board from which givens go in random order, as long as no other
   * solution appears. That is a hard one. An easy one gets half of its blanks back. */
  generate(random = Math.random, easy = false) {
    const [solution] = this.solutions(this.empty(), 1, random), inputs = Uint8Array.from(solution);
    for (const cell of shuffled(range(inputs.length), random)) {
      inputs[cell] = 1;
      if (this.solutions(inputs, 2)?.length !== 1) inputs[cell] = solution[cell];
    }
    const blanks = shuffled(range(inputs.length).filter(i => inputs[i] === 1), random);
    for (const cell of easy ? blanks.slice(blanks.length / 2) : []) inputs[cell] = solution[cell];
    return inputs;
  }

  empty() {
    return new Uint8Array(this.size ** 2).fill(1);
  }
}

function make_task(model) {
  return model.task === "maze" ? new Maze(model) : new Sudoku(model);
}

// ----------------------------------------------------------------------------------------------------- votes
/** Which of the proposals {answer, q_halt, valid} to give: the answer made most often, ties by the mean of
 * σ(q_halt), among those that keep the rules if there are any. */
function best_of(proposals) {
  const score = ({answer, valid}) => {
    const same = proposals.filter(other => other.answer.every((token, i) => token === answer[i]));
    const mean = same.reduce((sum, other) => sum + sigmoid(other.q_halt), 0) / same.length;
    return (valid ? proposals.length + 1 : 0) + same.length + 0.999 * mean;
  };
  const scores = proposals.map(score);
  return scores.indexOf(Math.max(...scores));
}

function sigmoid(x) {
  return 1 / (1 + Math.exp(-x));
}

/** What a person typed or pasted -> tokens (S,). Throws one clear line. */
function encode(task, text) {
  const cells = task.size ** 2;
  let row = text.replace(/[\r\n]/g, "");
  if (task instanceof Sudoku) row = row.replace(/[\s|+-]/g, "");
  if (row.length !== cells) {
    throw new Error(`That has ${row.length} characters; this board has ${cells} cells.`);
  }
  return Uint8Array.from(row, character => {
    const token = task.symbols.indexOf(task.aliases[character] ?? character);
    if (token < 1) throw new Error(`“${character}” is no symbol here; use ${task.symbols.slice(1)} only.`);
    return token;
  });
}
