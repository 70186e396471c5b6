"""A search for hard 9x9 Sudokus, in the format of Sudoku-Extreme.

    python extras/make_sudoku.py data/sudoku-9x9 --seed 0

wrote the 1000 + 1000 hard puzzles we ship: 7 minutes on one busy core (5.3 of CPU time), mean guesses 15.1 in
train.csv and 14.9 in test.csv. Random minimal 9x9 puzzles need 1.5.
"""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder above

from puzzles.sudoku import dig, fingerprint, generate_puzzles, put_back, solve
from training.files import write_text
from training.options import Parser, exit_status, whole


def harden(puzzles, solutions, box, rng, rounds, give=8, progress=False):
    """Harder minimal puzzles with the same solutions (n, C): in each round every puzzle gets 1..give random
    givens back and is dug anew in another order; the result is kept if it needs at least as many guesses."""
    puzzles, guesses = puzzles.copy(), solve(puzzles, box)[2]
    for _ in (bar := tqdm(range(rounds), desc="hardening", disable=not progress)):
        how_many = rng.integers(1, give, len(puzzles), endpoint=True)
        trial = dig(put_back(puzzles, solutions, how_many, rng), box, rng)
        trial_guesses = solve(trial, box)[2]
        better = trial_guesses >= guesses
        puzzles[better], guesses[better] = trial[better], trial_guesses[better]
        bar.set_postfix_str(f"mean guesses {guesses.mean():.1f}")
    return puzzles, solutions


def make(folder, seed, n=1000, rounds=60):
    """Writes folder/train.csv and test.csv, n hard 9x9 puzzles each, all inequivalent. Starts with the
    hardest fifth of many, because picking is cheaper than hardening."""
    box, rng = (3, 3), np.random.default_rng(seed)
    puzzles, solutions = generate_puzzles(11 * n, box, rng, progress=True)
    hardest = solve(puzzles, box)[2].argsort(kind="stable")[-11 * n // 5 :]
    puzzles, solutions = harden(puzzles[hardest], solutions[hardest], box, rng, rounds, progress=True)
    _, distinct = np.unique(fingerprint(puzzles, box), return_index=True)
    chosen = rng.permutation(distinct)[: 2 * n]
    ratings = solve(puzzles, box)[2]
    symbols = np.array(list(".123456789"))
    for name, part in ("train.csv", chosen[:n]), ("test.csv", chosen[n:]):
        rows = ["source,question,answer,rating"]
        for i in part:
            question, answer = "".join(symbols[puzzles[i]]), "".join(symbols[solutions[i]])
            rows.append(f"generated_hard,{question},{answer},{ratings[i]}")
        write_text(folder / name, "\n".join(rows) + "\n")
        print(f"{folder / name}: {len(part)} puzzles, mean guesses {ratings[part].mean():.1f}")


def main():
    parser = Parser("extras/make_sudoku.py", __doc__)
    parser.add_argument("folder", type=Path, help="for train.csv and test.csv")
    parser.add_argument("--seed", type=whole(0), default=0)
    args = parser.parse_args()
    make(args.folder, args.seed)


if __name__ == "__main__":
    sys.exit(exit_status(main))
