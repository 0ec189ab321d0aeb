"""A photo at rest: where the motion is the photo's own, the result is the photo."""

from collections.abc import Callable

import numpy as np

from mimaface_cli.engines.mesh.contact import measure_lid_openness
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.easing import smoothstep

# Changes over which the photo's own details fade out: of expressions, of turns and gaze in radians, of the position in
# model units, and of the openness of the eyes.
_EXPRESSION_RANGE, _ANGLE_RANGE, _SHIFT_RANGE, _LID_RANGE = 0.04, 0.01, 0.01, 0.03


def own_motion(prepared: PreparedPortrait, model: Face478) -> MeshMotion:
    """Return the photo's own motion, one frame."""
    portrait = prepared.portrait
    return MeshMotion(portrait.coefficients, measure_lid_openness(model, portrait.identity, portrait.expression[None]))


def rest_shares(motion: MeshMotion, rest: MeshMotion) -> np.ndarray:
    """Return how much of the photo's own details each frame of a motion shows (N,): 1 at rest."""
    driven, own = motion.coefficients, rest.coefficients
    changes = [
        np.abs(driven.expression - own.expression).max(1) / _EXPRESSION_RANGE,
        np.abs(driven.pose[:, :3] - own.pose[:, :3]).max(1) / _ANGLE_RANGE,
        np.abs(driven.pose[:, 3:] - own.pose[:, 3:]).max(1) / _SHIFT_RANGE,
        np.abs(driven.gaze - own.gaze).max(1) / _ANGLE_RANGE,
        np.abs(motion.lids - rest.lids).max(1) / _LID_RANGE,
    ]
    return 1 - smoothstep(np.max(changes, axis=0))


class RestCorrection:
    """Adds to frames near rest what rendering takes from the photo.

    Args:
        prepared: The photo.
        model: The face model.
        motion: The motion, N frames.
        render: Renders the only frame of a motion, (H, W, 3) or (H, W, 4) uint8.
    """

    def __init__(
        self,
        prepared: PreparedPortrait,
        model: Face478,
        motion: MeshMotion,
        render: Callable[[MeshMotion], np.ndarray],
    ) -> None:
        rest = own_motion(prepared, model)
        self._shares = rest_shares(motion, rest)
        if prepared.front is not None:  # the prepared photo has no occluder
            self._shares[:] = 0
        self._missing: np.ndarray | None = None
        if self._shares.any():
            self._missing = prepared.portrait.image - render(rest)[..., :3].astype(np.float32)

    def __call__(self, frame: np.ndarray, k: int) -> np.ndarray:
        """Return frame k of the motion, corrected in place."""
        if self._missing is not None and self._shares[k] > 0:
            colors = frame[..., :3] + np.float32(self._shares[k]) * self._missing
            frame[..., :3] = np.clip(colors + 0.5, 0, 255)
        return frame
