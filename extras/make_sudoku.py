"""A search for hard 9x9 Sudokus, in the format of Sudoku-Extreme.

    python extras/make_sudoku.py data/sudoku-9x9 --seed 0

takes 7 minutes on one busy core (5.3 of CPU time) for 1000 + 1000 puzzles. Those that we ship were made so,
but by an earlier generator, which drew others: mean guesses 15.1 in train.csv and 14.9 in test.csv. Random
minimal 9x9 puzzles need 1.5.
"""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder above

from puzzles.errors import exit_status
from puzzles.files import write_text
from puzzles.sudoku import Sudoku, dig, fingerprint, generate_puzzles, put_back, solve
from training.options import Parser

BOX = 3, 3


def harden(puzzles, rng, rounds):
    """Harder minimal 9x9 puzzles (n, 81) with the same solutions: in each round every puzzle gets 1 to 8
    random givens back and is dug anew in another order; the result is kept if it needs at least as many
    guesses."""
    solutions = solve(puzzles)[0]
    for _ in tqdm(range(rounds), "hardening"):
        how_many = rng.integers(1, 9, len(puzzles))
        trial = dig(put_back(puzzles, solutions, how_many, rng), BOX, rng)
        better = solve(trial)[2] >= solve(puzzles)[2]
        puzzles = np.where(better[:, None], trial, puzzles)
    return puzzles


def make(folder, seed, n=1000, rounds=60):
    """Writes folder/train.csv and test.csv, n hard 9x9 puzzles each, all inequivalent. Starts with the
    hardest fifth of many, because picking is cheaper than hardening."""
    rng = np.random.default_rng(seed)
    puzzles, _ = generate_puzzles(11 * n, BOX, rng)
    hardest = solve(puzzles)[2].argsort()[-11 * n // 5 :]
    puzzles = harden(puzzles[hardest], rng, rounds)
    _, distinct = np.unique(fingerprint(puzzles, BOX), return_index=True)
    puzzles = puzzles[rng.permutation(distinct)]
    write_csv(folder / "train.csv", puzzles[:n])
    write_csv(folder / "test.csv", puzzles[n : 2 * n])


def write_csv(path, puzzles):
    solutions, _, guesses = solve(puzzles)
    task = Sudoku(size=9)
    questions = task.decode(puzzles + 1)  # the token of a digit is one more
    answers = task.decode(solutions + 1)
    text = "source,question,answer,rating\n"
    for question, answer, rating in zip(questions, answers, guesses):
        text += f"generated_hard,{question},{answer},{rating}\n"
    write_text(path, text)
    print(f"{path}: {len(puzzles)} puzzles, mean guesses {guesses.mean():.1f}")


def main(argv=None):
    parser = Parser("extras/make_sudoku.py", __doc__)
    parser.add_argument("folder", type=Path, help="for train.csv and test.csv")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    make(args.folder, args.seed)


if __name__ == "__main__":
    sys.exit(exit_status(main))
