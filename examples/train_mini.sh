#!/bin/sh
# mimaface-mini from a folder of videos (a subfolder for each person), then both engines measured on people left out.
#   examples/train_mini.sh VIDEOS WORK LIST.csv
# LIST.csv: pairs of the people that WORK's first line names as left out (see `mimaface evaluate --help`). Stopped at any
# moment, the same command goes on.
set -eu
videos=$1 work=$2 list=$3
here=$(dirname "$0")
python -m mimaface_cli.train.mini "$videos" -o "$work" --config "$here/mini.toml"

# The model is used from here, and from nowhere else, until it has been measured.
export MIMAFACE_WEIGHTS_DIR="$work"
mimaface evaluate "$work/by_mesh" --list "$list" --engine mesh --json > "$work/mesh.json"
mimaface evaluate "$work/by_mini" --list "$list" --engine diffusion --json > "$work/mini.json"
python -m mimaface_cli.train.mini -o "$work" --scores "$work/mesh.json" "$work/mini.json"
