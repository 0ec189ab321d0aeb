#!/bin/sh
# mimaface-mini from a folder of videos (a subfolder for each person), then both engines measured on people left out.
#   examples/train_mini.sh VIDEOS WORK LIST.csv [CONFIG.toml]
# LIST.csv: people who are not in VIDEOS (`mimaface evaluate make-list HELD -o LIST.csv --protocol same`: of another protocol
# there is no PSNR, without which `auto` never takes the model; nor without the identity of `pip install "mimaface[metrics]"`).
# Stopped at any moment, the same command goes on.
set -eu
videos=$1 work=$2 list=$3 config=${4:-$(dirname "$0")/mini.toml}
mkdir -p "$work"
cp "$config" "$work/mini.toml"
size=$(sed -n 's/^size = \([0-9]*\).*/\1/p' "$config" | head -n 1)
mimaface train prepare "$videos" -o "$work/data" --space face478 --size "$size" --jobs "$(nproc)"
mimaface train image "$work/mini.toml"
mimaface train video "$work/mini.toml"

# The model is used from here, and from nowhere else, until it has been measured.
export MIMAFACE_WEIGHTS_DIR="$work/weights"
mkdir -p "$MIMAFACE_WEIGHTS_DIR"
ln -sfn ../run/model "$MIMAFACE_WEIGHTS_DIR/mini"
mimaface evaluate "$work/by_mesh" --list "$list" --engine mesh --json > "$work/mesh.json"
mimaface evaluate "$work/by_mini" --list "$list" --engine diffusion --json > "$work/mini.json"
mimaface train score "$work/run/model" "$work/mesh.json" "$work/mini.json"
