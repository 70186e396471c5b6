#!/usr/bin/env bash
# The day there is a GPU: all that waits for one, each part with a time limit. What a part says stands in
# FOLDER/PART.txt, how it ended in FOLDER/summary.txt. Given again, the line goes on with what was not finished.
#
#   extras/gpu_day.sh FOLDER DATA [HOURS]     # DATA: sapientinc/sudoku-extreme, or a folder with its files;
#                                             # HOURS of training for each of two recipes [1]
# Tried on a CPU: SUITE=tests/test_act.py SIZES="--hidden-size 16 --num-heads 1 --H-layers 1 --L-layers 1
# --batch-size 4" MAZE="--size 9 --task-options kind=random" ARC="--size 5" extras/gpu_day.sh FOLDER DATA 0.01
out=$(realpath -m "$1")
data=$(realpath -e "$2" 2> /dev/null || echo "$2")
hours=${3:-1}
cd "$(dirname "$0")/.." && mkdir -p "$out" || exit

part() {  # NAME MINUTES COMMAND…
  local name=$1 limit=$2
  grep -q "^$name: done" "$out/summary.txt" 2> /dev/null && return
  start=$SECONDS
  timeout -s INT "${limit}m" "${@:3}" > "$out/$name.txt" 2>&1 && ended="done" || ended="status $?"
  echo "$name: $ended after $((SECONDS - start)) s" | tee -a "$out/summary.txt"
}

training() {  # NAME OPTIONS…: as many steps as fit into the hours, the learning rate brought down to the last
  local name=$1
  set -- "${@:2}" --task sudoku --data "$data" --train-size 1000
  part "bench-$name" 10 python extras/bench.py "$@"
  steps=$(awk -v hours="$hours" '$1 == "step" { print int(hours * 3600e3 / $2) }' "$out/bench-$name.txt")
  words=("$@" --steps "$steps" --lr-end 0.05 --test-size 10000 --out "$out/$name")
  [ -e "$out/$name/last.pt" ] && words=(--resume "$out/$name")
  part "$name" "$(awk "BEGIN { print 30 + 60 * $hours }")" python train.py -q "${words[@]}"
  grep -q "^$name: done" "$out/summary.txt" || return 0
  part "votes-$name" 30 python train.py -q --eval "$out/$name" --votes 8 --out "$out/votes-$name"
}

part suite 10 python -m pytest ${SUITE:-tests}
part bench-maze 10 python extras/bench.py --preset paper --task maze --batch-size 256 ${SIZES-} ${MAZE-}
part bench-arc 10 python extras/bench.py --preset paper --task arc1 --batch-size 256 ${SIZES-} ${ARC-}
training paper --preset paper ${SIZES-}
training quick --preset small --hidden-size 512 --num-heads 8 --H-layers 4 --L-layers 4 --batch-size 768 ${SIZES-}
grep -q "^paper: done" "$out/summary.txt" || exit 1
for figure in participation-ratio convergence; do
  part $figure 30 python analyze.py $figure --checkpoint "$out/paper/last.pt" --out "$out"
done
