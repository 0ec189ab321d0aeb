"""Cut head-shaped holes into the visible background of real photos and fill them: closeness to the truth and time.

    python -m tests.benchmarks.plates MEDIA [--only TEXT] [--sheet FOLDER]

MEDIA contains portraits/ and driving/, of which the first frames serve. The figures are means over the outer band of
the holes, 0.3 hole widths deep. The time is CPU time. --sheet writes rows of photo, Telea, membrane and exemplars.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from mimaface_cli.engines.mesh.inpainting import fill_hole
from mimaface_cli.engines.mesh.smooth_fill import fill_smoothly
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.landmarks import select_face
from mimaface_cli.face.segmentation import segment_person
from mimaface_cli.media.reader import read_frames

SIDE = 768  # longest side of the images in pixels
WIDTHS = (220, 180, 150, 120, 95)  # widths of the holes in pixels; the largest that fits is used
LEAST_CONTRAST = 3.0  # standard deviation in gray levels of the background that is hidden
ROWS = 6  # images of a sheet


def fill_by_telea(image: np.ndarray, hole: np.ndarray, band: np.ndarray) -> np.ndarray:
    return cv2.inpaint(image, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA)


def fill_by_membrane(image: np.ndarray, hole: np.ndarray, band: np.ndarray) -> np.ndarray:
    filled = np.clip(np.rint(fill_smoothly(image.astype(np.float32), hole)), 0, 255).astype(np.uint8)
    return np.where(hole[..., None], filled, image)


METHODS = {"Telea": fill_by_telea, "membrane": fill_by_membrane, "exemplars": fill_hole}


def place_hole(image: np.ndarray, person: np.ndarray) -> np.ndarray | None:
    """Return the ellipse (H, W) bool that hides the most structure and no person; None if there is none."""
    height, width = person.shape
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    for size in (size for size in WIDTHS if size <= width / 2):
        tall = round(1.3 * size)
        ellipse = np.zeros((tall, size), np.uint8)
        cv2.ellipse(ellipse, (size // 2, tall // 2), (size // 2 - 1, tall // 2 - 1), 0, 0, 360, 1, -1)
        best, place = 0.0, None
        for y, x in itertools.product(np.linspace(0.15, 0.75, 9), np.linspace(0.1, 0.9, 17)):
            top, left = int(y * height - tall / 2), int(x * width - size / 2)
            if min(top, left) < 8 or top + tall > height - 8 or left + size > width - 8:
                continue
            part = slice(top, top + tall), slice(left, left + size)
            contrast = float(gray[part][ellipse > 0].std())
            if contrast > best and not (person[part] & (ellipse > 0)).any():
                best, place = contrast, part
        if place is not None:
            hole = np.zeros(person.shape, bool)
            hole[place] = ellipse > 0
            return hole if best >= LEAST_CONTRAST else None
    return None


def find_cases(media: Path, only: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield images, holes (with the person, who is unknown too) and the bands in which the truth is known."""
    for path in sorted((media / "portraits").iterdir()) + sorted((media / "driving").iterdir()):
        if only not in path.name:
            continue
        image = next(iter(read_frames(path))).image
        scale = min(1.0, SIDE / max(image.shape[:2]))
        image = np.ascontiguousarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        face = select_face(detect_faces(image), "largest")
        if face is None or max(image.shape[:2]) < 400:
            continue
        confidence = segment_person(image, face.points).confidence
        person = cv2.dilate((confidence > 0.1).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
        hole = place_hole(image, person)
        if hole is not None:
            depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
            yield image, hole | person, hole & (depth <= 0.3 * np.ptp(np.flatnonzero(hole.any(0))))


def score(truth: np.ndarray, filled: np.ndarray, band: np.ndarray) -> tuple[float, float, float, float]:
    """Return PSNR, SSIM, mean error of the gradient in gray levels per pixel, and relative sharpness, in the band."""
    error = float(((truth.astype(float) - filled) ** 2)[band].mean())
    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (truth, filled)]
    similarity = structural_similarity(*grays, full=True)[1][band].mean()
    slopes = [
        np.stack([cv2.Sobel(gray.astype(np.float32), -1, 1 - axis, axis) / 8 for axis in (0, 1)], -1) for gray in grays
    ]
    sharpness = np.linalg.norm(slopes[1], axis=-1)[band].mean() / np.linalg.norm(slopes[0], axis=-1)[band].mean()
    gradient_error = np.linalg.norm(slopes[0] - slopes[1], axis=-1)[band].mean()
    return 10 * np.log10(255**2 / max(error, 1e-3)), float(similarity), float(gradient_error), float(sharpness)


def main() -> None:
    """Fill all holes by all methods and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path, help="folder that contains portraits/ and driving/")
    parser.add_argument("--only", default="", help="only files with this text in their name")
    parser.add_argument("--sheet", type=Path, help="folder for contact sheets")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    figures: dict[str, list[tuple[float, ...]]] = {name: [] for name in METHODS}
    rows = []
    for image, hole, band in find_cases(arguments.media, arguments.only):
        fill_hole(image[::4, ::4], hole[::4, ::4])  # the first call compiles
        images = [image]
        for name, method in METHODS.items():
            start = time.process_time()
            images.append(method(image, hole, band))
            figures[name].append((*score(image, images[-1], band), time.process_time() - start))
        rows.append(np.hstack([cv2.resize(panel, (400, 400)) for panel in images]))
    print(f"{len(rows)} holes")
    for name, values in figures.items():
        print(
            "{:10} {:.1f} dB  SSIM {:.3f}  gradient {:.1f}  sharpness {:.2f}  {:.2f} s".format(
                name, *np.mean(values, 0)
            )
        )
    for start in range(0, len(rows) if arguments.sheet else 0, ROWS):
        sheet = np.concatenate(rows[start : start + ROWS])
        cv2.imwrite(str(arguments.sheet / f"plates-{start // ROWS}.png"), sheet[..., ::-1])


if __name__ == "__main__":
    main()
