"""Command line of the training of the network of a face part."""

import argparse
from pathlib import Path

from mimaface_cli.builders.part_build_options import PartBuildOptions


def parse_part_arguments(arguments: list[str], name: str, description: str, steps: int) -> PartBuildOptions:
    """Parse the command line of the training of a network; argparse exits on a wrong option.

    Args:
        arguments: The words of the command line.
        name: Name of the package of the training.
        description: What the command does.
        steps: Steps of the training by default.
    """
    default = PartBuildOptions
    parser = argparse.ArgumentParser(
        prog=f"python -m mimaface_cli.builders.{name}",
        description=f"{description} A card with measurements on held-out people (.md) is written beside the model. "
        "An interrupted run resumes.",
    )
    parser.add_argument("folder", type=Path, help="videos of faces, subfolders included")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.npz")
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", help="tracks, samples and state of the training (default: MODEL.work)"
    )
    parser.add_argument(
        "--people",
        type=Path,
        metavar="FILE.csv",
        help="table with the columns file and person: the clips of a person are held out together",
    )
    parser.add_argument(
        "--held-out-every",
        type=int,
        default=default.held_out_every,
        metavar="N",
        help="hold out every N-th person; 0 for none, such as for a model of one person (default %(default)s)",
    )
    parser.add_argument("--init", metavar="MODEL", help="start from a model: a file, or 'shipped'")
    parser.add_argument("--steps", type=int, default=steps, help="training steps (default %(default)s)")
    parser.add_argument(
        "--jobs", type=int, default=default.jobs, help="processes, and threads of the training (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    parser.add_argument("--about", default=default.about, help="origin and license of the data, for the card")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model and card")
    options = parser.parse_args(arguments)
    if options.output.suffix != ".npz":
        parser.error("-o must end in .npz")
    if min(options.steps, options.jobs) < 1 or min(options.seed, options.held_out_every) < 0:
        parser.error("--steps and --jobs must be at least 1, and --seed and --held-out-every must not be negative")
    return PartBuildOptions(**vars(options))
