"""Command line of the build: `python -m mimaface_cli.builders.face478 FOLDER -o MODEL.npz`."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

# The matrices are small: more threads of the linear algebra library would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from mimaface_cli.builders.face478.model_build import Build, BuildOptions, build_model
from mimaface_cli.errors import InputError, MimafaceError

PROGRESS_INTERVAL = 5.0  # seconds


def parse_arguments(arguments: list[str]) -> BuildOptions:
    """Parse the command line; argparse exits on a wrong option."""
    parser = argparse.ArgumentParser(
        prog="python -m mimaface_cli.builders.face478",
        description="Build the morphable model over MediaPipe's 478 landmarks. Images (one person each) determine "
        "identity and texture, clips of talking people determine expression. A card with measurements on held-out "
        "people (.md) and an overview image (.png) are written beside the model.",
    )
    parser.add_argument("folder", type=Path, help="images and clips in any order, subfolders included")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.npz")
    parser.add_argument(
        "--observations",
        type=Path,
        metavar="FILE",
        help="cache of the landmarks: an interrupted run resumes, a later run reads new files only "
        "(default: beside the output)",
    )
    parser.add_argument(
        "--held-out", type=float, default=0.2, metavar="SHARE", help="share of people to measure on (default 0.2)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of the held-out people (default 0)")
    parser.add_argument(
        "--about", default="The origin of the data is not stated.", help="origin and license of the data, for the card"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model, card and image")
    options = parser.parse_args(arguments)
    if not 0 < options.held_out <= 0.5:
        parser.error("--held-out must be above 0 and at most 0.5")
    if options.output.suffix != ".npz":
        parser.error("-o must end in .npz")
    if options.seed < 0:
        parser.error("--seed must not be negative")
    command = ["python -m mimaface_cli.builders.face478 FOLDER", "-o", shlex.quote(options.output.name)]
    command += ["--held-out", str(options.held_out), "--seed", str(options.seed)]
    return BuildOptions(**vars(options), command=" ".join(command))


def print_summary(build: Build) -> None:
    """Print the size of the model and the main figures."""
    reprojection, explained = build.measurements.reprojection, build.measurements.explained
    print(f"{build.path}: version {build.version}, {build.path.stat().st_size / 1e6:.2f} MB")
    print(
        f"held-out clips: {reprojection.rms:.3f} px RMS in the 256 crop, {reprojection.share:.2%} of the eye distance"
    )
    print(
        f"held-out variance explained: named {explained.named:.1%}, expression {explained.expression:.1%}, "
        f"identity {explained.identity:.1%}, texture {explained.texture:.1%}"
    )


def _make_file_progress() -> Callable[[int, int, str], None]:
    """Return a progress callback that prints a line every PROGRESS_INTERVAL."""
    last_time = time.monotonic()

    def report(done: int, total: int, name: str) -> None:
        nonlocal last_time
        if done == total or time.monotonic() - last_time > PROGRESS_INTERVAL:
            last_time = time.monotonic()
            print(f"{done} of {total} files: {name}", flush=True)

    return report


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        print_summary(build_model(options, _make_file_progress(), print))
    except MimafaceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except np.linalg.LinAlgError as error:
        print(f"error: the observations do not suffice for a model ({error}). Add images and clips.", file=sys.stderr)
        return InputError.exit_code
    except KeyboardInterrupt:
        print("interrupted. Run the same command again to resume.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
