"""`python -m mimaface_cli.builders.face478 FOLDER`: build the embedded morphable model and say what it is worth."""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

# Many small matrices: threads of the linear algebra library would only wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from mimaface_cli.builders.face478 import held_out as report
from mimaface_cli.builders.face478.bases import CLIP_STEP, build
from mimaface_cli.builders.face478.column_effects import movements
from mimaface_cli.builders.face478.model_card import Measured, card
from mimaface_cli.builders.face478.observations import ObservationFile, Pool, gather, observe, split
from mimaface_cli.builders.face478.overview_image import contact_sheet
from mimaface_cli.builders.face478.person_fitting import fit_people
from mimaface_cli.errors import InputError, MimafaceError
from mimaface_cli.face import face478
from mimaface_cli.face.face478 import Face478
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.media.image import write_image

SAY_EVERY = 5.0  # seconds


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options. argparse exits by itself on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="python -m mimaface_cli.builders.face478",
        description="Build the morphable model over MediaPipe's 478 landmarks from a folder of face images (they teach "
        "identity and texture, one person each) and clips of talking people (they teach expression). Beside the model "
        "go a card with what was measured on people left out (.md) and a picture (.png).",
    )
    parser.add_argument("folder", type=Path, help="images and clips in any mix, subfolders included")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.npz")
    parser.add_argument(
        "--observations",
        type=Path,
        metavar="FILE",
        help="where landmarks are kept: a run that was stopped goes on from there, a second one looks at new files only "
        "(default: beside the output)",
    )
    parser.add_argument(
        "--held-out",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of people left out to measure on (default 0.2)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice whom to leave out (default 0)")
    parser.add_argument(
        "--about",
        default="No word was given on where the data come from.",
        help="for the card: origin and terms of the data",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model, card and picture")
    options = parser.parse_args(arguments)
    if not 0 < options.held_out <= 0.5:
        parser.error("--held-out must lie above 0 and not above 0.5")
    if options.output.suffix != ".npz":
        parser.error("-o must end in .npz")
    if options.seed < 0:
        parser.error("--seed must not be negative")
    return options


def run(options: argparse.Namespace) -> None:
    """Observe, learn, measure, write. Raises MimafaceError."""
    outputs = [options.output.with_suffix(suffix) for suffix in (".npz", ".md", ".png")]
    for path in outputs:
        check_output(path, options.overwrite)
    with ObservationFile(options.observations or options.output.with_suffix(".observations")) as kept:
        names = observe(options.folder, kept, _progress())
        pool = gather(kept, names)
    for name, fault in pool.skipped.items():
        print(f"skipped {name}: {fault}")
    stills, stills_out = split(pool.stills, options.held_out, options.seed)
    clips, clips_out = split(pool.clips, options.held_out, options.seed)
    print(f"learning from {len(stills.points)} stills and {len(clips.points)} frames of clips")
    photos = [options.folder / pool.photos[subject] for subject in np.unique(stills.subject)]
    arrays = build(stills, clips, photos, options.seed)
    with atomic_path(outputs[0]) as temporary:
        with temporary.open("xb") as file:
            np.savez_compressed(file, **arrays)
        model = face478.load(temporary)
        print(f"measuring on {len(stills_out.points)} stills and {len(clips_out.points)} frames of clips left out")
        measured = measure(model, (stills, clips), (stills_out, clips_out))
        write_image(outputs[2], contact_sheet(model))
        _write_card(outputs[1], model, measured, options, pool)
    reached, explained = measured.reprojection, measured.explained
    print(f"{outputs[0]}: version {model.version}, {outputs[0].stat().st_size / 1e6:.2f} MB")
    print(f"left-out clips: {reached.rms:.3f} px rms in the 256 crop, {reached.share:.2%} of the eyes' distance")
    print(
        f"left-out variance: named {explained.named:.1%}, expression {explained.expression:.1%}, "
        f"identity {explained.identity:.1%}, texture {explained.texture:.1%}"
    )


def measure(model: Face478, learned: tuple, left_out: tuple) -> Measured:
    """All figures of the card. learned, left_out: stills and clips."""
    stills, clips = left_out
    clip_fits = fit_people(model, clips, CLIP_STEP)
    return Measured(
        learned,
        left_out,
        report.reprojection(model, clip_fits),
        report.explained(model, *learned),
        report.explained(model, *left_out),
        report.readout(model, clips),
        report.predicted_scores(model, clips, clip_fits),
        report.predicted_scores(model, stills, fit_people(model, stills)),
        movements(model),
        report.judged(model),
    )


def _write_card(path: Path, model: Face478, measured: Measured, options: argparse.Namespace, pool: Pool) -> None:
    words = ["python -m mimaface_cli.builders.face478 FOLDER", "-o", shlex.quote(options.output.name)]
    words += ["--held-out", str(options.held_out), "--seed", str(options.seed)]
    text = card(model, measured, options.about, " ".join(words), len(pool.skipped), path.with_suffix(".png").name)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _progress():
    said = time.monotonic()

    def show(done: int, total: int, name: str) -> None:
        nonlocal said
        if done == total or time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            print(f"{done} of {total} files: {name}", flush=True)

    return show


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    try:
        run(parse(sys.argv[1:] if arguments is None else arguments))
    except MimafaceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except np.linalg.LinAlgError as error:
        print(f"error: the observations make no face ({error}); add more images and clips", file=sys.stderr)
        return InputError.exit_code
    except KeyboardInterrupt:
        print("stopped; run the same line again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
