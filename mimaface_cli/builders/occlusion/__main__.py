"""Command line of the training: `python -m mimaface_cli.builders.occlusion FOLDER -o MODEL.npz`."""

import argparse
import sys
from pathlib import Path

from mimaface_cli.builders.build_command import describe_error
from mimaface_cli.builders.occlusion.network_build import BuildOptions, build_network
from mimaface_cli.errors import MimafaceError


def parse_arguments(arguments: list[str]) -> BuildOptions:
    """Parse the command line; argparse exits on a wrong option."""
    parser = argparse.ArgumentParser(
        prog="python -m mimaface_cli.builders.occlusion",
        description="Train the network that detects hands, objects and masks in front of a face, on photos with "
        "occluders drawn on them. A card with measurements on held-out photos (.md) is written beside the model.",
    )
    parser.add_argument("folder", type=Path, help="photos, subfolders included")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.npz")
    parser.add_argument("--steps", type=int, default=BuildOptions.steps, help="training steps (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    parser.add_argument("--about", default=BuildOptions.about, help="origin and license of the data, for the card")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model and card")
    options = parser.parse_args(arguments)
    if options.output.suffix != ".npz":
        parser.error("-o must end in .npz")
    if options.steps < 1 or options.seed < 0:
        parser.error("--steps must be at least 1, and --seed must not be negative")
    return BuildOptions(
        options.folder,
        options.output,
        options.steps,
        seed=options.seed,
        about=options.about,
        overwrite=options.overwrite,
    )


def _print_progress(stage: str, done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        print(f"{stage}: {done} of {total}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        measurements = build_network(options, _print_progress)
    except MimafaceError as error:
        print(describe_error(error), file=sys.stderr)
        return error.exit_code
    print(f"{options.output}: false detections on {measurements.alarms:.1%} of the unchanged faces")
    for name, share in measurements.detected.items():
        print(f"{name}: {share:.0%} detected, overlap {measurements.overlap[name]:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
