"""Parts of a head that face478 lacks, as a mesh that continues the face's rim: skull, hair, underside of the jaw."""

import numpy as np

from mimaface_cli.builders.rendered_people.appearance import Person
from mimaface_cli.face import topology
from mimaface_cli.face.head_mesh import RIM

# One entry for each of the RINGS of `face.head_mesh` behind the rim: position from the rim (0) to the back (1), and
# width relative to the rim at the crown and at the chin.
_BACK = np.array([0.06, 0.2, 0.42, 0.65, 0.86, 1.0])
_CROWN = np.array([1.07, 1.14, 1.14, 1.02, 0.72, 0.0])
_CHIN = np.array([0.98, 0.90, 0.74, 0.60, 0.45, 0.0])
_DEPTH = -1.25  # of the back of the head, model units


def build_head(person: Person, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add the rings of a head behind a face.

    Args:
        person: Appearance.
        face: 478×3 unposed face vertices.

    Returns:
        All vertices V×3, the face first, and the albedo (V-478)×3 (RGB 0..255) of those behind the rim.
    """
    rim = face[topology.OVAL]
    center = rim.mean(0)
    height = (rim[:, 1] - center[1]) / np.ptp(rim[:, 1]) * 2  # about -1 chin .. 1 crown
    up = np.clip((height + 1) / 2, 0, 1)
    hair_share = np.clip((height - person.hairline) / 0.15, 0, 1)
    back = _BACK[:, None]
    width = _CHIN[:, None] * (1 - up) + _CROWN[:, None] * up
    offset = rim[:, :2] - center[:2]
    radius = np.linalg.norm(offset, axis=1, keepdims=True)
    outward = offset / np.maximum(radius, 1e-6)
    bulge = person.hair_volume * hair_share * np.sqrt(np.clip(1 - (2 * back - 0.9) ** 2, 0, 1))
    xy = center[:2] + width[..., None] * offset + bulge[..., None] * outward
    z = (1 - back) * rim[:, 2] + back * _DEPTH
    rings = np.concatenate([xy, z[..., None]], -1)
    strands = 1 + 0.12 * np.sin(np.arange(RIM) * 2.4 + person.hair_volume * 90)
    color = person.tone * (1 - hair_share[:, None]) * 0.9 + person.hair * (hair_share * strands)[:, None]
    albedo = np.broadcast_to(color, (len(_BACK), RIM, 3)).reshape(-1, 3)
    return np.concatenate([face, rings.reshape(-1, 3)]), albedo
