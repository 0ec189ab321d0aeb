"""Channels: named curves of head, gaze and expression that users edit, in degrees and scores.

Left is the subject's left, which is on the right of the image. Left and up are positive: positive yaw turns the head to
the left, positive roll tilts it to the left, and positive pitch lifts it; positive gazeYaw looks left, positive
gazePitch up. Angles are in degrees; x, y and z are in model units (half a face); expressions are scores from 0 to 1. A
name without a side means both sides: mouthSmile is mouthSmileLeft and mouthSmileRight. gazeYaw and gazePitch are the
mean of both eyes. Setting them turns both eyes together and preserves the angle between them.
"""

import difflib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM

ArrayName = Literal["expression", "pose", "gaze"]
_Definition = tuple[ArrayName, tuple[int, ...], float, float, float]  # the fields of Channel after its name

NAMED_EXPRESSIONS = tuple(BLENDSHAPES[1:])  # _neutral is no movement
NUMBERED_EXPRESSIONS = tuple(f"exp{column}" for column in range(EXPRESSION_DIM))
EXPRESSION_MIN, EXPRESSION_MAX = -1.0, 1.5  # range of a named expression: wider than a score, for caricature
NUMBERED_LIMIT = 20.0  # largest magnitude of a numbered expression

_DEGREE = math.pi / 180
_RIGID: dict[str, _Definition] = {
    "yaw": ("pose", (1,), _DEGREE, -90.0, 90.0),
    "pitch": ("pose", (0,), -_DEGREE, -90.0, 90.0),
    "roll": ("pose", (2,), -_DEGREE, -90.0, 90.0),
    "x": ("pose", (3,), 1.0, -5.0, 5.0),
    "y": ("pose", (4,), 1.0, -5.0, 5.0),
    "z": ("pose", (5,), 1.0, -5.0, 5.0),
}
_GAZE: dict[str, _Definition] = {
    "gazeYaw": ("gaze", (0, 2), _DEGREE, -45.0, 45.0),
    "gazePitch": ("gaze", (1, 3), _DEGREE, -45.0, 45.0),
    "gazeYawLeft": ("gaze", (0,), _DEGREE, -45.0, 45.0),
    "gazePitchLeft": ("gaze", (1,), _DEGREE, -45.0, 45.0),
    "gazeYawRight": ("gaze", (2,), _DEGREE, -45.0, 45.0),
    "gazePitchRight": ("gaze", (3,), _DEGREE, -45.0, 45.0),
}
# In bfm09 the gaze consists of four outputs of the network.
_NETWORK_GAZE: dict[str, _Definition] = {f"gaze{column}": ("gaze", (column,), 1.0, -10.0, 10.0) for column in range(4)}
# Channels of each space that together cover every column of head, gaze and expression once.
COLUMN_CHANNELS: dict[str, tuple[str, ...]] = {
    "face478": (
        *_RIGID,
        *("gazeYawLeft", "gazePitchLeft", "gazeYawRight", "gazePitchRight"),
        *("exp0", *NAMED_EXPRESSIONS, *NUMBERED_EXPRESSIONS[len(NAMED_EXPRESSIONS) + 1 :]),
    ),
    "bfm09": (*_RIGID, *_NETWORK_GAZE, *NUMBERED_EXPRESSIONS),
}
# Expressions that combine several channels, as values to add.
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
    """Linear fit of the named expressions to the coefficients of another space.

    Args:
        directions: (51, 64), what one unit of each of NAMED_EXPRESSIONS adds to the coefficients.
        readers: (51, 64), weights that read each named expression from the coefficients.
        residuals: (51,), share of each movement that the other space cannot represent, 0 to 1.
    """

    directions: np.ndarray
    readers: np.ndarray
    residuals: np.ndarray


@dataclass(frozen=True, eq=False)
class Channel:
    """One editable curve of a track.

    Most channels are columns of one array. gazeYaw, gazePitch and, in bfm09, the named expressions are linear
    combinations of columns instead.

    Args:
        name: Name of the curve.
        array: Array of the track that holds it.
        columns: Its columns in the array.
        unit_size: Coefficient units per unit of the curve (π/180 for degrees); negative where the signs are opposite.
        low: Lowest value, in the curve's unit.
        high: Highest value, in the curve's unit.
        directions: (K, D), what a linear combination adds to the array, or None for plain columns.
        readers: (K, D), weights that read a linear combination from the array, or None for plain columns.
        residual: Share of the movement that the combination misses, see ExpressionMap.
    """

    name: str
    array: ArrayName
    columns: tuple[int, ...]
    unit_size: float
    low: float
    high: float
    directions: np.ndarray | None = None
    readers: np.ndarray | None = None
    residual: float = 0.0

    @property
    def unit(self) -> str:
        """Unit of the curve: degrees, units (of the model), score, or number (no physical meaning)."""
        if abs(self.unit_size) != 1:
            return "degrees"
        if self.array == "pose":
            return "units"
        return "number" if self.array == "gaze" or self.name in NUMBERED_EXPRESSIONS else "score"

    def read(self, array: np.ndarray) -> np.ndarray:
        """Read the curve from the track's array.

        Args:
            array: (N, D), the track's array with the name in the field `array`.

        Returns:
            (N, K) values in the curve's unit, one column for each side.
        """
        values = array[:, self.columns] if self.readers is None else array @ self.readers.T
        return values / self.unit_size

    def write(self, array: np.ndarray, values: np.ndarray) -> None:
        """Set the curve in the track's array, in place.

        Args:
            array: (N, D) float64, the track's array with the name in the field `array`.
            values: (N, K) values in the curve's unit.
        """
        if self.readers is None or self.directions is None:
            array[:, self.columns] = values * self.unit_size
        else:
            array += (values * self.unit_size - array @ self.readers.T) @ self.directions


