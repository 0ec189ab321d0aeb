"""How well the mesh engine carries motion, judged by MediaPipe on the produced videos.

    python -m tests.benchmarks.quality MEDIA [--portraits N] [--drivers N] [--frames N] [--keep DIR] [--json FILE]

MEDIA holds portraits/ and driving/. Every pair is cross-identity, relative motion, all defaults. For each pair and in
the mean: share of frames with a face; correlation over time of the driver's and the result's blendshape scores (and
the gain, the slope of result on driver) where the driver moves them; head rotation error; sharpness of the face
against the photo; jitter against the driver.
"""

import argparse
import json
import os
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


def judge(path: Path, frames: int) -> tuple[list[Face | None], np.ndarray | None]:
    """Faces that MediaPipe finds in a video, and the sharpness of each found face."""
    follower, faces, sharp = FaceTracker(), [], []
    stream = read_frames(path, max_frames=frames)
    try:
        for frame in stream:
            face = follower(frame.image, frame.pts)
            faces.append(face)
            if face is not None:
                sharp.append(sharpness(frame.image, face.box))
    finally:
        stream.close()
        follower.close()
    return faces, np.array(sharp)


def shaking(faces: list[Face]) -> float:
    """Mean jitter of a video's landmarks in units of its face."""
    return float(jitter(np.stack([face.points for face in faces]), np.median([face.size for face in faces])).mean())


def pair(portrait: Path, track_path: Path, faces: list[Face | None], at: int, out: Path) -> dict[str, float]:
    """Animate one portrait with one prepared driver and judge the result."""
    began = time.perf_counter()
    result = animate(portrait, track_path, out, AnimateOptions(max_size=1080), overwrite=True)
    seconds = time.perf_counter() - began
    found, sharp = judge(out, result.frames)
    photo = read_image(portrait).rgb
    original = max(detect_faces(photo), key=lambda face: face.size)
    scale = min(1.0, 1080 / max(photo.shape[:2]))
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else photo
    original = Face(original.points * scale, original.scores, original.rotation)
    both = [k for k in range(result.frames) if found[k] is not None and faces[k] is not None]
    seen = sum(f is not None for f in found) / max(1, sum(f is not None for f in faces))
    if at not in both or len(both) < 5:
        return {"found": seen}
    d, r = [faces[k] for k in both], [found[k] for k in both]
    row: dict[str, float] = {"found": min(seen, 1.0), "fps": result.frames / seconds}
    for group, (correlation, gain) in correlate_blendshapes(
        np.stack([f.scores for f in d]), np.stack([f.scores for f in r])
    ).items():
        row[group], row[group + " gain"] = correlation, gain
    turns = (np.stack([face.rotation for face in faces]) for faces in (d, r))
    row["rotation error"], row["rotation driver"] = rotation_error(*turns, both.index(at))
    row["sharpness"] = float(np.median(sharp)) / sharpness(photo, original.box)
    row["jitter"] = shaking(r) / shaking(d)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path)
    parser.add_argument("--portraits", type=int, default=0, help="only the first N")
    parser.add_argument("--drivers", type=int, default=0, help="only the first N")
    parser.add_argument("--only", default="", help="only portraits whose name holds this")
    parser.add_argument("--frames", type=int, default=100, help="frames of each driver")
    parser.add_argument("--keep", type=Path, help="keep the videos in this folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    portraits = [p for p in sorted((given.media / "portraits").iterdir()) if given.only in p.name]
    portraits = portraits[: given.portraits or None]
    drivers = sorted((given.media / "driving").iterdir())[: given.drivers or None]
    columns = ["found", "jawOpen", "jawOpen gain", "eyeBlink", "eyeBlink gain", "mouthSmile", "eyeLook", "brow", "all"]
    columns += ["rotation error", "rotation driver", "sharpness", "jitter", "fps"]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        os.makedirs(folder, exist_ok=True)
        print(f"{'driver':24} {'portrait':24} " + " ".join(f"{c[-9:]:>9}" for c in columns), flush=True)
        for driver in drivers:
            track = load_driver(driver, ExtractOptions(), Cache()).track
            # The part around the frame that relative motion starts from.
            start = max(0, min(choose_reference_frame(track, None) - given.frames // 2, len(track) - given.frames))
            track = track.select_frames(slice(start, start + given.frames))
            prepared = Path(scratch) / "driver.npz"
            track.save(prepared, overwrite=True)
            faces, _ = judge(driver, start + len(track))
            faces, at = faces[start:], choose_reference_frame(track, None)
            for portrait in portraits:
                out = folder / f"{driver.stem[-20:]}__{portrait.stem[-20:]}.mp4"
                try:
                    row = pair(portrait, prepared, faces, at, out)
                except MimafaceError as error:
                    print(f"{driver.stem[-24:]:24} {portrait.stem[-24:]:24} {error}", flush=True)
                    continue
                rows.append({"driver": driver.name, "portrait": portrait.name, **row})
                cells = " ".join(f"{row[c]:9.3f}" if c in row else " " * 8 + "-" for c in columns)
                print(f"{driver.stem[-24:]:24} {portrait.stem[-24:]:24} {cells}", flush=True)
    means = [
        np.nanmean([row[c] for row in rows if c in row]) if any(c in row for row in rows) else np.nan for c in columns
    ]
    print(f"{'mean of ' + str(len(rows)):49} " + " ".join(f"{m:9.3f}" for m in means))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
