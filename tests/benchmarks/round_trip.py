"""Round trip of the editing benchmark: render a track with the mesh engine, extract it again, and compare."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.motion_plan import MeshMotion, plan_edited_motion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.face import camera, face478
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.extract_face478 import extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.media.reader import Frame
from mimaface_cli.motion.channels import NAMED_EXPRESSIONS, find_channel, split_sides
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES, Coefficients
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack

MIN_MOTION = 0.03  # standard deviation from which a name counts as moving
IN_TURN_NAMES = (
    "jawOpen", "mouthSmile", "eyeBlink", "browInnerUp", "browDown", "mouthPucker", "mouthFunnel", "jawLeft",
)  # fmt: skip
PULSE = 20  # frames of each name of an in-turn track


@dataclass(frozen=True)
class RoundTrip:
    """A rendered motion and its extraction.

    Attributes:
        portrait: The portrait that was rendered.
        planned: The rendered motion of N frames.
        frames: N rendered frames H×W×3 uint8 RGB.
        faces: Detected face of each frame, or None.
        extracted: The track extracted from the frames.
    """

    portrait: Portrait
    planned: MeshMotion
    frames: list[np.ndarray]
    faces: list[Face | None]
    extracted: MotionTrack


def make_in_turn_track(names: tuple[str, ...] = IN_TURN_NAMES) -> MotionTrack:
    """Make a track in which each name rises to 0.7 and falls, one after the other."""
    track = MotionTrack.neutral(PULSE * len(names) + 1, "face478")
    expression = track.expression.copy()
    pulse = 0.7 * np.sin(np.pi * np.arange(PULSE) / PULSE) ** 2
    for k, name in enumerate(names):
        columns = find_channel(name, "face478").columns
        expression[1 + k * PULSE : 1 + (k + 1) * PULSE, columns] = pulse[:, None]
    return replace(track, expression=expression)


def list_scored_names() -> tuple[str, ...]:
    """Return the names that the landmark model scores, both sides as one name, without gaze (eyeLook)."""
    scored = [name for name in NAMED_EXPRESSIONS if is_scored(name)]
    merged = [name.removesuffix("Left") if name.removesuffix("Left") + "Right" in scored else name for name in scored]
    sideways = ("mouth", "jaw")  # mouthLeft and jawLeft move to the left; they have no left and right half
    merged = [name + "Left" if name in sideways else name for name in merged]
    return tuple(name for name in merged if not name.endswith("Right") or name.removesuffix("Right") in sideways)


def is_scored(name: str) -> bool:
    """Return whether the landmark model scores a blendshape that is not gaze."""
    return name not in UNSCORED_BLENDSHAPES and not name.startswith("eyeLook")


def measure_round_trip(
    portrait: Portrait, track: MotionTrack, names: tuple[str, ...] = (), skin: bool = False
) -> dict[str, Any]:
    """Render a track's motion since its first frame on a portrait, extract it again, and compare.

    Args:
        portrait: The portrait; the motion starts from its coefficients.
        track: The motion, in face478 coefficients.
        names: Names of a track from `make_in_turn_track`, for which visible movement is measured as well.
        skin: Whether extraction tracks the skin (as in ExtractOptions).

    Returns:
        "pose", "pose since frame 0", "gaze": mean errors in degrees. "correlation", "scores": mean over the moving
        names of the correlation with extraction and with the landmark model's scores. "together": correlation of all
        moving names as one series. "by name": the values of each moving name.
    """
    trip = run_round_trip(portrait, track, skin)
    rendered, extracted = trip.planned.coefficients, trip.extracted
    by_name = compare_names(trip)
    columns = [BLENDSHAPES.index(name) for name in by_name]
    series = [(values - values.mean(0)).ravel() for values in (rendered.expression[:, columns],
                                                               extracted.expression[:, columns])]  # fmt: skip
    for k, name in enumerate(names):
        frames = (0, 1 + k * PULSE + PULSE // 2)
        shares = measure_visible_movement(trip, frames)
        if shares is not None:
            for side in split_sides(name):
                by_name[side] |= shares
    error = rotation_matrix(extracted.pose[:, :3]) @ np.swapaxes(rotation_matrix(rendered.pose[:, :3]), -1, -2)
    degrees = np.degrees(np.arccos(np.clip((np.trace(error, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    extracted_turn = extracted.pose[:, :3] - extracted.pose[:1, :3]
    relative = np.abs(np.degrees(extracted_turn - rendered.pose[:, :3] + rendered.pose[:1, :3]))
    # Closed eyes have no measurable gaze.
    open_eyes = rendered.expression[:, BLENDSHAPES.index("eyeBlinkLeft")] < 0.3
    gaze = np.degrees(np.abs(extracted.gaze - rendered.gaze)[open_eyes])
    return {
        "pose": float(degrees.mean()),
        "pose since frame 0": float(relative.mean()),
        "gaze": float(gaze.mean()),
        "correlation": float(np.mean([values["correlation"] for values in by_name.values()])),
        "together": correlate(*series),
        "scores": float(np.mean([values["scores"] for values in by_name.values()])),
        "by name": by_name,
    }


def run_round_trip(portrait: Portrait, track: MotionTrack, skin: bool) -> RoundTrip:
    """Render a track's motion since its first frame on a portrait's coefficients, and extract it."""
    model, base = face478.load(), portrait.coefficients
    turn = rotation_matrix(track.pose[:, :3]) @ rotation_matrix(track.pose[0, :3]).T
    angles = euler_angles(turn @ rotation_matrix(base.pose[0, :3]))
    pose = np.concatenate([angles, base.pose[:, 3:] + track.pose[:, 3:] - track.pose[:1, 3:]], 1)
    expression = base.expression + track.expression - track.expression[:1]
    target = Coefficients(expression, pose, base.gaze + track.gaze - track.gaze[:1])
    planned = plan_edited_motion(model, portrait.identity, base, target)
    frames = [frame[..., :3] for frame in renderer.render_photo(prepare_photo(portrait, model), model, planned)]
    faces: list[Face | None] = []

    def observe(frame: Frame, face: Face | None, cut: bool) -> None:
        faces.append(face)

    stream = (Frame(frame, k / 25, k) for k, frame in enumerate(frames))
    options = ExtractOptions(smooth=0.0, skin=skin)
    extracted = extract_video(stream, Fraction(25), model, options, observe=observe)
    return RoundTrip(portrait, planned, frames, faces, extracted)


def compare_names(trip: RoundTrip) -> dict[str, dict[str, float]]:
    """Compare each moving name's rendered values with the extraction and the landmark model's scores."""
    rendered = trip.planned.coefficients.expression
    is_detected = np.array([face is not None for face in trip.faces])
    scores = np.stack([face.scores for face in trip.faces if face is not None])
    by_name = {}
    for k, name in enumerate(BLENDSHAPES):
        values = rendered[:, k]
        if k and values.std() > MIN_MOTION and is_scored(name):
            by_name[name] = {
                "moves": float(values.std()),
                "correlation": correlate(values, trip.extracted.expression[:, k]),
                "gain": float(np.polyfit(values, trip.extracted.expression[:, k], 1)[0]),
                "scores": correlate(values[is_detected], scores[:, k]),
            }
    return by_name


def measure_visible_movement(trip: RoundTrip, pair: tuple[int, int]) -> dict[str, float] | None:
    """Return the share of the rendered movement between two frames that their pixels and landmarks show.

    Args:
        trip: The rendered frames and their faces.
        pair: Numbers of the two frames.

    Returns:
        "in image" (by optical flow) and "in landmarks": shares along the rendered movement, over the landmarks that
        move at least half as far as the farthest. None if a frame shows no face.
    """
    faces = [face for k in pair if (face := trip.faces[k]) is not None]
    if len(faces) < 2:
        return None
    portrait, motion, model = trip.portrait, trip.planned.coefficients, face478.load()
    to_image = cv2.invertAffineTransform(portrait.to_crop)
    heads = [camera.apply_pose(model.shape(portrait.identity, motion.expression[k]), motion.pose[k]) for k in pair]
    start, stop = (transform_points(to_image, camera.project(head)[0]) for head in heads)
    movement = stop - start
    length = np.linalg.norm(movement, axis=1)
    moves_far = length > length.max() / 2
    gray = [cv2.cvtColor(np.ascontiguousarray(trip.frames[k]), cv2.COLOR_RGB2GRAY) for k in pair]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*gray, None)
    x, y = np.clip(start.astype(int), 0, np.array(flow.shape[1::-1]) - 1).T

    def share(measured: np.ndarray) -> float:
        return float((movement * measured)[moves_far].sum() / (movement**2)[moves_far].sum())

    return {"in image": share(flow[y, x]), "in landmarks": share(faces[1].points - faces[0].points)}


def correlate(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation, or 0 where the second series does not move."""
    return float(np.corrcoef(first, second)[0, 1]) if second.std() > 1e-6 else 0.0
