"""Whether edits do what they say, and whether the estimator reads back what was drawn.

    python -m tests.benchmarks.editing MEDIA [--portraits N] [--only NAME] [--frames N] [--no-edits] [--every-name]
        [--no-follow-skin] [--keep DIR] [--json FILE]

MEDIA holds portraits/. The first table: each edit of each portrait, measured on the drawn picture by MediaPipe's
rotation since the photo, by a fresh extraction, and by MediaPipe's scores. The second, the leakage matrix: how much
each edit changed each group of scores, the mean of the absolute changes over the portraits. The third, the round trip:
tracks drawn by the mesh engine and extracted again, once examples/driver.npz, which speaks, once expressions in
turn (--every-name: all that the landmark model scores). Each name that moves counts once (its standard deviation is
0.03 or more; silent names and looks do not, gaze is compared itself), over the whole track, so that a name which rises
under another loses. "far" is the mean over names that move by 0.05 or more, "together" the correlation of all names at
once, each less its mean, so that a name counts by how far it moves. Beside the extraction stands what the landmark
model's own scores say, and, in turn, how much of a drawn movement is in the picture (by optical flow) and in the
landmarks read from it: what is lost between these two is lost before the extraction.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.apps.edit import edit
from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.edit_gain import get_portrait_coefficients
from mimaface_cli.engines.mesh.motion_plan import plan_edited_motion
from mimaface_cli.errors import MimafaceError
from mimaface_cli.face import camera, face478
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.extract_face478 import extract_photo, extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import Face, detect_faces, select_face
from mimaface_cli.face.portrait import Portrait, portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import Frame
from mimaface_cli.motion.channels import NAMED_EXPRESSIONS, find_channel, split_sides
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES, Coefficients
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack

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
MOVES, FAR = 0.03, 0.05
AIM = 0.85
ONE_BY_ONE = ("jawOpen", "mouthSmile", "eyeBlink", "browInnerUp", "browDown", "mouthPucker", "mouthFunnel", "jawLeft")
PULSE = 20  # frames of each


def measured(path: Path, portrait: Portrait) -> dict | None:
    """What is read from a drawn picture: rotation since the photo (yaw, pitch, roll as edits count them, degrees), the
    extracted pose and gaze likewise, and the scores.
    """
    image = np.ascontiguousarray(read_image(path).rgb)
    face, before = select_face(detect_faces(image), "largest"), select_face(detect_faces(portrait.image), "largest")
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
                columns = [
                    k
                    for k, other in enumerate(BLENDSHAPES)
                    if other.startswith(starts) and other not in UNSCORED_BLENDSHAPES
                ]
                columns = [k for k in columns if k not in edits_columns]
                row["leak " + group] = float(np.abs(found["change"][columns]).max()) if columns else 0.0
        rows.append(row)
    return rows


def one_by_one(names: tuple[str, ...] = ONE_BY_ONE) -> MotionTrack:
    """A track in which each of some names comes and goes, alone."""
    track = MotionTrack.neutral(PULSE * len(names) + 1, "face478")
    expression = track.expression.copy()
    swell = 0.7 * np.sin(np.pi * np.arange(PULSE) / PULSE) ** 2
    for k, name in enumerate(names):
        columns = find_channel(name, "face478").columns
        expression[1 + k * PULSE : 1 + (k + 1) * PULSE, columns] = swell[:, None]
    return replace(track, expression=expression)


def every_name() -> tuple[str, ...]:
    """The names that the landmark model scores, both sides together, looks aside."""
    scored = [name for name in NAMED_EXPRESSIONS if name not in UNSCORED_BLENDSHAPES and not name.startswith("eyeLook")]
    both = [name.removesuffix("Left") if name.removesuffix("Left") + "Right" in scored else name for name in scored]
    alone = ("mouth", "jaw")  # to one side, not of one side
    both = [name + "Left" if name in alone else name for name in both]
    return tuple(name for name in both if not name.endswith("Right") or name.removesuffix("Right") in alone)


def followed(frames: list[np.ndarray], places: np.ndarray, read: np.ndarray) -> tuple[float, float]:
    """How much of the drawn movement since the first frame is in the last frame's picture (by optical flow) and in its
    landmarks: shares along the drawn movement, over the landmarks that move at least half as far as the furthest.
    frames: first and last; places, read: where the landmarks were drawn and read in them, 2×478×2 pixels.
    """
    moved = places[1] - places[0]
    far = np.linalg.norm(moved, axis=1)
    far = far > far.max() / 2
    gray = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*gray, None)
    at = np.clip(places[0].astype(int), 0, np.array(flow.shape[1::-1]) - 1)
    share = lambda by: float((moved * by)[far].sum() / (moved**2)[far].sum())  # noqa: E731
    return share(flow[at[:, 1], at[:, 0]]), share(read[1] - read[0])


def round_trip(portrait: Portrait, track: MotionTrack, names: tuple[str, ...] = (), skin: bool = False) -> dict:
    """A track's motion since its first frame put on the photo's own coefficients, drawn, extracted and compared. names:
    of a track `one_by_one`, to tell how each is followed; skin: as for ExtractOptions.
    """
    model, own = face478.load(), get_portrait_coefficients(portrait)
    turn = rotation_matrix(track.pose[:, :3]) @ rotation_matrix(track.pose[0, :3]).T
    angles = euler_angles(turn @ rotation_matrix(own.pose[0, :3]))
    pose = np.concatenate([angles, own.pose[:, 3:] + track.pose[:, 3:] - track.pose[:1, 3:]], 1)
    expression = own.expression + track.expression - track.expression[:1]
    wanted = Coefficients(expression, pose, own.gaze + track.gaze - track.gaze[:1])
    planned = plan_edited_motion(model, portrait.identity, own, wanted)
    frames = [frame[..., :3] for frame in renderer.render_photo(portrait, model, planned)]
    shown = (Frame(frame, k / 25, k) for k, frame in enumerate(frames))
    faces: list[Face | None] = []
    observe = lambda frame, face, cut: faces.append(face)  # noqa: E731
    read = extract_video(shown, Fraction(25), model, ExtractOptions(smooth=0.0, skin=skin), observe=observe)
    drawn = planned.coefficients
    error = rotation_matrix(read.pose[:, :3]) @ np.swapaxes(rotation_matrix(drawn.pose[:, :3]), -1, -2)
    degrees = np.degrees(np.arccos(np.clip((np.trace(error, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    since = np.abs(np.degrees(read.pose[:, :3] - read.pose[:1, :3] - drawn.pose[:, :3] + drawn.pose[:1, :3]))
    known = np.array([face is not None for face in faces])
    scores = np.stack([face.scores for face in faces if face is not None])
    by_name = {}
    for k, name in enumerate(BLENDSHAPES):
        asked = drawn.expression[:, k]
        if k and asked.std() > MOVES and name not in UNSCORED_BLENDSHAPES and not name.startswith("eyeLook"):
            by_name[name] = {
                "moves": float(asked.std()),
                "correlation": correlated(asked, read.expression[:, k]),
                "gain": float(np.polyfit(asked, read.expression[:, k], 1)[0]),
                "scores": correlated(asked[known], scores[:, k]),
            }
    columns = [BLENDSHAPES.index(name) for name in by_name]
    together = [(one - one.mean(0)).ravel() for one in (drawn.expression[:, columns], read.expression[:, columns])]
    for j, name in enumerate(names):
        both = [0, 1 + j * PULSE + PULSE // 2]
        if all(faces[k] is not None for k in both):
            to_picture = cv2.invertAffineTransform(portrait.to_crop)
            heads = [model.shape(portrait.identity, drawn.expression[k]) for k in both]
            crops = [camera.project(camera.apply_pose(head, drawn.pose[k]))[0] for head, k in zip(heads, both)]
            places = np.stack([transform_points(to_picture, crop) for crop in crops])
            seen = followed([frames[k] for k in both], places, np.stack([faces[k].points for k in both]))
            for side in split_sides(name):
                by_name[side] |= dict(zip(("in picture", "in landmarks"), seen))
    # Shut eyes have no gaze to read.
    open_eyes = drawn.expression[:, [BLENDSHAPES.index("eyeBlinkLeft")]].ravel() < 0.3
    gaze = np.degrees(np.abs(read.gaze - drawn.gaze)[open_eyes])
    return {
        "pose": float(degrees.mean()),
        "pose since frame 0": float(since.mean()),
        "gaze": float(gaze.mean()),
        "correlation": float(np.mean([found["correlation"] for found in by_name.values()])),
        "together": correlated(*together),
        "scores": float(np.mean([found["scores"] for found in by_name.values()])),
        "by name": by_name,
    }


def correlated(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation, 0 where the second does not move."""
    return float(np.corrcoef(one, other)[0, 1]) if other.std() > 1e-6 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path)
    parser.add_argument("--portraits", type=int, default=0, help="only the first N")
    parser.add_argument("--only", default="", help="only portraits whose name holds one of these, split by commas")
    parser.add_argument("--frames", type=int, default=155, help="frames of the round trip, 0 for none")
    parser.add_argument("--no-edits", action="store_true", help="only the round trip")
    parser.add_argument("--every-name", action="store_true", help="move every name in turn in the round trip")
    parser.add_argument("--no-follow-skin", action="store_true", help="read by landmarks alone")
    parser.add_argument("--keep", type=Path, help="keep the drawn pictures in this folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    wanted = given.only.split(",")
    photos = [p for p in sorted((given.media / "portraits").iterdir()) if any(part in p.name for part in wanted)]
    photos = [TRACK.with_name("portrait.jpg"), *photos[: given.portraits or None]]
    rows, trips, names = [], {}, every_name() if given.every_name else ONE_BY_ONE
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for photo in photos:
            try:
                portrait = portrait_from_photo(read_image(photo).rgb, None, face478.load(), name=str(photo)).square()
                rows += [] if given.no_edits else edits_of(photo, portrait, folder)
                if given.frames:
                    speech = MotionTrack.load(TRACK).select_frames(slice(0, given.frames))
                    for title, track, own in (("speech", speech, ()), ("one by one", one_by_one(names), names)):
                        trip = round_trip(portrait, track, own, not given.no_follow_skin)
                        trips.setdefault(title, {})[photo.name] = trip
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
        for key in ("pose", "pose since frame 0", "gaze"):
            print(f"{key:22} {np.mean([trip[key] for trip in found.values()]):.2f}")
        by_name: dict[str, list[dict]] = defaultdict(list)
        for trip in found.values():
            for name, value in trip["by name"].items():
                by_name[name].append(value)
        titles = ("correlation", "least", "gain", "scores", "in picture", "in landmarks")
        print(f"{'name':22}" + "".join(f"{title:>13}" for title in titles))
        for name, values in by_name.items():
            read = [value["correlation"] for value in values]
            cells = [np.mean(read), np.min(read)]
            for key in ("gain", "scores", "in picture", "in landmarks"):
                cells.append(np.mean([value[key] for value in values if key in value] or [np.nan]))
            print(f"{name:22}" + "".join(" " * 13 if np.isnan(cell) else f"{cell:13.2f}" for cell in cells))
        far = [value["correlation"] for values in by_name.values() for value in values if value["moves"] >= FAR]
        print(f"together {np.mean([trip['together'] for trip in found.values()]):.2f}, far {np.mean(far):.2f}")
        for key in ("correlation", "scores"):
            all_values = np.array([value[key] for values in by_name.values() for value in values])
            middle, share = np.median(all_values), (all_values >= AIM).mean()
            print(f"{key:22} mean {all_values.mean():.2f}, median {middle:.2f}, {AIM} and more: {share:.0%}")


if __name__ == "__main__":
    main()
