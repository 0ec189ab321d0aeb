#!/bin/sh
# Train a small model on a folder of videos, then compare it with the mesh engine on held-out people.
#
#   examples/train_mini.sh VIDEOS WORK LIST.csv [CONFIG.toml]
#
# VIDEOS    Face videos, a subfolder for each person.
# WORK      Folder of the results. An interrupted run resumes with the same command.
# LIST.csv  Pairs of people who are not in VIDEOS. Make it with
#           `mimaface evaluate make-list FOLDER -o LIST.csv --protocol same`. `--engine auto` selects the model only if
#           its scores include PSNR (only the protocol `same` has it) and identity similarity (install the extra
#           `metrics`: `pip install "mimaface[metrics]"`).
set -eu
videos=$1 work=$2 list=$3 config=${4:-$(dirname "$0")/mini.toml}
mkdir -p "$work"
cp "$config" "$work/mini.toml"
size=$(sed -n 's/^size = \([0-9]*\).*/\1/p' "$config" | head -n 1)
mimaface train prepare "$videos" -o "$work/data" --space face478 --size "$size" --jobs "$(nproc)"
mimaface train image "$work/mini.toml"
mimaface train video "$work/mini.toml"

# Use the model from this folder of weights only, until it has been measured.
export MIMAFACE_WEIGHTS_DIR="$work/weights"
mkdir -p "$MIMAFACE_WEIGHTS_DIR"
ln -sfn ../run/model "$MIMAFACE_WEIGHTS_DIR/mini"
mimaface evaluate "$work/by_mesh" --list "$list" --engine mesh --json > "$work/mesh.json"
mimaface evaluate "$work/by_mini" --list "$list" --engine diffusion --json > "$work/mini.json"
mimaface train score "$work/run/model" "$work/mesh.json" "$work/mini.json"
