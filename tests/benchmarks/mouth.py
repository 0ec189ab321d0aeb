"""Measure how real the mouth looks that the mesh engine renders.

    python -m tests.benchmarks.mouth MEDIA [--clips TEXT,...|FILE] [--people FILE] [--portraits TEXT,...]
        [--frames N] [--mouth learned|painted|MODEL.npz] [--parts clips,portraits] [--sheets FOLDER] [--json FILE]

MEDIA contains portraits/, driving/ and perhaps pool/clips/ and pool/clips2/. Clips are the people on whom the mouth was
not trained: texts in their names, or a file with a name in each line. The figures:

1. Same-identity reenactment. Each clip is redrawn from its frame with the most closed mouth ("closed"), and from its
   first one ("first"): PSNR and SSIM of the mouth's box, PSNR inside the true inner lips where the mouth is open,
   gradient energy relative to the truth (of the box, and inside the lips), correlation and gain of the lip gap. "still"
   is the reference frame, left unmoved. Beside a learned mouth the painted one is measured.
2. Jitter inside open mouths. "change" is the difference between consecutive frames in gray levels after compensation of
   the optical flow, "residual" the same relative to the contrast; "wobble" is the change of the flow's median against
   that of the skin above the lips, in thousandths of the distance of the eyes. They are measured in crops fixed to the
   skull: in the results, in the clip itself ("truth"), and in portraits with an open mouth that turn their head.
3. Flicker of a still open mouth, moved by the noise of measured motion: standard deviation over time in gray levels
   inside the lips ("still"), relative to the contrast, and of the skin.
4. Realism: a small classifier learns to tell real mouths from those redrawn from the closed frame, on crops of 96x64
   pixels, and is tested on other people. Area under the ROC curve and accuracy; 0.5 means that they look alike.
5. Contact sheets: portraits in many mouth shapes, clips frame by frame, large faces at full size.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.engines.mesh.part_option import LEARNED, PAINTED
from mimaface_cli.errors import MimafaceError
from tests.benchmarks.mouth_classifier import MouthCrops, classify, crop_mouth
from tests.benchmarks.mouth_measures import OPEN_GAP, lip_gap
from tests.benchmarks.mouth_portraits import measure_portrait
from tests.benchmarks.mouth_reenactment import (
    FIRST_COMPARED,
    STILL,
    TRUTH,
    Redrawing,
    measure_still,
    measure_truth,
    redraw_clip,
)
from tests.benchmarks.mouth_rendering import (
    REFERENCES,
    ClipView,
    list_clips,
    load_clip,
    load_people,
)
from tests.benchmarks.mouth_sheets import save_clip_sheet, save_overview, save_portrait_sheets
from tests.benchmarks.quality import select_by_name

CLIP_COLUMNS = (
    "PSNR",
    "SSIM",
    "inner PSNR",
    "sharpness",
    "inner sharpness",
    "gap",
    "gap gain",
    "residual",
    "change",
    "wobble",
)
PORTRAIT_COLUMNS = ("still", "still relative", "still skin", "residual", "change", "wobble")
FLICKER_PORTRAITS = 8  # whose flicker is measured, spread over all


class Rows:
    """Rows of figures, printed as they are added, with means by group.

    Args:
        columns: Names of the printed figures.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.rows: list[dict] = []
        self._columns = columns

    def add(self, name: str, group: str, figures: dict[str, float]) -> None:
        """Print a row, and store it."""
        if not self.rows:
            self._print("", {column: column for column in self._columns})
        self.rows.append({"name": name, "group": group, **figures})
        self._print(f"{name[-26:]:26} {group}", figures)

    def summarize(self) -> dict[str, dict[str, float]]:
        """Print and return the means over the rows of each group."""
        groups = defaultdict(list)
        for row in self.rows:
            groups[row["group"]].append(row)
        means = {}
        for group, rows in groups.items():
            present = {name: [row[name] for row in rows if name in row] for name in self._columns}
            means[group] = {name: float(np.mean(values)) for name, values in present.items() if values}
            self._print(f"mean of {len(rows)} {group}", means[group])
        print()
        return means

    def _print(self, label: str, figures: dict) -> None:
        cells = []
        for column in self._columns:
            value = figures.get(column, "-")
            cells.append(f"{value:>15}" if isinstance(value, str) else f"{value:15.3f}")
        print(f"{label[:48]:48}" + "".join(cells), flush=True)


