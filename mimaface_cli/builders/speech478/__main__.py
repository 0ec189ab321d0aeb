"""Command line of the training: `python -m mimaface_cli.builders.speech478 FOLDER -o MODEL.npz`."""

import argparse
import os
import sys
from pathlib import Path

# The layers are small: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from mimaface_cli.builders.build_command import run_build
from mimaface_cli.builders.speech478.lip_build import build_lip_model
from mimaface_cli.builders.speech478.lip_build_options import LipBuildOptions


def parse_arguments(arguments: list[str]) -> LipBuildOptions:
    """Parse the command line; argparse exits on a wrong option."""
    parser = argparse.ArgumentParser(
        prog="python -m mimaface_cli.builders.speech478",
        description="Train the network that moves lips by audio, from clips in which the visible person talks. A card "
        "with measurements on held-out people (.md) is written beside the model.",
    )
    parser.add_argument("folder", type=Path, help="clips with audio, subfolders included")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.npz")
    parser.add_argument(
        "--tracks",
        type=Path,
        metavar="FOLDER",
        help="cache of motion tracks, so that an interrupted run resumes (default: beside the output)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="cache of features and trainings, so that an interrupted run resumes (default: beside the output)",
    )
    parser.add_argument(
        "--people",
        type=Path,
        metavar="FILE.csv",
        help="table with the columns file, person and, optionally, language: a person's clips are held out together",
    )
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation by person (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the alignment of the clips (default 3)")
    parser.add_argument("--nets", type=int, default=3, help="networks that the model averages (default 3)")
    parser.add_argument("--steps", type=int, default=400, help="optimizer steps of each training (default 400)")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="trainings in parallel (default: one per core)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    parser.add_argument(
        "--about", default="The origin of the data is not stated.", help="origin and license of the data, for the card"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model and card")
    options = parser.parse_args(arguments)
    if options.output.suffix != ".npz":
        parser.error("-o must end in .npz")
    if min(options.folds - 1, options.rounds, options.nets, options.steps, options.jobs) < 1:
        parser.error("--folds must be at least 2, and --rounds, --nets, --steps and --jobs at least 1")
    return LipBuildOptions(**vars(options))


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    return run_build(lambda log: build_lip_model(options, log), sys.stderr.write)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
