"""What can be edited by name: head, place, gaze and expression as curves in units people think in.

Left is always the subject's own left (right in the picture). Positive is left and up: yaw turns and roll tilts the head
to its left, pitch lifts it; gazeYaw looks left, gazePitch up. Angles are in degrees, x, y, z in model units (half a
face), expressions in scores of 0..1. A name without its side stands for both: mouthSmile is mouthSmileLeft and
mouthSmileRight. gazeYaw and gazePitch are the mean of both eyes, which turn together and keep the angle between them.
"""

import difflib
import math
from dataclasses import dataclass

import numpy as np

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM

NAMED_EXPRESSIONS = tuple(BLENDSHAPES[1:])  # the first is no movement
NUMBERED_EXPRESSIONS = tuple(f"exp{k}" for k in range(EXPRESSION_DIM))
DEGREE = math.pi / 180
# name: array, columns, coefficient units in one of the name's, lowest, highest
_RIGID = {
    "yaw": ("pose", (1,), DEGREE, -90.0, 90.0),
    "pitch": ("pose", (0,), -DEGREE, -90.0, 90.0),
    "roll": ("pose", (2,), -DEGREE, -90.0, 90.0),
    "x": ("pose", (3,), 1.0, -5.0, 5.0),
    "y": ("pose", (4,), 1.0, -5.0, 5.0),
    "z": ("pose", (5,), 1.0, -5.0, 5.0),
}
_GAZE = {
    "gazeYaw": ("gaze", (0, 2), DEGREE, -45.0, 45.0),
    "gazePitch": ("gaze", (1, 3), DEGREE, -45.0, 45.0),
    "gazeYawLeft": ("gaze", (0,), DEGREE, -45.0, 45.0),
    "gazePitchLeft": ("gaze", (1,), DEGREE, -45.0, 45.0),
    "gazeYawRight": ("gaze", (2,), DEGREE, -45.0, 45.0),
    "gazePitchRight": ("gaze", (3,), DEGREE, -45.0, 45.0),
}
_RAW_GAZE = {f"gaze{k}": ("gaze", (k,), 1.0, -10.0, 10.0) for k in range(4)}  # bfm09: the network's own numbers
LOWEST, HIGHEST = -1.0, 1.5  # of a named expression: scores with room for caricature
NUMBER_LIMIT = 20.0  # standard deviations and more
# Expressions made of several names, to be added in shares.
PRESETS: dict[str, dict[str, float]] = {
    "smile": {"mouthSmile": 0.8, "eyeSquint": 0.3, "mouthDimple": 0.1},
    "laugh": {"mouthSmile": 1.0, "jawOpen": 0.4, "eyeSquint": 0.5, "mouthUpperUp": 0.3, "browInnerUp": 0.2},
    "surprise": {"browInnerUp": 0.9, "browOuterUp": 0.8, "eyeWide": 0.7, "jawOpen": 0.35},
    "sad": {"mouthFrown": 0.7, "browInnerUp": 0.7, "mouthShrugLower": 0.4, "eyeSquint": 0.15},
    "angry": {"browDown": 0.9, "mouthPress": 0.5, "eyeSquint": 0.4, "mouthFrown": 0.3},
    "disgust": {"mouthUpperUp": 0.5, "browDown": 0.5, "eyeSquint": 0.5, "mouthFrown": 0.3},
    "kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.2},
    "winkLeft": {"eyeBlinkLeft": 1.0, "eyeSquintLeft": 0.4, "mouthSmileLeft": 0.3},
    "winkRight": {"eyeBlinkRight": 1.0, "eyeSquintRight": 0.4, "mouthSmileRight": 0.3},
}


@dataclass(frozen=True, eq=False)
class ExpressionMap:
    """How the named expressions show in another space, by a linear fit. directions: 51×64, what one unit of each of
    NAMED_EXPRESSIONS adds to the coefficients; readers: 51×64, what they read from them; residuals: 51, the share of each
    movement that the other space cannot make, 0..1.
    """

    directions: np.ndarray
    readers: np.ndarray
    residuals: np.ndarray


