"""Whether edits do what they say, and whether the estimator reads back what was drawn.

    python -m tests.benchmarks.editing MEDIA [--portraits N] [--only NAME] [--frames N] [--keep DIR] [--json FILE]

MEDIA holds portraits/. The first table: each edit of each portrait, measured on the drawn picture by MediaPipe's
rotation since the photo, by a fresh extraction, and by MediaPipe's scores. The second, the leakage matrix: how much
each edit changed each group of scores, the mean of the absolute changes over the portraits. The third, the round trip:
tracks drawn by the mesh engine and extracted again, once examples/driver.npz, which speaks, once expressions in
turn.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from mimaface_cli.errors import MimafaceError
from mimaface_cli.face import face478
from mimaface_cli.face.extract import ExtractOptions, extract_photo, extract_video
from mimaface_cli.face.landmarks import choose, find_faces
from mimaface_cli.face.portrait import Portrait, portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import Frame
from mimaface_cli.mesh import engine
from mimaface_cli.mesh.plan import edited
from mimaface_cli.motion.channels import find_channel
from mimaface_cli.motion.coefficients import BLENDSHAPES, SILENT
from mimaface_cli.motion.retarget import Coefficients
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.reenact.edit import edit
from mimaface_cli.reenact.edit_options import EditOptions
from mimaface_cli.reenact.seen import own_coefficients

TURNS = {"yaw": (20, -20), "pitch": (12, -12), "roll": (15,)}
SCORES = {"jawOpen": 0.5, "mouthSmile": 0.7, "browInnerUp": 0.8, "browDown": 0.6, "mouthPucker": 0.7, "eyeBlink": 0.8}
LOOKS = {"gazeYaw": (15, -15), "gazePitch": (8,)}
GROUPS = {
    "jaw": ("jaw", "mouthClose"),
    "smile": ("mouthSmile", "mouthDimple"),
    "pucker": ("mouthPucker", "mouthFunnel"),
    "lips": ("mouthLower", "mouthUpper", "mouthRoll", "mouthShrug", "mouthPress"),
    "mouth": ("mouthFrown", "mouthStretch", "mouthLeft", "mouthRight"),
    "brow up": ("browInnerUp", "browOuterUp"),
    "brow down": ("browDown",),
    "blink": ("eyeBlink",),
    "squint": ("eyeSquint", "eyeWide"),
    "look": ("eyeLook",),
}
TRACK = Path(__file__).parents[2] / "examples" / "driver.npz"
MOVES = 0.03
ONE_BY_ONE = ("jawOpen", "mouthSmile", "eyeBlink", "browInnerUp", "browDown", "mouthPucker", "mouthFunnel", "jawLeft")
PULSE = 20  # frames of each


def measured(path: Path, portrait: Portrait) -> dict | None:
    """What is read from a drawn picture: rotation since the photo (yaw, pitch, roll as edits count them, degrees), the
    extracted pose and gaze likewise, and the scores."""
    image = np.ascontiguousarray(read_image(path).rgb)
    face, before = choose(find_faces(image), "largest"), choose(find_faces(portrait.image), "largest")
    if face is None or before is None:
        return None
    own = extract_photo(portrait.image, before, face478.load(), ExtractOptions())
    track = extract_photo(image, face, face478.load(), ExtractOptions())
    sign = np.degrees([1, -1, -1])
    by_matrix = euler_angles(face.rotation @ before.rotation.T)[[1, 0, 2]] * sign
    by_fit = (track.pose[0] - own.pose[0])[[1, 0, 2]] * sign
    return {
        "matrix": dict(zip(("yaw", "pitch", "roll"), by_matrix)),
        "fit": dict(zip(("yaw", "pitch", "roll"), by_fit)),
        "gaze": {
            name: float(find_channel(name, "face478").read(track.gaze).mean()) for name in ("gazeYaw", "gazePitch")
        },
        "scores": face.scores,
        "change": face.scores - before.scores,
    }


def edits_of(photo: Path, portrait: Portrait, folder: Path) -> list[dict]:
    """Every edit of one photo, drawn and measured."""
    rows = []
    for name, how, value in [
        *((name, "add", value) for name, values in TURNS.items() for value in values),
        *((name, "set", value) for name, values in LOOKS.items() for value in values),
        *((name, "set", value) for name, value in SCORES.items()),
    ]:
        out = folder / f"{photo.stem}_{name}_{value:g}.png"
        edit(photo, out, EditOptions(**{how: (f"{name}={value}",)}, output_mode="crop"), overwrite=True)
        found = measured(out, portrait)
        row = {"photo": photo.name, "name": name, "asked": value, "found": found is not None}
        if found is not None:
            channel = find_channel(name, "face478")
            if name in TURNS:
                row |= {"matrix": found["matrix"][name], "fit": found["fit"][name]}
            elif name in LOOKS:
                row["fit"] = found["gaze"][name]
            else:
                row["score"] = float(found["scores"][list(channel.columns)].mean())
                row["before"] = float((found["scores"] - found["change"])[list(channel.columns)].mean())
            edits_columns = set(channel.columns) if channel.array == "expression" else set()
            for group, starts in GROUPS.items():
                columns = [k for k, other in enumerate(BLENDSHAPES) if other.startswith(starts) and other not in SILENT]
                columns = [k for k in columns if k not in edits_columns]
                row["leak " + group] = float(np.abs(found["change"][columns]).max()) if columns else 0.0
        rows.append(row)
    return rows


def one_by_one() -> MotionTrack:
    """A track in which each of ONE_BY_ONE comes and goes, alone."""
    track = MotionTrack.neutral(PULSE * len(ONE_BY_ONE) + 1, "face478")
    expression = track.expression.copy()
    swell = 0.7 * np.sin(np.pi * np.arange(PULSE) / PULSE) ** 2
    for k, name in enumerate(ONE_BY_ONE):
        columns = find_channel(name, "face478").columns
        expression[1 + k * PULSE : 1 + (k + 1) * PULSE, columns] = swell[:, None]
    return replace(track, expression=expression)


def round_trip(portrait: Portrait, track: MotionTrack) -> dict[str, float]:
    """A track's motion since its first frame put on the photo's own coefficients, drawn, extracted and compared."""
    model, own = face478.load(), own_coefficients(portrait)
    turn = rotation_matrix(track.pose[:, :3]) @ rotation_matrix(track.pose[0, :3]).T
    angles = euler_angles(turn @ rotation_matrix(own.pose[0, :3]))
    pose = np.concatenate([angles, own.pose[:, 3:] + track.pose[:, 3:] - track.pose[:1, 3:]], 1)
    expression = own.expression + track.expression - track.expression[:1]
    wanted = Coefficients(expression, pose, own.gaze + track.gaze - track.gaze[:1])
    planned = edited(model, portrait.identity, own, wanted)
    frames = engine.animate(portrait, model, planned)
    shown = (Frame(frame[..., :3], k / 25, k) for k, frame in enumerate(frames))
    read = extract_video(shown, Fraction(25), model, ExtractOptions(smooth=0.0))
    drawn, named = planned.coefficients, slice(1, len(BLENDSHAPES))
    error = rotation_matrix(read.pose[:, :3]) @ np.swapaxes(rotation_matrix(drawn.pose[:, :3]), -1, -2)
    degrees = np.degrees(np.arccos(np.clip((np.trace(error, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    since = np.abs(np.degrees(read.pose[:, :3] - read.pose[:1, :3] - drawn.pose[:, :3] + drawn.pose[:1, :3]))
    asked, got = drawn.expression[:, named], read.expression[:, named]
    moves = asked.std(0) > MOVES
    names = [name for name, moving in zip(BLENDSHAPES[named], moves) if moving]
    pairs = zip(names, asked[:, moves].T, got[:, moves].T)
    correlation = {name: float(np.corrcoef(a, g)[0, 1]) if g.std() > 1e-6 else 0.0 for name, a, g in pairs}
    faces = [value for name, value in correlation.items() if not name.startswith("eyeLook")]  # gaze is compared itself
    # Shut eyes have no gaze to read.
    open_eyes = drawn.expression[:, [BLENDSHAPES.index("eyeBlinkLeft")]].ravel() < 0.3
    gaze = np.degrees(np.abs(read.gaze - drawn.gaze)[open_eyes])
    return {
        "pose": float(degrees.mean()),
        "pose since frame 0": float(since.mean()),
        "gaze": float(gaze.mean()),
        "correlation": float(np.mean(faces)),
        "by name": correlation,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path)
    parser.add_argument("--portraits", type=int, default=0, help="only the first N")
    parser.add_argument("--only", default="", help="only portraits whose name holds one of these, split by commas")
    parser.add_argument("--frames", type=int, default=155, help="frames of the round trip, 0 for none")
    parser.add_argument("--keep", type=Path, help="keep the drawn pictures in this folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    wanted = given.only.split(",")
    photos = [p for p in sorted((given.media / "portraits").iterdir()) if any(part in p.name for part in wanted)]
    photos = [TRACK.with_name("portrait.jpg"), *photos[: given.portraits or None]]
    rows, trips = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for photo in photos:
            try:
                portrait = portrait_from_photo(read_image(photo).rgb, None, face478.load(), name=str(photo)).square()
                rows += edits_of(photo, portrait, folder)
                if given.frames:
                    speech = MotionTrack.load(TRACK).frames(slice(0, given.frames))
                    for title, track in (("speech", speech), ("one by one", one_by_one())):
                        trip = trips.setdefault(title, {})[photo.name] = round_trip(portrait, track)
                        said = "  ".join(f"{name} {value:.2f}" for name, value in trip.items() if name != "by name")
                        print(f"{photo.stem[-28:]:28} {title:10} {said}", flush=True)
            except MimafaceError as error:
                print(f"{photo.name}: {error}", flush=True)
    report(rows, trips)
    if given.json:
        given.json.write_text(json.dumps({"edits": rows, "round trips": trips}, indent=1))


def report(rows: list[dict], trips: dict[str, dict]) -> None:
    """Print the three tables."""
    by_edit: dict[tuple[str, float], list[dict]] = defaultdict(list)
    for row in rows:
        if row["found"]:
            by_edit[row["name"], row["asked"]].append(row)
    print(f"\n{'edit':22} {'asked':>6} {'matrix':>16} {'extraction':>16} {'score':>14} {'before':>7} {'within':>7}")
    for (name, asked), found in by_edit.items():
        cells = []
        for key, width in (("matrix", 16), ("fit", 16), ("score", 14)):
            values = np.array([row[key] for row in found if key in row])
            cells.append(f"{values.mean():.2f} ±{values.std():.2f}".rjust(width) if len(values) else " " * width)
        before = np.mean([row["before"] for row in found]) if "before" in found[0] else np.nan
        keys = [key for key in ("matrix", "fit", "score") if key in found[0]]
        limit = {"gazeYaw": 4.0, "gazePitch": 4.0}.get(name, 3.0) if "score" not in keys else 0.2
        within = np.mean([all(abs(row[key] - asked) <= limit for key in keys) for row in found])
        print(f"{name:22} {asked:6g} {cells[0]} {cells[1]} {cells[2]} {before:7.2f} {within:7.0%}")
    print("\nleakage: largest change of a score in each group that was not edited, mean over the portraits")
    print(f"{'edit':22} {'asked':>6} " + " ".join(f"{group:>9}" for group in GROUPS))
    for (name, asked), found in by_edit.items():
        leaks = [np.mean([row["leak " + group] for row in found]) for group in GROUPS]
        print(f"{name:22} {asked:6g} " + " ".join(f"{leak:9.2f}" for leak in leaks))
    for title, found in trips.items():
        print(f"\nround trip, {title}: mean over the portraits")
        for key in ("pose", "pose since frame 0", "gaze", "correlation"):
            print(f"{key:22} {np.mean([trip[key] for trip in found.values()]):.2f}")
        names = defaultdict(list)
        for trip in found.values():
            for name, value in trip["by name"].items():
                names[name].append(value)
        print("  ".join(f"{name} {np.mean(values):.2f}" for name, values in sorted(names.items())))


if __name__ == "__main__":
    main()
