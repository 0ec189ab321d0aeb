"""Effect of each named column: measures of a face, and how far a column alone changes the measure that defines it."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.face478.symmetry import get_blendshape_side, pair_vertices
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
# On the midline.
_NOSE, _TIP = (4,), (CHIN,)
_INNER_UPPER, _INNER_LOWER, _OUTER_UPPER, _OUTER_LOWER = (13,), (14,), (0,), (17,)


@dataclass(frozen=True)
class Measure:
    """Distance along an axis between the means of two sets of landmarks, model units.

    Attributes:
        of: Landmarks whose position is measured, on the left side of the face where the measure has sides.
        relative_to: Landmarks of the origin, likewise.
        axis: X, Y or Z.
        is_sided: Whether there is a mirrored measure for the right side.
    """

    of: tuple[int, ...]
    relative_to: tuple[int, ...]
    axis: int
    is_sided: bool


MEASURES = {
    "eye opening": Measure(_UPPER_LID, _LOWER_LID, Y, True),
    "lower lid up": Measure(_LOWER_LID, _EYE_CORNERS, Y, True),
    "iris up": Measure(_IRIS_CENTER, _EYE_CORNERS, Y, True),
    "iris outward": Measure(_IRIS_CENTER, _EYE_CORNERS, X, True),
    "inner brow up": Measure(_INNER_BROW, _EYE_CORNERS, Y, True),
    "outer brow up": Measure(_OUTER_BROW, _EYE_CORNERS, Y, True),
    "brow up": Measure(_BROW, _EYE_CORNERS, Y, True),
    "mouth corner up": Measure(_CORNER, _NOSE, Y, True),
    "mouth corner outward": Measure(_CORNER, _NOSE, X, True),
    "mouth corner forward": Measure(_CORNER, _NOSE, Z, True),
    "upper lip up": Measure(_UPPER_LIP, _NOSE, Y, True),
    "lower lip up": Measure(_LOWER_LIP, _NOSE, Y, True),
    "lip distance at the side": Measure(_UPPER_LIP, _LOWER_LIP, Y, True),
    "cheek outward": Measure(_CHEEK, _NOSE, X, True),
    "cheek up": Measure(_CHEEKBONE, _NOSE, Y, True),
    "nostril up": Measure(_NOSTRIL, _TIP, Y, True),
    "inner lip distance": Measure(_INNER_UPPER, _INNER_LOWER, Y, False),
    "chin up": Measure(_TIP, _NOSE, Y, False),
    "chin to the left": Measure(_TIP, _NOSE, X, False),
    "chin forward": Measure(_TIP, _NOSE, Z, False),
    "mouth to the left": Measure(_OUTER_UPPER + _OUTER_LOWER, _NOSE, X, False),
    "upper lip height": Measure(_OUTER_UPPER, _INNER_UPPER, Y, False),
    "lower lip height": Measure(_INNER_LOWER, _OUTER_LOWER, Y, False),
    "lower lip center up": Measure(_OUTER_LOWER, _NOSE, Y, False),
    "upper lip center up": Measure(_OUTER_UPPER, _NOSE, Y, False),
}

# The measure that defines each blendshape (without its side), and the sign of its change.
DEFINITIONS = {
    "browDown": ("brow up", -1),
    "browInnerUp": ("inner brow up", 1),
    "browOuterUp": ("outer brow up", 1),
    "cheekPuff": ("cheek outward", 1),
    "cheekSquint": ("cheek up", 1),
    "eyeBlink": ("eye opening", -1),
    "eyeLookDown": ("iris up", -1),
    "eyeLookIn": ("iris outward", -1),
    "eyeLookOut": ("iris outward", 1),
    "eyeLookUp": ("iris up", 1),
    "eyeSquint": ("lower lid up", 1),
    "eyeWide": ("eye opening", 1),
    "jawForward": ("chin forward", 1),
    "jawLeft": ("chin to the left", 1),
    "jawOpen": ("chin up", -1),
    "jawRight": ("chin to the left", -1),
    "mouthClose": ("inner lip distance", -1),
    "mouthDimple": ("mouth corner forward", -1),
    "mouthFrown": ("mouth corner up", -1),
    "mouthFunnel": ("inner lip distance", 1),
    "mouthLeft": ("mouth to the left", 1),
    "mouthLowerDown": ("lower lip up", -1),
    "mouthPress": ("lip distance at the side", -1),
    "mouthPucker": ("mouth corner outward", -1),
    "mouthRight": ("mouth to the left", -1),
    "mouthRollLower": ("lower lip height", -1),
    "mouthRollUpper": ("upper lip height", -1),
    "mouthShrugLower": ("lower lip center up", 1),
    "mouthShrugUpper": ("upper lip center up", 1),
    "mouthSmile": ("mouth corner up", 1),
    "mouthStretch": ("mouth corner outward", 1),
    "mouthUpperUp": ("upper lip up", 1),
    "noseSneer": ("nostril up", 1),
}


@dataclass(frozen=True)
class ColumnEffect:
    """Effect of a named column alone at score 1.

    Attributes:
        name: The blendshape.
        measure: Name of the measure that defines it.
        amount: Change of that measure in the right direction, in mm on a face with an eye distance of 63 mm; negative
            for the wrong direction.
        other_side: Change of the measure on the other side of the face, relative to `amount`; NaN if the name has no
            side.
        is_authored: Whether the column is hand-made because the landmark model never scores it.
    """

    name: str
    measure: str
    amount: float
    other_side: float
    is_authored: bool


def measure_columns(model: Face478) -> list[ColumnEffect]:
    """Return the effect of each blendshape but _neutral."""
    right_eye, left_eye = five_points(model.mean)[:2]
    millimeters = EYE_DISTANCE_MM / float(np.linalg.norm(right_eye - left_eye))
    mirror = pair_vertices(model.mean)
    effects = []
    for name in BLENDSHAPES[1:]:
        side = get_blendshape_side(name)
        measure, sign = DEFINITIONS[name.removesuffix(side)]
        column = model.expression_basis[:, :, blendshape_index(name)]
        left, right = (sign * measure_change(column, MEASURES[measure], mirror, s) for s in ("Left", "Right"))
        same_side, other_side = (right, left) if side == "Right" else (left, right)
        amount = same_side if side else (left + right) / 2
        effects.append(
            ColumnEffect(
                name,
                measure,
                amount * millimeters,
                other_side / same_side if side else float("nan"),
                name in UNSCORED_BLENDSHAPES,
            )
        )
    return effects


def measure_change(displacement: np.ndarray, measure: Measure, mirror: np.ndarray, side: str = "Left") -> float:
    """Return the change of a measure under a displacement of the face.

    Args:
        displacement: 478×3.
        measure: The measure.
        mirror: Counterpart of each vertex, 478.
        side: "Left" or "Right", for measures with sides.
    """
    of, relative_to, sign = np.array(measure.of), np.array(measure.relative_to), 1.0
    if measure.is_sided and side == "Right":
        of, relative_to = mirror[of], mirror[relative_to]
        sign = -1.0 if measure.axis == X else 1.0
    return sign * float(displacement[of, measure.axis].mean() - displacement[relative_to, measure.axis].mean())
