"""What face478 leaves out, as a mesh grown from the face's rim: skull, hair, the underside of the jaw."""

import numpy as np

from mimaface_cli.builders.rendered_people.appearance import Person
from mimaface_cli.face import topology
from mimaface_cli.face.head_mesh import RIM

# The RINGS of `face.head_mesh` behind the rim: how far back, how wide at the crown, how wide at the chin.
_BACK = np.array([0.06, 0.2, 0.42, 0.65, 0.86, 1.0])
_CROWN = np.array([1.07, 1.14, 1.14, 1.02, 0.72, 0.0])
_CHIN = np.array([0.98, 0.90, 0.74, 0.60, 0.45, 0.0])
_DEPTH = -1.25  # of the back of the head, model units


def grow(person: Person, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An unposed face 478×3 to all vertices V×3, and the albedo (RGB 0..255) of those behind the rim."""
    rim = face[topology.OVAL]
    center = rim.mean(0)
    height = (rim[:, 1] - center[1]) / np.ptp(rim[:, 1]) * 2  # about -1 chin .. 1 crown
    up = np.clip((height + 1) / 2, 0, 1)
    hairy = np.clip((height - person.hairline) / 0.15, 0, 1)
    back = _BACK[:, None]
    wide = _CHIN[:, None] * (1 - up) + _CROWN[:, None] * up
    away = rim[:, :2] - center[:2]
    reach = np.linalg.norm(away, axis=1, keepdims=True)
    out = away / np.maximum(reach, 1e-6)
    bulge = person.volume * hairy * np.sqrt(np.clip(1 - (2 * back - 0.9) ** 2, 0, 1))
    xy = center[:2] + wide[..., None] * away + bulge[..., None] * out
    z = (1 - back) * rim[:, 2] + back * _DEPTH
    ring = np.concatenate([xy, z[..., None]], -1)
    strands = 1 + 0.12 * np.sin(np.arange(RIM) * 2.4 + person.volume * 90)
    color = person.tone * (1 - hairy[:, None]) * 0.9 + person.hair * (hairy * strands)[:, None]
    albedo = np.broadcast_to(color, (len(_BACK), RIM, 3)).reshape(-1, 3)
    return np.concatenate([face, ring.reshape(-1, 3)]), albedo
