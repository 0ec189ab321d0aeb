"""Segment and matte the persons of real photos: time of each stage, and contact sheets to look at.

    python -m tests.benchmarks.matting MEDIA [--only TEXT] [--sheet FOLDER]

MEDIA contains portraits/. Each photo is resized to the pixels of 512×512 and of 1920×1080. The table has medians of the
CPU time on one core in milliseconds, after one warm-up. --sheet writes rows of photo, foreground over magenta and
foreground over green.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.landmarks import select_face
from mimaface_cli.face.matting import PersonMatte, matte_frame, matte_person
from mimaface_cli.face.segmentation import PersonSegmenter, segment_person
from mimaface_cli.media.image import read_image

SIZES = {"512×512": 512 * 512, "1920×1080": 1920 * 1080}  # pixels
ROWS, SIDE = 4, 640  # photos of a sheet, and the longest side of each image on it in pixels
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
Result = TypeVar("Result")


def measure(times: list[float], function: Callable[[], Result]) -> Result:
    """Call a function, and add its CPU time in milliseconds to a list."""
    start = time.process_time()
    result = function()
    times.append(1000 * (time.process_time() - start))
    return result


def make_row(image: np.ndarray, matte: PersonMatte) -> np.ndarray:
    """Return the photo and its foreground over two colors, side by side, (SIDE, 3 SIDE, 3) uint8 RGB."""
    alpha = matte.alpha[..., None]
    images = [
        image,
        *(matte.foreground * alpha + np.array(color) * (1 - alpha) for color in ((255, 0, 255), (0, 255, 0))),
    ]
    row = np.zeros((SIDE, 3 * SIDE, 3), np.uint8)
    scale = SIDE / max(image.shape[:2])
    for index, layer in enumerate(images):
        resized = cv2.resize(layer.astype(np.uint8), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[
            :SIDE, :SIDE
        ]
        row[: resized.shape[0], index * SIDE : index * SIDE + resized.shape[1]] = resized
    return row


def measure_photo(image: np.ndarray, points: np.ndarray, times: dict[str, list[float]]) -> tuple[str, PersonMatte]:
    """Run all stages; add their times and return the method of the mask and the matte."""
    mask = measure(times["segment photo"], lambda: segment_person(image, points))
    matte = measure(times["matte photo"], lambda: matte_person(image, mask.confidence, points))
    segmenter = PersonSegmenter()
    segmenter(image, points)  # the first inference is slow
    frame_mask = measure(times["segment frame"], lambda: segmenter(image, points))
    segmenter.close()
    measure(times["matte frame"], lambda: matte_frame(image, frame_mask.confidence, points))
    return mask.method, matte


def main() -> None:
    """Run the stages on all photos and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path, help="folder that contains portraits/")
    parser.add_argument("--only", default="", help="only photos with this text in their name")
    parser.add_argument("--sheet", type=Path, help="folder for contact sheets")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    stages = ("segment photo", "matte photo", "segment frame", "matte frame")
    times: dict[str, dict[str, list[float]]] = {name: {stage: [] for stage in stages} for name in SIZES}
    methods: Counter[str] = Counter()
    rows = []
    for path in sorted((arguments.media / "portraits").iterdir()):
        if path.suffix.lower() not in SUFFIXES or arguments.only not in path.name:
            continue
        photo = read_image(path).rgb
        face = select_face(detect_faces(photo), "largest")
        if face is None:
            continue
        for name, pixels in SIZES.items():
            scale = (pixels / (photo.shape[0] * photo.shape[1])) ** 0.5
            interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            image = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=interpolation)
            method, matte = measure_photo(image, face.points * scale, times[name])
        methods[method] += 1
        rows.append(make_row(image, matte))
    print("size        " + "  ".join(f"{stage:>13}" for stage in stages))
    for name, of_stages in times.items():
        print(f"{name:10}  " + "  ".join(f"{statistics.median(of_stages[stage][1:]):13.1f}" for stage in stages))
    print(", ".join(f"{count} photos by {method}" for method, count in methods.items()))
    for start in range(0, len(rows) if arguments.sheet else 0, ROWS):
        sheet = np.concatenate(rows[start : start + ROWS])
        cv2.imwrite(str(arguments.sheet / f"matting-{start // ROWS}.png"), sheet[..., ::-1])


if __name__ == "__main__":
    main()
