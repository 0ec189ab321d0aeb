"""Does each named column do what its name says? Measures of a face, and what a column alone does to them."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.face478.bases import upper_share
from mimaface_cli.builders.face478.learning import mirror_index, side_of
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.topology import CHIN, five_points
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES, blendshape_index

X, Y, Z = 0, 1, 2
EYE_DISTANCE_MM = 63.0

# Landmarks of the left side of the face; the right side is their mirror image.
_UPPER_LID, _LOWER_LID = (386, 387, 385), (374, 373, 380)
_EYE_CORNERS, _IRIS_CENTER = (362, 263), (473,)
_INNER_BROW, _OUTER_BROW, _BROW = (285, 336), (276, 300), (282, 295, 285, 334, 296, 336)
_CORNER, _CHEEK, _CHEEKBONE, _NOSTRIL = (291,), (425,), (330, 347), (278,)
_UPPER_LIP, _LOWER_LIP = (267, 269, 270), (314, 405, 321)
# On the middle line.
_NOSE, _TIP = (4,), (CHIN,)
_INNER_UPPER, _INNER_LOWER, _OUTER_UPPER, _OUTER_LOWER = (13,), (14,), (0,), (17,)


@dataclass(frozen=True)
class Measure:
    """How far `of` lies from `away_from` along an axis (means over landmarks, model units). sided: given for the left
    side, mirrored for the right.
    """

    of: tuple[int, ...]
    away_from: tuple[int, ...]
    axis: int
    sided: bool


MEASURES = {
    "eye opening": Measure(_UPPER_LID, _LOWER_LID, Y, True),
    "lower lid up": Measure(_LOWER_LID, _EYE_CORNERS, Y, True),
    "iris up": Measure(_IRIS_CENTER, _EYE_CORNERS, Y, True),
    "iris outwards": Measure(_IRIS_CENTER, _EYE_CORNERS, X, True),
    "inner brow up": Measure(_INNER_BROW, _EYE_CORNERS, Y, True),
    "outer brow up": Measure(_OUTER_BROW, _EYE_CORNERS, Y, True),
    "brow up": Measure(_BROW, _EYE_CORNERS, Y, True),
    "mouth corner up": Measure(_CORNER, _NOSE, Y, True),
    "mouth corner outwards": Measure(_CORNER, _NOSE, X, True),
    "mouth corner forwards": Measure(_CORNER, _NOSE, Z, True),
    "upper lip up": Measure(_UPPER_LIP, _NOSE, Y, True),
    "lower lip up": Measure(_LOWER_LIP, _NOSE, Y, True),
    "lips' height at the side": Measure(_UPPER_LIP, _LOWER_LIP, Y, True),
    "cheek outwards": Measure(_CHEEK, _NOSE, X, True),
    "cheek up": Measure(_CHEEKBONE, _NOSE, Y, True),
    "nostril up": Measure(_NOSTRIL, _TIP, Y, True),
    "inner lips apart": Measure(_INNER_UPPER, _INNER_LOWER, Y, False),
    "chin up": Measure(_TIP, _NOSE, Y, False),
    "chin to the left": Measure(_TIP, _NOSE, X, False),
    "chin forwards": Measure(_TIP, _NOSE, Z, False),
    "mouth to the left": Measure(_OUTER_UPPER + _OUTER_LOWER, _NOSE, X, False),
    "upper lip's height": Measure(_OUTER_UPPER, _INNER_UPPER, Y, False),
    "lower lip's height": Measure(_INNER_LOWER, _OUTER_LOWER, Y, False),
    "lower lip's middle up": Measure(_OUTER_LOWER, _NOSE, Y, False),
    "upper lip's middle up": Measure(_OUTER_UPPER, _NOSE, Y, False),
}

# What defines each blendshape (sides apart) and the direction it must take.
DEFINITIONS = {
    "browDown": ("brow up", -1),
    "browInnerUp": ("inner brow up", 1),
    "browOuterUp": ("outer brow up", 1),
    "cheekPuff": ("cheek outwards", 1),
    "cheekSquint": ("cheek up", 1),
    "eyeBlink": ("eye opening", -1),
    "eyeLookDown": ("iris up", -1),
    "eyeLookIn": ("iris outwards", -1),
    "eyeLookOut": ("iris outwards", 1),
    "eyeLookUp": ("iris up", 1),
    "eyeSquint": ("lower lid up", 1),
    "eyeWide": ("eye opening", 1),
    "jawForward": ("chin forwards", 1),
    "jawLeft": ("chin to the left", 1),
    "jawOpen": ("chin up", -1),
    "jawRight": ("chin to the left", -1),
    "mouthClose": ("inner lips apart", -1),
    "mouthDimple": ("mouth corner forwards", -1),
    "mouthFrown": ("mouth corner up", -1),
    "mouthFunnel": ("inner lips apart", 1),
    "mouthLeft": ("mouth to the left", 1),
    "mouthLowerDown": ("lower lip up", -1),
    "mouthPress": ("lips' height at the side", -1),
    "mouthPucker": ("mouth corner outwards", -1),
    "mouthRight": ("mouth to the left", -1),
    "mouthRollLower": ("lower lip's height", -1),
    "mouthRollUpper": ("upper lip's height", -1),
    "mouthShrugLower": ("lower lip's middle up", 1),
    "mouthShrugUpper": ("upper lip's middle up", 1),
    "mouthSmile": ("mouth corner up", 1),
    "mouthStretch": ("mouth corner outwards", 1),
    "mouthUpperUp": ("upper lip up", 1),
    "noseSneer": ("nostril up", 1),
}


@dataclass(frozen=True)
class Movement:
    """What a named column alone does at full score. measure: what defines it; amount: how far that moves in its right
    direction, mm on a face whose eyes stand 63 mm apart (negative: the wrong way); other_side: the same on the other
    side over this one (NaN where the name has no side); other_half: rms movement of the half of the face (eyes, mouth)
    that is not its own, over its own; authored: made by hand, since the landmark model never scores it.
    """

    name: str
    measure: str
    amount: float
    other_side: float
    other_half: float
    authored: bool


def movements(model: Face478) -> list[Movement]:
    """One entry for each blendshape but _neutral."""
    eyes = five_points(model.mean)[:2]
    millimeters = EYE_DISTANCE_MM / float(np.linalg.norm(eyes[0] - eyes[1]))
    mirror = mirror_index(model.mean)
    upper = upper_share(model.mean)
    halves = upper == 1, upper == 0
    found = []
    for name in BLENDSHAPES[1:]:
        side = side_of(name)
        measure, sign = DEFINITIONS[name.removesuffix(side)]
        column = model.expression_basis[:, :, blendshape_index(name)]
        left, right = (sign * change(column, MEASURES[measure], mirror, where) for where in ("Left", "Right"))
        own, across = (right, left) if side == "Right" else (left, right)
        amount = own if side else (left + right) / 2
        own_half, other_half = halves if name.startswith(("brow", "eye")) else halves[::-1]
        found.append(
            Movement(
                name,
                measure,
                amount * millimeters,
                across / own if side else float("nan"),
                _rms(column[other_half]) / _rms(column[own_half]),
                name in UNSCORED_BLENDSHAPES,
            )
        )
    return found


def change(displacement: np.ndarray, measure: Measure, mirror: np.ndarray, side: str = "Left") -> float:
    """What a displacement of the face (478×3) does to a measure, on the given side where it has one."""
    of, away_from, sign = np.array(measure.of), np.array(measure.away_from), 1.0
    if measure.sided and side == "Right":
        of, away_from = mirror[of], mirror[away_from]
        sign = -1.0 if measure.axis == X else 1.0
    return sign * float(displacement[of, measure.axis].mean() - displacement[away_from, measure.axis].mean())


def _rms(displacement: np.ndarray) -> float:
    return float(np.sqrt((displacement**2).sum(1).mean()))
