"""Measure with MediaPipe how well the mesh engine transfers motion.

    python -m tests.benchmarks.quality MEDIA [--portraits N] [--drivers N] [--frames N] [--keep DIR] [--json FILE]

MEDIA contains portraits/ and driving/. Every pair is cross-identity with relative motion and default options. The
program prints, for each pair and as a mean: the share of frames with a detected face; the correlation over time of the
driver's and the result's blendshape scores where the driver moves them, and the gain (the slope of result on driver);
the head rotation error; the sharpness of the face relative to the photo; the jitter relative to the driver.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.cache import Cache
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.errors import MimafaceError
from mimaface_cli.evaluation.functional.motion_distance import correlate_blendshapes
from mimaface_cli.evaluation.functional.temporal import jitter
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.landmarks import Face, detect_faces
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import read_frames
from mimaface_cli.motion.retarget import choose_reference_frame
from tests.benchmarks.quality_measures import rotation_error, sharpness

MAX_SIZE = 1080  # pixels, longest side of the results
SCORES = ("jawOpen", "jawOpen gain", "eyeBlink", "eyeBlink gain", "mouthSmile", "eyeLook", "brow", "all")
COLUMNS = ("detected", *SCORES, "rotation error", "rotation driver", "sharpness", "jitter", "fps")


def detect_in_video(path: Path, frames: int) -> tuple[list[Face | None], np.ndarray]:
    """Return the face of each frame of a video, and the sharpness of each detected face."""
    tracker, faces, sharpness_values = FaceTracker(), [], []
    stream = read_frames(path, max_frames=frames)
    try:
        for frame in stream:
            face = tracker(frame.image, frame.pts)
            faces.append(face)
            if face is not None:
                sharpness_values.append(sharpness(frame.image, face.box))
    finally:
        stream.close()
        tracker.close()
    return faces, np.array(sharpness_values)


def measure_jitter(faces: list[Face]) -> float:
    """Return the mean jitter of a video's landmarks in units of its face size."""
    return float(jitter(np.stack([face.points for face in faces]), np.median([face.size for face in faces])).mean())


def measure_photo_sharpness(path: Path) -> float:
    """Return the sharpness of a photo's largest face at the size of the results."""
    photo = read_image(path).rgb
    face = max(detect_faces(photo), key=lambda face: face.size)
    scale = min(1.0, MAX_SIZE / max(photo.shape[:2]))
    if scale < 1:
        photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return sharpness(photo, Face(face.points * scale, face.scores, face.rotation).box)


def measure_pair(
    portrait: Path, track_path: Path, driver_faces: list[Face | None], reference: int, output: Path
) -> dict[str, float]:
    """Animate one portrait with one prepared driver and measure the result.

    Args:
        portrait: The photo.
        track_path: The driver's track.
        driver_faces: Detected face of each frame of the driver.
        reference: Frame from which relative motion starts.
        output: Video to write.

    Returns:
        Values by COLUMNS; only "detected" where the faces of the result do not suffice.
    """
    start = time.perf_counter()
    result = animate(portrait, track_path, output, AnimateOptions(max_size=MAX_SIZE), overwrite=True)
    seconds = time.perf_counter() - start
    result_faces, result_sharpness = detect_in_video(output, result.frames)
    common = [k for k in range(result.frames) if result_faces[k] is not None and driver_faces[k] is not None]
    detected = sum(face is not None for face in result_faces) / max(1, sum(face is not None for face in driver_faces))
    if reference not in common or len(common) < 5:
        return {"detected": detected}
    sides = [driver_faces[k] for k in common], [result_faces[k] for k in common]
    row: dict[str, float] = {"detected": min(detected, 1.0), "fps": result.frames / seconds}
    scores = (np.stack([face.scores for face in faces]) for faces in sides)
    for group, (correlation, gain) in correlate_blendshapes(*scores).items():
        row[group], row[group + " gain"] = correlation, gain
    rotations = (np.stack([face.rotation for face in faces]) for faces in sides)
    row["rotation error"], row["rotation driver"] = rotation_error(*rotations, common.index(reference))
    row["sharpness"] = float(np.median(result_sharpness)) / measure_photo_sharpness(portrait)
    row["jitter"] = measure_jitter(sides[1]) / measure_jitter(sides[0])
    return row


def measure_driver(driver: Path, portraits: list[Path], frames: int, scratch: Path, folder: Path) -> list[dict]:
    """Measure one driver with all portraits and print a line for each pair."""
    track = load_driver(driver, ExtractOptions(), Cache()).track
    # The part around the frame from which relative motion starts.
    start = max(0, min(choose_reference_frame(track, None) - frames // 2, len(track) - frames))
    track = track.select_frames(slice(start, start + frames))
    track_path = scratch / "driver.npz"
    track.save(track_path, overwrite=True)
    faces = detect_in_video(driver, start + len(track))[0][start:]
    reference = choose_reference_frame(track, None)
    rows = []
    for portrait in portraits:
        label = f"{driver.stem[-24:]:24} {portrait.stem[-24:]:24}"
        output = folder / f"{driver.stem[-20:]}__{portrait.stem[-20:]}.mp4"
        try:
            row = measure_pair(portrait, track_path, faces, reference, output)
        except MimafaceError as error:
            print(f"{label} {error}", flush=True)
            continue
        rows.append({"driver": driver.name, "portrait": portrait.name, **row})
        cells = " ".join(f"{row[column]:9.3f}" if column in row else " " * 8 + "-" for column in COLUMNS)
        print(f"{label} {cells}", flush=True)
    return rows


def print_means(rows: list[dict]) -> None:
    """Print the mean of each column over the pairs that have it."""
    means = []
    for column in COLUMNS:
        values = [row[column] for row in rows if column in row]
        means.append(np.nanmean(values) if values else np.nan)
    print(f"{'mean of ' + str(len(rows)):49} " + " ".join(f"{mean:9.3f}" for mean in means))


def main() -> None:
    """Measure all pairs of a media folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path, help="folder with portraits/ and driving/")
    parser.add_argument("--portraits", type=int, default=0, help="only the first N")
    parser.add_argument("--drivers", type=int, default=0, help="only the first N")
    parser.add_argument("--only", default="", help="only portraits with this text in their name")
    parser.add_argument("--frames", type=int, default=100, help="frames of each driver (default: 100)")
    parser.add_argument("--keep", type=Path, help="folder in which to keep the videos")
    parser.add_argument("--json", type=Path, help="file for the results of all pairs")
    arguments = parser.parse_args()
    portraits = [path for path in sorted((arguments.media / "portraits").iterdir()) if arguments.only in path.name]
    portraits = portraits[: arguments.portraits or None]
    drivers = sorted((arguments.media / "driving").iterdir())[: arguments.drivers or None]
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{'driver':24} {'portrait':24} " + " ".join(f"{column[-9:]:>9}" for column in COLUMNS), flush=True)
        for driver in drivers:
            rows += measure_driver(driver, portraits, arguments.frames, Path(scratch), folder)
    print_means(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