@dataclass(frozen=True, eq=False)
class Channel:
    """One editable curve. array: expression, pose or gaze, and its columns; unit: coefficient units in one of the
    curve's own; low, high: its range in its own units. directions, readers: K×D, how a curve that is no column of its
    own adds to the array and is read from it; residual: the share of a movement that they miss (see ExpressionMap).
    """

    name: str
    array: str
    columns: tuple[int, ...]
    unit: float
    low: float
    high: float
    directions: np.ndarray | None = None
    readers: np.ndarray | None = None
    residual: float = 0.0

    def read(self, array: np.ndarray) -> np.ndarray:
        """The curve in the track's array of that name (N×D): N×K in the curve's own units, K: sides."""
        return (array[:, self.columns] if self.readers is None else array @ self.readers.T) / self.unit

    def write(self, array: np.ndarray, values: np.ndarray) -> None:
        """Bring the curve in such an array (float64) to values (N×K, own units)."""
        if self.readers is None:
            array[:, self.columns] = values * self.unit
        else:
            array += (values * self.unit - array @ self.readers.T) @ self.directions


def find_channel(name: str, space: str, named: ExpressionMap | None = None) -> Channel:
    """The channel of a name in a space. named: for expression names in bfm09. Raises InputError, with the nearest
    names where there is none such, and WeightsError for a name in bfm09 without its map.
    """
    gaze = _GAZE if space == "face478" else _RAW_GAZE
    rigid = _RIGID | gaze
    if name in ("gazeYaw", "gazePitch") and name in rigid:
        both = np.isin(np.arange(4), rigid[name][1]).astype(float)[None]
        return Channel(name, *rigid[name], directions=both, readers=both / 2)
    if name in rigid:
        return Channel(name, *rigid[name])
    if name in NUMBERED_EXPRESSIONS:
        return Channel(name, "expression", (int(name[3:]),), 1.0, -NUMBER_LIMIT, NUMBER_LIMIT)
    sides = _sides(name)
    if sides and space == "face478":
        return Channel(name, "expression", tuple(BLENDSHAPES.index(side) for side in sides), 1.0, LOWEST, HIGHEST)
    if sides and named is not None:
        rows = [NAMED_EXPRESSIONS.index(side) for side in sides]
        residual = float(named.residuals[rows].mean())
        linear = named.directions[rows], named.readers[rows], residual
        return Channel(name, "expression", (), 1.0, LOWEST, HIGHEST, *linear)
    if sides:
        raise WeightsError(
            f"{name}: in the {space} space names need its face model, BFM09_model_info.mat; give it with --bfm FILE, "
            f"install it with the released weights, or use numbers, exp0 to exp{EXPRESSION_DIM - 1}"
        )
    if name in _GAZE:
        raise InputError(f"{name}: in the {space} space gaze is four numbers of its network; use gaze0 to gaze3")
    raise InputError(f"{name[:40]}: nothing is called so{_nearest(name, channel_names(space))}")


def parse_preset(text: str) -> tuple[str, float]:
    """`smile` or `smile=0.6` to a preset's name and its share 0..1.5. Raises InputError."""
    name, _, amount = text.partition("=")
    if name not in PRESETS:
        raise InputError(f"--preset {name[:40]}: no such preset{_nearest(name, list(PRESETS))}")
    return name, parse_number(amount, f"--preset {text}", 0.0, HIGHEST) if amount else 1.0


def channel_names(space: str = "face478") -> list[str]:
    """Every name that can be edited in a space, both sides together first."""
    both = [
        name.removesuffix("Left") for name in NAMED_EXPRESSIONS if name.endswith("Left") and len(_sides(name[:-4])) == 2
    ]
    gaze = _GAZE if space == "face478" else _RAW_GAZE
    return [*_RIGID, *gaze, *both, *NAMED_EXPRESSIONS, *NUMBERED_EXPRESSIONS]


def split_sides(name: str) -> tuple[str, ...]:
    """The names of the sides that a name stands for: mouthSmile to mouthSmileLeft, mouthSmileRight; else itself."""
    return _sides(name) or (name,)


def parse_number(text: str, where: str, low: float, high: float) -> float:
    """A finite number within low..high. Raises InputError that begins with `where`."""
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {text[:30]!r} is not a number")
    if not low <= value <= high:
        raise InputError(f"{where}: must lie between {low:g} and {high:g}")
    return value


def _sides(name: str) -> tuple[str, ...]:
    """The named expressions that a name stands for: itself, or its two sides; () for none. mouthLeft is a movement to
    the left, not the left side of one.
    """
    if name in NAMED_EXPRESSIONS:
        return (name,)
    pair = name + "Left", name + "Right"
    return pair if name not in ("mouth", "jaw") and all(side in NAMED_EXPRESSIONS for side in pair) else ()


def _nearest(name: str, known: list[str]) -> str:
    lower = {other.lower(): other for other in known}
    found = [lower[other] for other in difflib.get_close_matches(name.lower(), lower, 3, 0.5)]
    return f"; did you mean {', '.join(found)}?" if found else "; mimaface edit --list shows all names"
