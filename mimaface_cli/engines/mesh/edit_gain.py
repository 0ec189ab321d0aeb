"""Edits of a photo as they are seen: a turn of 20° and a smile of 0.7 are drawn so that the landmark model reads them.

A drawn head is read as turned less than it is, as hair and neck stay behind, and a score rises late and not alike on
all faces. So each edited curve is drawn once or a few times at its furthest, looked at, and its change scaled.
"""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.engines.mesh.motion_plan import plan_edited_motion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_portrait
from mimaface_cli.engines.mesh.renderer import render_frame
from mimaface_cli.face.extract_face478 import extract_photo
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.landmarks import Face, find_faces, select_face
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.channels import Channel
from mimaface_cli.motion.coefficients import BLENDSHAPES, Coefficients
from mimaface_cli.motion.rotation import euler_angles

TURN_GAIN = (0.8, 1.4)  # how far a turn may be scaled
SCORE_GAIN = (0.6, 1.8)
SMALL_TURN = np.radians(4.0)  # below, the reading is noise: probe at this much more
PROBE_TURN = np.radians(12.0)
SMALL_CHANGE = 0.15  # of a score
NEAR = 0.05  # a score read so near the wanted one is right
PROBES = 4
# Movements whose scores tell how far they go. How far a jaw drops and lids shut is plain in the mesh, and the scores of
# small movements of the lips answer to teeth and color as much as to shape.
_TELLING = ("brow", "mouthSmile", "mouthFrown", "mouthPucker", "mouthFunnel")


@dataclass(frozen=True)
class EditGain:
    """A curve's change is to be drawn `factor` times as large in one direction (sign). asked and read: at its furthest,
    an angle in degrees since the photo or a score.
    """

    channel: Channel
    sign: int
    factor: float
    asked: float
    read: float


def measure_gains(portrait: Portrait, model: Face478, wanted: Coefficients, channels: list[Channel]) -> list[EditGain]:
    """What to scale so that `wanted` (N frames, own coefficients of the photo plus edits of `channels`) is seen as
    asked. Only turns and expressions whose scores tell are looked at.
    """
    looked = [channel for channel in channels if _is_seen(channel)]
    if not looked:
        return []
    square = portrait.square()
    own = get_portrait_coefficients(square)
    before = select_face(find_faces(square.image), "largest")
    if before is None:
        return []
    look = _Look(square, model, own)
    gains: list[EditGain | None] = []
    for channel in looked:
        change = getattr(wanted, channel.array)[:, channel.columns] - getattr(own, channel.array)[:, channel.columns]
        for sign in (1, -1):
            furthest = change[np.argmax(sign * change.mean(1))]
            least = SMALL_TURN if channel.array == "pose" else SMALL_CHANGE
            if channel.array == "expression" and sign * furthest.mean() > least:
                gains.append(_score_gain(channel, sign, own, furthest, look))
            elif channel.array == "pose" and sign * furthest.mean() > 1e-6:
                if abs(furthest[0]) < least:
                    furthest = np.full(1, sign * PROBE_TURN)
                gains.append(_turn_gain(channel, sign, own, furthest, before, look))
    return [gain for gain in gains if gain is not None]


def apply_gains(own: Coefficients, wanted: Coefficients, gains: list[EditGain]) -> Coefficients:
    """Wanted coefficients with each gain's share of their change since the photo scaled; a coefficient that two names
    share (mouthSmile, mouthSmileLeft) is scaled by the first.
    """
    arrays = {name: np.array(getattr(wanted, name), np.float64) for name in ("expression", "pose")}
    done: set[tuple[str, int, int]] = set()
    for gain in gains:
        columns = [k for k in gain.channel.columns if (gain.channel.array, k, gain.sign) not in done]
        done.update((gain.channel.array, k, gain.sign) for k in columns)
        start = getattr(own, gain.channel.array)[:, columns]
        change = arrays[gain.channel.array][:, columns] - start
        scaled = np.where(np.sign(change) == gain.sign, change * gain.factor, change)
        arrays[gain.channel.array][:, columns] = start + scaled
    return Coefficients(arrays["expression"], arrays["pose"], wanted.gaze)


def get_portrait_coefficients(portrait: Portrait) -> Coefficients:
    """A photo's own, one frame."""
    return Coefficients(portrait.expression[None], portrait.pose[None], portrait.gaze[None])


def _is_seen(channel: Channel) -> bool:
    if channel.array == "pose":
        return channel.columns[0] < 3
    named = channel.array == "expression" and all(column < len(BLENDSHAPES) for column in channel.columns)
    return named and BLENDSHAPES[channel.columns[0]].startswith(_TELLING)


class _Look:
    """Draws the photo under coefficients of one frame and finds its face: a Face or None, and the picture."""

    def __init__(self, portrait: Portrait, model: Face478, own: Coefficients):
        self.model = model
        self._source, self._own, self._identity = prepare_portrait(portrait, model), own, portrait.identity

    def __call__(self, coefficients: Coefficients) -> tuple[Face | None, np.ndarray]:
        motion = plan_edited_motion(self.model, self._identity, self._own, coefficients)
        moved = motion.coefficients
        frame = render_frame(
            self._source, self.model, moved.expression[0], moved.pose[0], moved.gaze[0], motion.lids[0]
        )
        picture = np.ascontiguousarray(frame[..., :3])
        return select_face(find_faces(picture), "largest"), picture


def _shifted(own: Coefficients, channel: Channel, change: np.ndarray) -> Coefficients:
    arrays = {name: np.array(getattr(own, name), np.float64) for name in ("expression", "pose")}
    arrays[channel.array][:, channel.columns] += change
    return Coefficients(arrays["expression"], arrays["pose"], own.gaze)


def _turn_gain(
    channel: Channel, sign: int, own: Coefficients, change: np.ndarray, before: Face, look: _Look
) -> EditGain | None:
    """By the turn that is read from the drawn picture, half by the landmark model's rotation since the photo, half by
    the fitted pose: either alone leans to one side.
    """
    factor, read, axis = 1.0, 0.0, channel.columns[0]
    for _ in range(2):
        after, picture = look(_shifted(own, channel, change * factor))
        if after is None:
            break
        by_matrix = euler_angles(after.rotation @ before.rotation.T)[axis]
        by_fit = extract_photo(picture, after, look.model, ExtractOptions()).pose[0, axis] - own.pose[0, axis]
        turned = float(by_matrix + by_fit) / 2
        read = float(np.degrees(turned))
        if sign * turned < 0.2 * abs(change[0]):
            return None  # not a reading of this turn
        factor = float(np.clip(factor * change[0] / turned, *TURN_GAIN))
    return EditGain(channel, sign, factor, float(np.degrees(change[0])), read)


def _score_gain(channel: Channel, sign: int, own: Coefficients, change: np.ndarray, look: _Look) -> EditGain | None:
    """By the score that the landmark model gives: a search between the smallest and the largest gain."""
    columns = list(channel.columns)
    target = float(np.clip((own.expression[0, columns] + change).mean(), 0.02, 0.98))
    low, high = SCORE_GAIN
    factor, best = 1.0, (np.inf, 1.0, 0.0)
    for _ in range(PROBES):
        after, _ = look(_shifted(own, channel, change * factor))
        if after is None:
            high = factor
        else:
            read = float(after.scores[columns].mean())
            best = min(best, (abs(read - target), factor, read))
            if abs(read - target) < NEAR:
                break
            low, high = (factor, high) if sign * (target - read) > 0 else (low, factor)
        factor = (low + high) / 2
    return EditGain(channel, sign, best[1], target, best[2]) if np.isfinite(best[0]) else None
