"""`python -m mimaface_cli.builders.speech478 FOLDER`: train the embedded lip network and say what it is worth."""

import argparse
import csv
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from mimaface_cli.builders.speech478.lip_evaluation import close_threshold, judge
from mimaface_cli.builders.speech478.lip_training import align, finish, predict, train
from mimaface_cli.builders.speech478.moonshine import fitted, load_encoder
from mimaface_cli.builders.speech478.speech_card import card
from mimaface_cli.builders.speech478.sphinx import load_phones
from mimaface_cli.builders.speech478.talking_clips import Clip, gather, noises, sounds
from mimaface_cli.errors import InputError, MimafaceError
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.speech.lip_model_file import save_lip_model

UNRELATED = 0.15  # correlation of the gap, in step, below which a clip's sound is not that of its mouth


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options. argparse exits by itself on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="python -m mimaface_cli.builders.speech478",
        description="Train the network that moves lips by sound from a folder of clips in which the person seen is heard. "
        "A card with what was measured on people left out goes beside the model (.md).",
    )
    parser.add_argument("folder", type=Path, help="clips with sound, subfolders included")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.npz")
    parser.add_argument(
        "--tracks",
        type=Path,
        metavar="FOLDER",
        help="where tracks are kept, so that a stopped run goes on (default: beside the output)",
    )
    parser.add_argument(
        "--people",
        type=Path,
        metavar="FILE.csv",
        help="columns file, person: clips of one person are left out together",
    )
    parser.add_argument("--folds", type=int, default=5, help="parts into which people are split, each left out once")
    parser.add_argument("--rounds", type=int, default=2, help="times that clips are left out, put in step and judged")
    parser.add_argument("--nets", type=int, default=3, help="trainings whose mean is the model")
    parser.add_argument("--steps", type=int, default=400, help="of each training")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="trainings side by side (default: one per core)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--about", default="No word was given on where the data come from.", help="for the card")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model and card")
    options = parser.parse_args(arguments)
    if options.output.suffix != ".npz":
        parser.error("-o must end in .npz")
    if min(options.folds - 1, options.rounds, options.nets, options.steps, options.jobs) < 1:
        parser.error("--folds must be at least 2; the other counts at least 1")
    return options


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    began = time.monotonic()
    say = lambda text: print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)  # noqa: E731
    written = options.output, options.output.with_suffix(".md")
    try:
        for path in written:
            check_output(path, options.overwrite)
        if not options.folder.is_dir():
            raise InputError(f"{options.folder}: no such folder")
        hearing = fitted(load_encoder(), load_phones(), sounds(options.folder))
        clips = gather(
            options.folder,
            options.tracks or options.output.with_suffix(".tracks"),
            people(options.people),
            hearing,
            say,
        )
        if len({clip.person for clip in clips}) < 2 * options.folds:
            raise InputError(f"{options.folder}: shows too few people who talk for {options.folds} parts")
        noise = noises(hearing, np.random.default_rng(options.seed))
        used = list(clips)
        for turn in range(options.rounds):
            last = turn == options.rounds - 1
            said = left_out(clips, used, noise, options, options.nets if last else 1, say)
            shifts = {clip.name: align(clip, said[clip.name]) for clip in clips}
            for clip in clips:
                clip.shift = shifts[clip.name] - float(np.median(list(shifts.values())))
            judged = [judge(clip, said[clip.name]) for clip in clips]
            used = [clip for clip, one in zip(clips, judged) if one.gap_in_step >= UNRELATED]
            say(
                f"round {turn + 1}: {len(used)} of {len(clips)} clips belong together with their sound; correlation in "
                f"step, jaw {np.mean([j.jaw_in_step for j in judged]):.3f}, gap {np.mean([j.gap_in_step for j in judged]):.3f}"
            )
        jobs = [(used, noise, options.seed + 1000 + k, options.steps) for k in range(options.nets)]
        nets = list(side_by_side(jobs, options.jobs))
        close_at = close_threshold(used, said)
        version = hashlib.sha256(
            b"".join(a.astype(np.float16).tobytes() for net in nets for a in net.values())
        ).hexdigest()[:12]
        model = finish(used, said, nets, hearing, close_at, version)
        with atomic_path(written[0]) as temporary:
            save_lip_model(temporary, model)
        judged = [judge(clip, said[clip.name]) for clip in clips]
        text = card(options, model, judged, {clip.name for clip in used})
        with atomic_path(written[1]) as temporary:
            temporary.write_text(text, encoding="utf-8")
        say(f"{written[0]}: {written[0].stat().st_size} bytes, version {version}")
    except MimafaceError as error:
        print(f"mimaface_cli.builders.speech478: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def people(path: Path | None) -> dict[str, str]:
    """Who is seen in which file (its name without suffix). Raises InputError."""
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {Path(row["file"]).stem: row["person"] for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table with the columns file and person ({error})") from error


def left_out(
    clips: list[Clip], used: list[Clip], noise, options: argparse.Namespace, nets: int, say
) -> dict[str, np.ndarray]:
    """What the mean of `nets` networks says of clips whose people they have never met: people in --folds parts, each
    left out once.
    """
    names = sorted({clip.person for clip in clips})
    order = np.random.default_rng(options.seed).permutation(len(names))
    part = {name: int(place) % options.folds for name, place in zip(names, order)}
    jobs = [
        (
            [clip for clip in used if part[clip.person] != fold],
            noise,
            options.seed + fold + options.folds * k,
            options.steps,
        )
        for fold in range(options.folds)
        for k in range(nets)
    ]
    trained, said = side_by_side(jobs, options.jobs), {}
    for fold in range(options.folds):
        together = [next(trained) for _ in range(nets)]
        said |= {clip.name: predict(together, clip) for clip in clips if part[clip.person] == fold}
        say(f"part {fold + 1} of {options.folds} left out")
    return said


def side_by_side(jobs: list[tuple], workers: int) -> Iterator[dict[str, np.ndarray]]:
    """Trainings in processes of their own, in order."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(train, *zip(*jobs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