class CropCollection:
    """Crops of real and rendered mouths of all clips, by the name of the mouth."""

    def __init__(self) -> None:
        self._crops: dict[str, list[tuple[np.ndarray, bool, str, bool]]] = defaultdict(list)

    def add(self, clip: ClipView, results: dict[str, Redrawing], reference: str) -> None:
        """Add the frames of a clip that show a face in the clip and in all results, except near the reference."""
        for k, truth_points in enumerate(clip.points):
            shown = [(name, result.frames[k], result.points[k]) for name, result in results.items()]
            if truth_points is None or abs(k - clip.references[reference]) < FIRST_COMPARED:
                continue
            crops = {name: crop_mouth(frame, points) for name, frame, points in shown if points is not None}
            if len(crops) < len(results):
                continue
            real, is_open = crop_mouth(clip.frames[k], truth_points), lip_gap(truth_points) >= OPEN_GAP
            for name, rendered in crops.items():
                self._crops[name] += [(real, True, clip.person, is_open), (rendered, False, clip.person, is_open)]

    def classify(self) -> dict[str, dict[str, float]]:
        """Return the figures of the classifier by the name of the mouth, and print them."""
        figures = {}
        for name, rows in self._crops.items():
            images, is_real, people, is_open = (np.array(values) for values in zip(*rows, strict=True))
            figures[name] = classify(MouthCrops(images, is_real, people, is_open))
            values = "  ".join(f"{key} {value:.3f}" for key, value in figures[name].items())
            print(f"classifier, {name}: {values or 'too few people'}", flush=True)
        return figures


def measure_clips(paths: list[Path], people: dict[str, str], arguments: argparse.Namespace) -> dict:
    """Measure all clips; return rows, means and the figures of the classifier."""
    table, collection = Rows(CLIP_COLUMNS), CropCollection()
    mouths = list(dict.fromkeys([PAINTED, arguments.mouth]))
    for path in paths:
        try:
            clip = load_clip(path, people.get(path.stem, path.stem), arguments.frames)
            if clip is None:
                print(f"{path.name}: too few frames with a face", flush=True)
                continue
            for reference in REFERENCES:
                results = {Path(mouth).stem: redraw_clip(clip, reference, mouth) for mouth in mouths}
                figures = {STILL: measure_still(clip, reference), TRUTH: measure_truth(clip, reference)}
                figures |= {name: result.figures for name, result in results.items()}
                for name, values in figures.items():
                    table.add(clip.name, f"{reference} {name}", values)
                if reference == REFERENCES[0]:
                    collection.add(clip, results, reference)
                    if arguments.sheets:
                        save_clip_sheet(clip, results, arguments.sheets)
        except MimafaceError as error:
            print(f"{path.name}: {error}", flush=True)
    return {"rows": table.rows, "means": table.summarize(), "classifier": collection.classify()}


def measure_portraits(paths: list[Path], arguments: argparse.Namespace) -> dict:
    """Measure the flicker of some portraits and write the sheets of all; return rows and means."""
    table, overview = Rows(PORTRAIT_COLUMNS), {}
    chosen = set(np.linspace(0, len(paths) - 1, min(len(paths), FLICKER_PORTRAITS)).astype(int))
    for k, path in enumerate(paths):
        try:
            if k in chosen:
                for mouth in dict.fromkeys([PAINTED, arguments.mouth]):
                    table.add(path.stem, Path(mouth).stem, measure_portrait(path, mouth))
            if arguments.sheets:
                overview[path.stem] = save_portrait_sheets(path, arguments.mouth, arguments.sheets)
        except MimafaceError as error:
            print(f"{path.name}: {error}", flush=True)
    if arguments.sheets:
        save_overview(overview, arguments.sheets)
    return {"rows": table.rows, "means": table.summarize()}


def main() -> None:
    """Measure clips and portraits of a media folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path, help="folder with portraits/, driving/ and pool/")
    parser.add_argument("--clips", default="", help="texts in the names of the clips, or a file of names")
    parser.add_argument("--people", type=Path, help="CSV file with the columns file and person")
    parser.add_argument("--portraits", default="", help="texts in the names of the portraits, separated by commas")
    parser.add_argument("--frames", type=int, default=60, help="frames of each clip (default: 60)")
    parser.add_argument("--mouth", default=LEARNED, help=f"learned, painted or a model (default: {LEARNED})")
    parser.add_argument("--parts", default="clips,portraits", help="clips, portraits or both (default: both)")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    figures: dict[str, dict] = {"settings": {"mouth": arguments.mouth, "frames": arguments.frames}}
    if "clips" in arguments.parts:
        clips = list_clips(arguments.media, arguments.clips)
        figures["clips"] = measure_clips(clips, load_people(arguments.media, arguments.people), arguments)
    if "portraits" in arguments.parts:
        portraits = select_by_name(sorted((arguments.media / "portraits").iterdir()), arguments.portraits)
        figures["portraits"] = measure_portraits(portraits, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
