"""The build itself: observations in, the arrays of face478 out."""

import numpy as np

from mimaface_cli.face import topology
from mimaface_cli.face.camera import CAMERA_DISTANCE, FOCAL_PER_SIZE
from mimaface_cli.face.face478 import VERTICES
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, IDENTITY_DIM, TEXTURE_DIM
from mimaface_cli.train.face478 import learn
from mimaface_cli.train.face478.learn import NAMED, Observations

LIDS = np.concatenate([topology.LEFT_EYE, topology.RIGHT_EYE])
# Eye-centre distance of the release's 256-pixel five-point template: it fixes the model's unit.
TEMPLATE_EYE_DISTANCE = 70.4744 / 256


def build_shape(stills: Observations, clips: Observations) -> dict[str, np.ndarray]:
    """Mean, A and B (see `mimaface_cli.face.face478.Face478`) and figures on how much they explain."""
    mean = learn.mean_shape(stills)
    mirror, names = learn.mirror_index(mean), learn.mirror_names()
    weight = learn.stable_weight(mean, LIDS)

    aligned, _ = learn.procrustes(clips.points, mean, weight)
    frame_weight = 1.0 / np.bincount(clips.subject)[clips.subject]
    angles = head_angles(clips.rotation)
    nuisance = within(np.concatenate([angles, angles**2, angles[:, :1] * angles[:, 1:]], 1), clips.subject)
    deviation = project_out(within(aligned, clips.subject), nuisance, frame_weight)
    scores = project_out(within(clips.scores, clips.subject), nuisance, frame_weight)
    named = learn.expression_columns(deviation, scores, frame_weight, upper_share(mean))
    named = learn.symmetrise(named, mirror, names)
    left_over = deviation - apply(named, scores)
    left_over[:, topology.IRIS] = 0.0  # gaze is its own coefficient
    extra, extra_share = learn.principal(
        learn.both_sides(left_over, mirror).reshape(2 * len(left_over), -1),
        np.tile(frame_weight, 2),
        EXPRESSION_DIM - NAMED,
    )
    expression = np.concatenate([named, extra.reshape(VERTICES, 3, -1)], 2)

    aligned, _ = learn.procrustes(stills.points, mean, weight)
    faces = aligned - apply(named, stills.scores)
    faces = learn.both_sides(learn.without(faces, head_angles(stills.rotation)), mirror)
    neutral = faces.mean(0)
    faces = (faces - neutral).reshape(len(faces), -1)
    identity, identity_share = learn.principal(faces, np.ones(len(faces)), IDENTITY_DIM)

    scale = unit_scale(neutral)
    neutral = neutral * scale
    centre = np.append(neutral[:, :2].mean(0) * [0, 1], neutral[:, 2].mean())
    total = (frame_weight[:, None, None] * deviation**2).sum()
    unexplained = (frame_weight[:, None, None] * (deviation - apply(named, scores)) ** 2).sum()
    shape = {
        "mean": neutral - centre,
        "identity_basis": identity.reshape(VERTICES, 3, -1) * scale,
        "expression_basis": expression * scale,
        "share_named": 1 - unexplained / total,
        "share_extra": extra_share.sum() * unexplained / total,
        "share_identity": identity_share.sum(),
    }
    add_silent(shape["expression_basis"], shape["mean"])
    return shape


def head_angles(rotation: np.ndarray) -> np.ndarray:
    """Yaw and pitch (N×2, rad) of N×3×3 canonical-to-camera rotations."""
    yaw = np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    pitch = np.arctan2(-rotation[:, 1, 2], np.hypot(rotation[:, 0, 2], rotation[:, 2, 2]))
    return np.stack([yaw, pitch], -1)


