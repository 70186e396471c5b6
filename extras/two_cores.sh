#!/usr/bin/env bash
# Maze-Hard on two CPU cores. Mazes grow: each stage begins with the weights of the one before, which fit a larger
# board because positions are rotary alone. Given again, the line goes on where it was stopped.
#
#   extras/two_cores.sh FOLDER DATA [STEPS]    # DATA: sapientinc/maze-30x30-hard-1k, or a folder with its files;
#                                              # STEPS of the last stage
out=$(realpath -m "$1")
data=$(realpath -e "$2" 2> /dev/null || echo "$2")
steps=${3:-6000}
cd "$(dirname "$0")/.." || exit

stage() {  # NAME OPTIONS…
  local name=$1
  [ -e "$out/$name/eval.json" ] && return
  words=(--task maze --positions rope2d --M-max 16 --out "$out/$name" "${@:2}")
  [ -e "$out/$name/last.pt" ] && words=(--resume "$out/$name")
  python train.py "${words[@]}" || exit
}

stage 10x10 --size 10 --task-options "kind=random min_path=10" --steps 3000 --lr-end 0.2
stage 16x16 --size 16 --task-options "kind=random min_path=30" --steps 1500 --lr-end 0.2 --grow-M-max 0 \
  --train-size 10000 --init "$out/10x10/best.pt"
stage 30x30 --data "$data" --steps "$steps" --batch-size 8 --grow-M-max 0 --init "$out/16x16/best.pt"
