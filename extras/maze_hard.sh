#!/bin/sh
# Maze-Hard on a laptop: a small HRM (0.2M parameters) grows up on small mazes of ours, then learns the paper's.
#
#     sh extras/maze_hard.sh FOLDER             # with train.csv and test.csv of sapientinc/maze-30x30-hard-1k
#     sh extras/maze_hard.sh FOLDER --seed 1    # further options of train.py
#
# Rotary 2-D positions alone do not depend on the board's size, so --init can take weights to a larger one. With
# an M_max of 4 a slot sees four times as many mazes as with 16, so it grows last. Given again, the same line skips
# what has ended and goes on where it was stopped. 940 of the 1000 mazes are trained on, 60 choose best.pt.
set -e
data=${1:?give the folder with train.csv and test.csv of Maze-Hard}
shift
runs=runs/maze-hard
common="--task maze --hidden-size 64 --num-heads 4 --positions rope2d --hints 0 --M-max 4 --lr 3e-3 --compile"

stage() {  # NAME OPTIONS: train, or go on
    out=$runs/$1
    shift
    if [ -e $out/eval.json ]; then return; fi
    if [ -e $out/last.pt ]; then
        python train.py --resume $out
    else
        python train.py $common --out $out "$@"
    fi
}

stage 10x10 --size 10 --task-options "kind=random min_path=10" --grow-M-max 0.5 --lr-end 0.3 --steps 4000 "$@"
stage 16x16 --size 16 --task-options "kind=random min_path=30" --grow-M-max 0 --lr-end 0.3 --steps 2000 \
    --init $runs/10x10/best.pt "$@"
stage 30x30 --data "$data" --train-size 940 --test-size 20 --grow-M-max 0 --batch-size 8 --lr-end 0.5 \
    --steps 2500 --init $runs/16x16/best.pt "$@"
stage 30x30-longer --data "$data" --train-size 940 --grow-M-max 0 --batch-size 8 --M-max 8 --lr 1.5e-3 \
    --lr-end 0.05 --steps 2400 --init $runs/30x30/best.pt "$@"
