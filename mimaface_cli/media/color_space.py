"""Color spaces of frames with more than 8 bits per channel, and their 8-bit previews, which engines render on.

A preview keeps the primaries of its frame, and its channels are increasing functions of the frame's channels. So colors
that are rendered on a preview return to the frame's space without loss: HDR highlights and wide gamuts stay.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from av.video.frame import VideoFrame

from mimaface_cli.media.color import HDR_TRANSFERS, WIDE_GAMUT_PRIMARIES, default_matrix_code, side_data

PQ, HLG = 16, 18
REFERENCE_WHITE = 203.0
"""Luminance of diffuse white in HDR, cd/m². Source: ITU-R BT.2408."""

_PEAK = 10_000.0  # cd/m² of the largest PQ value
_UNSPECIFIED = 2
_KNOWN_MATRICES = (1, 4, 5, 6, 7, 9)
_MAX_CODE = 65535
_INVERSE_STEPS = 16  # entries of the inverse curve for each level of the preview
_PREVIEW_GAMMA = 2.2
_MASTERING_SIZE = 88  # bytes of AVMasteringDisplayMetadata


@dataclass(frozen=True, slots=True)
class ColorSpace:
    """How the values of a frame stand for colors: code points of ISO/IEC 23091-2, or an ICC profile.

    Args:
        primaries: Primaries.
        transfer: Transfer characteristics.
        matrix: Matrix of the frame in YUV.
        profile: ICC profile, which replaces the code points, or None.
        mastering: HDR10 description of the mastering display as x265 writes it, or "".
        light_level: HDR10 content light level, "maximum,average" in cd/m², or "".
        has_dynamic_metadata: Whether the frame has HDR10+ or Dolby Vision metadata.
    """

    primaries: int = 1
    transfer: int = 1
    matrix: int = 1
    profile: bytes | None = None
    mastering: str = ""
    light_level: str = ""
    has_dynamic_metadata: bool = False

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer is PQ or HLG."""
        return self.transfer in HDR_TRANSFERS

    @property
    def is_wide(self) -> bool:
        """Whether a file must state the code points, because the colors are not those of BT.709 and sRGB."""
        return self.is_hdr or self.primaries in WIDE_GAMUT_PRIMARIES

    def preview(self, values: np.ndarray) -> np.ndarray:
        """Return 16-bit values of any shape as 8-bit values of the preview."""
        return np.take(_preview_curve(self.transfer)[1], values)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Return values of the preview as 16-bit values; the inverse of `preview`.

        Args:
            values: float32 of any shape, 0 to 255.

        Returns:
            float32, 0 to 65535.
        """
        if self.transfer != PQ:
            return values * np.float32(_MAX_CODE / 255)
        position = values * np.float32(_INVERSE_STEPS)
        index = position.astype(np.int32)
        low, step = _inverse_curve()
        return low[index] + (position - index) * step[index]


def color_space(frame: VideoFrame) -> ColorSpace:
    """Return the color space that a decoded frame states; what it does not state is as players assume."""
    attached = side_data(frame)
    default = default_matrix_code(frame.width, frame.height)
    primaries = 1 if frame.color_primaries in (0, _UNSPECIFIED) else int(frame.color_primaries)
    matrix = int(frame.colorspace)
    if frame.format.is_rgb or matrix not in _KNOWN_MATRICES:
        matrix = 9 if primaries == 9 else default
    return ColorSpace(
        primaries,
        1 if frame.color_trc in (0, _UNSPECIFIED) else int(frame.color_trc),
        matrix,
        mastering=_describe_mastering(bytes(attached.get("MASTERING_DISPLAY_METADATA", b""))),
        light_level=_describe_light_level(bytes(attached.get("CONTENT_LIGHT_LEVEL", b""))),
        has_dynamic_metadata=any(name in attached for name in ("DYNAMIC_HDR_PLUS", "DOVI_METADATA")),
    )


def _describe_mastering(data: bytes) -> str:
    """Return the colors and the luminance of a mastering display: G(x,y)B(x,y)R(x,y)WP(x,y)L(maximum,minimum)."""
    if len(data) < _MASTERING_SIZE:
        return ""
    numbers = np.frombuffer(data[:_MASTERING_SIZE], np.int32)
    pairs, flags = numbers[:20].reshape(10, 2), numbers[20:]
    if not flags.all() or not (pairs[:, 1] > 0).all():
        return ""
    values = pairs[:, 0] / pairs[:, 1]
    x_red, y_red, x_green, y_green, x_blue, y_blue, x_white, y_white = np.rint(values[:8] * 50_000).astype(int)
    darkest, brightest = np.rint(values[8:] * 10_000).astype(int)
    return (
        f"G({x_green},{y_green})B({x_blue},{y_blue})R({x_red},{y_red})WP({x_white},{y_white})L({brightest},{darkest})"
    )


def _describe_light_level(data: bytes) -> str:
    if len(data) < 8:
        return ""
    return ",".join(str(value) for value in np.frombuffer(data[:8], np.uint32))


def pq_to_light(values: np.ndarray) -> np.ndarray:
    """Return the luminance in cd/m² of PQ values in 0..1. Source: SMPTE ST 2084."""
    power = np.maximum(values, 0) ** (1 / 78.84375)
    return _PEAK * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)


def hlg_to_light(values: np.ndarray) -> np.ndarray:
    """Return the light of a scene, 0..1, of HLG values in 0..1. Source: ITU-R BT.2100, inverse OETF."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(values <= 0.5, values**2 / 3, (np.exp((np.maximum(values, 0.5) - c) / a) + b) / 12)


@cache
def _preview_curve(transfer: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the preview of each 16-bit value, as float64 and rounded to uint8.

    HLG, as SDR, looks right on a screen. PQ is compressed: diffuse white becomes three quarters of the range, and
    10,000 cd/m² all of it.
    """
    codes = np.arange(_MAX_CODE + 1) / _MAX_CODE
    if transfer == PQ:
        light, white = pq_to_light(codes) / REFERENCE_WHITE, _PEAK / REFERENCE_WHITE
        # Source: E. Reinhard et al., "Photographic Tone Reproduction for Digital Images", Eq. (4).
        codes = (light * (1 + light / white**2) / (1 + light)) ** (1 / _PREVIEW_GAMMA)
    levels = codes * 255
    return levels, np.rint(levels).astype(np.uint8)


@cache
def _inverse_curve() -> tuple[np.ndarray, np.ndarray]:
    """Return 16-bit PQ values at each step of the preview, and the distance to the next one, float32."""
    steps = np.arange(255 * _INVERSE_STEPS + 1) / _INVERSE_STEPS
    values = np.interp(steps, _preview_curve(PQ)[0], np.arange(_MAX_CODE + 1))
    return values.astype(np.float32), np.diff(values, append=values[-1]).astype(np.float32)
