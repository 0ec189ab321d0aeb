"""Check that edits have the requested effect and that extraction recovers rendered motion.

    python -m tests.benchmarks.editing MEDIA [--portraits N] [--only NAME] [--frames N] [--no-edits] [--every-name]
        [--no-follow-skin] [--keep DIR] [--json FILE]

MEDIA contains portraits/. The program prints three tables:

1. Edits: each edit of each portrait, measured on the rendered image by MediaPipe's rotation since the photo, by a fresh
   extraction, and by MediaPipe's scores.
2. Leakage matrix: the change that each edit causes in each group of scores, as the mean of the absolute changes over
   the portraits.
3. Round trip: tracks rendered by the mesh engine and extracted again. One is examples/driver.npz, which speaks; the
   other moves expressions in turn (with --every-name: all that the landmark model scores).

In the round trip, each name that moves counts once, over the whole track, so that a name that rises under another one
lowers the result. A name moves if its standard deviation is 0.03 or more; unscored names and gaze directions are
excluded, and gaze is compared itself. "far" is the mean over names with a deviation of 0.05 or more. "together" is the
correlation of all names at once, each minus its mean, so that a name's weight is its movement. For comparison, the
table has the landmark model's own scores. For names in turn it also has the share of a rendered movement that the
frames show (by optical flow) and that the detected landmarks show: what is lost between these two is lost before
extraction.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mimaface_cli.apps.edit import edit
from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.errors import MimafaceError
from mimaface_cli.face import face478
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.extract_face478 import extract_photo
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import select_face
from mimaface_cli.face.portrait import Portrait, portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.channels import find_channel
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES
from mimaface_cli.motion.rotation import euler_angles
from mimaface_cli.motion.track import MotionTrack
from tests.benchmarks.editing_report import GROUPS, print_edits, print_leakage, print_round_trip
from tests.benchmarks.round_trip import IN_TURN_NAMES, list_scored_names, make_in_turn_track, measure_round_trip

TURNS = {"yaw": (20, -20), "pitch": (12, -12), "roll": (15,)}  # degrees
SCORES = {"jawOpen": 0.5, "mouthSmile": 0.7, "browInnerUp": 0.8, "browDown": 0.6, "mouthPucker": 0.7, "eyeBlink": 0.8}
GAZES = {"gazeYaw": (15, -15), "gazePitch": (8,)}  # degrees
TRACK = Path(__file__).parents[2] / "examples" / "driver.npz"


def measure_edited_image(path: Path, portrait: Portrait) -> dict[str, Any] | None:
    """Measure a rendered image against the photo.

    Returns:
        "matrix" and "fit": rotation since the photo by name (yaw, pitch, roll with the signs of edits, degrees), by
        MediaPipe and by extraction; "gaze": extracted gaze by name, degrees; "scores": MediaPipe's scores; "change":
        their change since the photo. None if no face is detected.
    """
    image = np.ascontiguousarray(read_image(path).rgb)
    face = select_face(detect_faces(image), "largest")
    photo_face = select_face(detect_faces(portrait.image), "largest")
    if face is None or photo_face is None:
        return None
    photo_track = extract_photo(portrait.image, photo_face, face478.load(), ExtractOptions())
    track = extract_photo(image, face, face478.load(), ExtractOptions())
    names, order, sign = ("yaw", "pitch", "roll"), [1, 0, 2], np.degrees([1, -1, -1])
    matrix_angles = euler_angles(face.rotation @ photo_face.rotation.T)[order] * sign
    fit_angles = (track.pose[0] - photo_track.pose[0])[order] * sign
    gaze = {name: float(find_channel(name, "face478").read(track.gaze).mean()) for name in GAZES}
    return {
        "matrix": dict(zip(names, matrix_angles, strict=True)),
        "fit": dict(zip(names, fit_angles, strict=True)),
        "gaze": gaze,
        "scores": face.scores,
        "change": face.scores - photo_face.scores,
    }


def list_edits() -> Iterator[tuple[str, str, float]]:
    """Yield name, kind ("add" or "set") and value of each edit."""
    for kind, edits in (("add", TURNS), ("set", GAZES)):
        for name, values in edits.items():
            for value in values:
                yield name, kind, value
    for name, value in SCORES.items():
        yield name, "set", value


def measure_edits(photo: Path, portrait: Portrait, folder: Path) -> list[dict[str, Any]]:
    """Render and measure every edit of one photo; return a row for each."""
    rows = []
    for name, kind, value in list_edits():
        output = folder / f"{photo.stem}_{name}_{value:g}.png"
        edit(photo, output, EditOptions(**{kind: (f"{name}={value}",)}, output_mode="crop"), overwrite=True)
        measured = measure_edited_image(output, portrait)
        row = {"photo": photo.name, "name": name, "requested": value, "detected": measured is not None}
        rows.append(row if measured is None else row | summarize_edit(name, measured))
    return rows


def summarize_edit(name: str, measured: dict[str, Any]) -> dict[str, float]:
    """Return the measured values of the edited name, and the largest change in each group of other scores."""
    channel = find_channel(name, "face478")
    edited_columns = list(channel.columns) if channel.array == "expression" else []
    row: dict[str, float] = {}
    if name in TURNS:
        row |= {"matrix": measured["matrix"][name], "fit": measured["fit"][name]}
    elif name in GAZES:
        row["fit"] = measured["gaze"][name]
    else:
        row["score"] = float(measured["scores"][list(channel.columns)].mean())
        row["before"] = float((measured["scores"] - measured["change"])[list(channel.columns)].mean())
    for group, prefixes in GROUPS.items():
        columns = [
            k
            for k, blendshape in enumerate(BLENDSHAPES)
            if blendshape.startswith(prefixes) and blendshape not in UNSCORED_BLENDSHAPES and k not in edited_columns
        ]
        row["leak " + group] = float(np.abs(measured["change"][columns]).max()) if columns else 0.0
    return row


def measure_round_trips(
    photo: Path, portrait: Portrait, frames: int, names: tuple[str, ...], skin: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield title and result of both round trips of a photo, and print a line for each."""
    speech = MotionTrack.load(TRACK).select_frames(slice(0, frames))
    for title, track, track_names in (("speech", speech, ()), ("in turn", make_in_turn_track(names), names)):
        trip = measure_round_trip(portrait, track, track_names, skin)
        values = "  ".join(f"{name} {value:.2f}" for name, value in trip.items() if name != "by name")
        print(f"{photo.stem[-28:]:28} {title:10} {values}", flush=True)
        yield title, trip


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path, help="folder with portraits/")
    parser.add_argument("--portraits", type=int, default=0, help="only the first N")
    parser.add_argument("--only", default="", help="only portraits with one of these texts in their name (A,B)")
    parser.add_argument("--frames", type=int, default=155, help="frames of the round trip; 0 to skip it (default: 155)")
    parser.add_argument("--no-edits", action="store_true", help="only the round trip")
    parser.add_argument("--every-name", action="store_true", help="move every scored name in turn in the round trip")
    parser.add_argument("--no-follow-skin", action="store_true", help="extract from landmarks, without skin tracking")
    parser.add_argument("--keep", type=Path, help="folder in which to keep the rendered images")
    parser.add_argument("--json", type=Path, help="file for all results")
    return parser.parse_args()


