"""Command line of the training: `python -m mimaface_cli.builders.eyelid478 FOLDER -o MODEL.npz`."""

import sys

from mimaface_cli.builders.build_command import run_build
from mimaface_cli.builders.eyelid478.eyelid_build import EYELID_BUILD
from mimaface_cli.builders.part_build import build_part_model
from mimaface_cli.builders.part_command import parse_part_arguments

_DESCRIPTION = "Train the network that refines closing eyelids of the mesh engine, from videos of faces."
_STEPS = 4000


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = parse_part_arguments(words, "eyelid478", _DESCRIPTION, _STEPS)
    return run_build(lambda log: build_part_model(EYELID_BUILD, options, log), sys.stderr.write)


if __name__ == "__main__":
    sys.exit(main())