def within(values: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Each row minus the mean over its subject."""
    out = np.empty_like(values)
    for one in np.unique(subject):
        rows = subject == one
        out[rows] = values[rows] - values[rows].mean(0)
    return out


def project_out(values: np.ndarray, nuisance: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Remove the weighted linear dependence of N×… values on N×K nuisance variables."""
    flat, root = values.reshape(len(values), -1), np.sqrt(weight)[:, None]
    slope = np.linalg.lstsq(nuisance * root, flat * root, rcond=None)[0]
    return (flat - nuisance @ slope).reshape(values.shape)


def apply(columns: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """V×3×52 columns and N×52 scores to N×V×3 displacements."""
    return (scores @ columns.reshape(-1, NAMED).T).reshape(-1, VERTICES, 3)


def upper_share(mean: np.ndarray) -> np.ndarray:
    """1 where brow and eye scores move the face, 0 where jaw and mouth do, smooth between nose tip and lower lids."""
    low, high = mean[topology.NOSE_TIP, 1], mean[LIDS, 1].min()
    share = np.clip((mean[:, 1] - low) / (high - low), 0, 1)
    return share**2 * (3 - 2 * share)


def unit_scale(neutral: np.ndarray) -> float:
    """Factor that gives the eye distance of the release's template in a crop at rest."""
    right, left = topology.five_points(neutral)[:2]
    distance, height = left[0] - right[0], (left[2] + right[2]) / 2 - neutral[:, 2].mean()
    wanted = TEMPLATE_EYE_DISTANCE / FOCAL_PER_SIZE
    # distance·s / (camera − height·s) = wanted
    return wanted * CAMERA_DISTANCE / (distance + wanted * height)


def add_silent(basis: np.ndarray, mean: np.ndarray) -> None:
    """Author the columns that cannot be learned because the landmark model never scores them."""

    def bump(centre: np.ndarray, width: float) -> np.ndarray:
        return np.exp(-((mean - centre) ** 2).sum(1) / (2 * width**2))[:, None]

    chin, nose = mean[topology.CHIN], mean[topology.NOSE_TIP]
    for side, cheek, wing, lid in (("Left", 425, 278, 374), ("Right", 205, 48, 145)):
        outward = np.array([np.sign(mean[cheek, 0]) * 0.6, 0.0, 0.8])
        basis[:, :, BLENDSHAPES.index("cheekPuff")] += 0.14 * bump(mean[cheek], 0.17) * outward
        squint = bump((mean[cheek] + mean[lid]) / 2, 0.12) * [0, 0.08, 0.03]
        basis[:, :, BLENDSHAPES.index("cheekSquint" + side)] = squint
        sneer = bump(mean[wing], 0.09) * [0, 0.07, 0.01] + bump((mean[wing] + nose) / 2, 0.08) * [0, 0.02, 0]
        basis[:, :, BLENDSHAPES.index("noseSneer" + side)] = sneer
    jaw = np.clip((mean[topology.LOWER_LIP, 1] - mean[:, 1] + 0.05) / 0.25, 0, 1)[:, None] * bump(chin, 0.45)
    basis[:, :, BLENDSHAPES.index("jawForward")] = jaw * [0, 0, 0.12]


def build_albedo(stills: Observations, normals: np.ndarray, mirror: np.ndarray) -> dict[str, np.ndarray]:
    """Albedo mean and C from colours sampled at the landmarks, after each face's own spherical-harmonic light is
    taken out (light and albedo estimated in turns). normals: N×478×3 of the posed faces."""
    from mimaface_cli.face.shading import AMBIENT, sh_basis

    colours = stills.colours.astype(np.float64)
    mean = colours.mean(0)
    basis = sh_basis(normals)  # N×478×9
    for _ in range(4):
        lit = basis[..., None] * mean[None, :, None, :]  # N×478×9×3
        gram = np.einsum("nvbc,nvdc->ncbd", lit, lit) + 20.0 * len(mean) * np.eye(9)
        # The prior is even light of strength one: all else is shading only as far as the picture insists.
        even = AMBIENT * np.eye(9)[0]
        right = np.einsum("nvbc,nvc->ncb", lit, colours) + 20.0 * len(mean) * even
        light = np.linalg.solve(gram, right[..., None])[..., 0]  # N×3×9
        shade = np.einsum("nvb,ncb->nvc", basis, light).clip(0.2, 3.0)
        albedo = colours / shade
        mean = np.median(np.concatenate([albedo, albedo[:, mirror]]), 0)
    samples = np.concatenate([albedo, albedo[:, mirror]]) - mean
    limit = 90.0  # hair, hats and hands over the face are not albedo
    samples = np.clip(samples, -limit, limit).reshape(len(samples), -1)
    texture, share = learn.principal(samples, np.ones(len(samples)), TEXTURE_DIM)
    return {
        "albedo_mean": mean,
        "texture_basis": texture.reshape(VERTICES, 3, -1),
        "share_texture": share.sum(),
    }


def triangles(mean: np.ndarray, edges: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Skin triangles (the three-edge cycles of MediaPipe's tesselation), and fans that close eyes and mouth."""
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    cycles = {
        tuple(sorted((a, b, c))) for a, b in edges for c in neighbours[a] & neighbours[b]
    }
    skin = np.array(sorted(cycles), np.int32)
    return {
        "face": facing(skin, mean),
        "eyes": facing(np.concatenate([strip(topology.LEFT_EYE), strip(topology.RIGHT_EYE)]), mean),
        "mouth": facing(strip(topology.INNER_LIPS), mean),
    }


def strip(ring: np.ndarray) -> np.ndarray:
    """Triangles between the lower and the upper half of a closed ring whose corners are its items 0 and n/2."""
    half = len(ring) // 2
    lower, upper = ring[: half + 1], np.append(ring[half:], ring[0])[::-1]
    quads = [(lower[i], lower[i + 1], upper[i + 1], upper[i]) for i in range(half)]
    corners = [tri for a, b, c, d in quads for tri in ((a, b, c), (a, c, d))]
    return np.array([tri for tri in corners if len(set(tri)) == 3], np.int32)


def facing(corners: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Order the corners so that normals point at the camera."""
    a, b, c = (mean[corners[:, i]] for i in range(3))
    inward = np.cross(b - a, c - a)[:, 2] < 0
    return np.where(inward[:, None], corners[:, ::-1], corners).astype(np.int32)