def main() -> None:
    """Measure all portraits and print the tables."""
    arguments = parse_arguments()
    parts = arguments.only.split(",")
    photos = [
        path for path in sorted((arguments.media / "portraits").iterdir()) if any(part in path.name for part in parts)
    ]
    photos = [TRACK.with_name("portrait.jpg"), *photos[: arguments.portraits or None]]
    names = list_scored_names() if arguments.every_name else IN_TURN_NAMES
    rows: list[dict[str, Any]] = []
    trips: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for photo in photos:
            try:
                portrait = portrait_from_photo(read_image(photo).rgb, None, face478.load(), name=str(photo)).square()
                if not arguments.no_edits:
                    rows += measure_edits(photo, portrait, folder)
                if arguments.frames:
                    skin = not arguments.no_follow_skin
                    for title, trip in measure_round_trips(photo, portrait, arguments.frames, names, skin):
                        trips[title][photo.name] = trip
            except MimafaceError as error:
                print(f"{photo.name}: {error}", flush=True)
    print_edits(rows)
    print_leakage(rows)
    for title, by_photo in trips.items():
        print_round_trip(title, list(by_photo.values()))
    if arguments.json:
        arguments.json.write_text(json.dumps({"edits": rows, "round trips": trips}, indent=1))


if __name__ == "__main__":
    main()