def find_channel(
    name: str, space: str, expression_map: ExpressionMap | None = None, *, field: str | None = None
) -> Channel:
    """Return the channel of a name.

    Args:
        name: Name of the curve.
        space: Space of the track.
        expression_map: Map of the named expressions to the bfm09 space.
        field: Option that the name comes from, for the message.

    Raises:
        InputError: For an unknown name; the message suggests the nearest ones.
        WeightsError: For a named expression in bfm09 without its map.
    """
    rigid = _RIGID | _gaze_definitions(space)
    if name in ("gazeYaw", "gazePitch") and name in rigid:
        both_eyes = np.isin(np.arange(4), rigid[name][1]).astype(float)[None]
        return Channel(name, *rigid[name], directions=both_eyes, readers=both_eyes / 2)
    if name in rigid:
        return Channel(name, *rigid[name])
    if name in NUMBERED_EXPRESSIONS:
        return Channel(name, "expression", (int(name[3:]),), 1.0, -NUMBERED_LIMIT, NUMBERED_LIMIT)
    sides = _named_sides(name)
    if sides and space == "face478":
        columns = tuple(BLENDSHAPES.index(side) for side in sides)
        return Channel(name, "expression", columns, 1.0, EXPRESSION_MIN, EXPRESSION_MAX)
    if sides and expression_map is not None:
        return _mapped_channel(name, sides, expression_map)
    if sides:
        raise WeightsError(
            f"{name}: named expressions in the {space} space need its face model. Set `bfm` to the file "
            "BFM09_model_info.mat, install it with the released weights, or use exp0 to "
            f"{NUMBERED_EXPRESSIONS[-1]} instead.",
            field=field,
        )
    if name in _GAZE:
        raise InputError(f"{name}: the {space} space has no gaze angles. Use gaze0 to gaze3.", field=field)
    raise InputError(f"{name[:40]}: unknown curve. {_suggest_names(name, channel_names(space))}", field=field)


def parse_preset(text: str) -> tuple[str, float]:
    """Parse `smile` or `smile=0.6`.

    Returns:
        Name of the preset, and the strength at which to add it, 0 to 1.5.

    Raises:
        InputError: For an unknown preset or a share out of range.
    """
    name, _, share = text.partition("=")
    if name not in PRESETS:
        raise InputError(f"{name[:40]}: unknown preset. {_suggest_names(name, list(PRESETS))}", field="presets")
    return name, parse_number(share, text[:60], 0.0, EXPRESSION_MAX, field="presets") if share else 1.0


def channel_names(space: str = "face478") -> list[str]:
    """Return the names of all channels of a space; names for both sides come before names of single sides."""
    both_sides = [
        name.removesuffix("Left")
        for name in NAMED_EXPRESSIONS
        if name.endswith("Left") and len(_named_sides(name.removesuffix("Left"))) == 2
    ]
    return [*_RIGID, *_gaze_definitions(space), *both_sides, *NAMED_EXPRESSIONS, *NUMBERED_EXPRESSIONS]


def split_sides(name: str) -> tuple[str, ...]:
    """Return the names of the sides: mouthSmileLeft and mouthSmileRight for mouthSmile, jawOpen for jawOpen."""
    return _named_sides(name) or (name,)


def parse_number(text: str, label: str, low: float, high: float, *, field: str | None = None) -> float:
    """Parse a finite number.

    Args:
        text: The number, in plain ASCII digits.
        label: Place or text of the number, the start of the error message.
        low: Lowest value.
        high: Highest value.
        field: Option that the number comes from, for the message.

    Raises:
        InputError: For text that is not a finite number, or a number out of range.
    """
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    expected = f"Give a number from {low:g} to {high:g}."
    if not math.isfinite(value):
        raise InputError(f"{label}: {text[:30]!r} is not a number. {expected}", field=field)
    if not low <= value <= high:
        raise InputError(f"{label}: {value:g} is out of range. {expected}", field=field)
    return value


def _gaze_definitions(space: str) -> dict[str, _Definition]:
    return _GAZE if space == "face478" else _NETWORK_GAZE


def _mapped_channel(name: str, sides: tuple[str, ...], expression_map: ExpressionMap) -> Channel:
    """Return the channel of a named expression in a space where it is a linear combination."""
    rows = [NAMED_EXPRESSIONS.index(side) for side in sides]
    return Channel(
        name,
        "expression",
        (),
        1.0,
        EXPRESSION_MIN,
        EXPRESSION_MAX,
        directions=expression_map.directions[rows],
        readers=expression_map.readers[rows],
        residual=float(expression_map.residuals[rows].mean()),
    )


def _named_sides(name: str) -> tuple[str, ...]:
    """Return the named expressions of a name: itself, its two sides, or none.

    mouth and jaw are refused: mouthLeft is a movement to the left, not the left side of a movement.
    """
    if name in NAMED_EXPRESSIONS:
        return (name,)
    sides = name + "Left", name + "Right"
    return sides if name not in ("mouth", "jaw") and all(side in NAMED_EXPRESSIONS for side in sides) else ()


def _suggest_names(name: str, known: list[str]) -> str:
    by_lower = {other.lower(): other for other in known}
    nearest = [by_lower[other] for other in difflib.get_close_matches(name.lower(), by_lower, 3, 0.5)]
    return f"Did you mean {', '.join(nearest)}?" if nearest else "Run mimaface edit --list to see all names."
