"""Command line of the build: `python -m mimaface_cli.builders.mini CONFIG.toml VIDEOS WORK`."""

import argparse
import sys
from pathlib import Path

from mimaface_cli.builders.build_command import run_build
from mimaface_cli.builders.mini.mini_options import PARTS, MiniOptions

# Options with a number: metavar and help.
_COUNTS = {
    "held_out_every": ("N", "hold out every N-th person"),
    "frames": ("N", "frames of a training clip"),
    "per_video": ("CLIPS", "largest number of clips of a video"),
    "compared_frames": ("N", "frames of each held-out video to compare on"),
    "jobs": ("N", "processes that prepare the data"),
}


def parse_arguments(arguments: list[str]) -> MiniOptions:
    """Parse the command line; argparse exits on a wrong option."""
    parser = argparse.ArgumentParser(
        prog="python -m mimaface_cli.builders.mini",
        description="Build mimaface-mini: prepare videos, train autoencoder and both stages, compare the model with "
        "the mesh engine on held-out people. The same command resumes an interrupted build.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="training configuration: examples/mini.toml")
    parser.add_argument("folder", type=Path, metavar="VIDEOS", help="face videos, subfolders included")
    parser.add_argument("work", type=Path, metavar="WORK", help="folder of data, training and results")
    people = "table with the columns file and person: all videos of a person are held out together"
    parser.add_argument("--people", type=Path, metavar="FILE.csv", help=people)
    minutes = "train for about this many minutes on this device (default: the steps of the configuration)"
    parser.add_argument("--minutes", type=float, default=0.0, help=minutes)
    piece = "stop this call after this many minutes, at a checkpoint"
    parser.add_argument("--piece", type=float, default=0.0, metavar="MINUTES", help=piece)
    parser.add_argument("--part", choices=PARTS, help="run one part of the build (default: all)")
    for name, (metavar, text) in _COUNTS.items():
        default = getattr(MiniOptions, name)
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, default=default, metavar=metavar, help=f"{text} (default %(default)s)")
    values = vars(parser.parse_args(arguments))
    part = values.pop("part")
    if min(values[name] for name in _COUNTS) < 1:
        parser.error("counts must be at least 1")
    if values["held_out_every"] < 2 or min(values["minutes"], values["piece"]) < 0:
        parser.error("--held-out-every must be at least 2, and --minutes and --piece must not be negative")
    return MiniOptions(**values, parts=(part,) if part else PARTS)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    from mimaface_cli.builders.mini.mini_build import build_mini

    return run_build(lambda log: build_mini(options, log), sys.stderr.write)


if __name__ == "__main__":
    sys.exit(main())
