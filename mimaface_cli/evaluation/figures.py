"""The figures that are measured: their names, what they mean and which way is better; the paper's own beside them."""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

REVISION = 1
"""Raise it when a figure changes its meaning: kept figures are then made anew."""


@dataclass(frozen=True)
class Figure:
    """better: which way; "" where neither is. whole: of a whole run, not of one result."""

    name: str
    group: str
    label: str
    better: Literal["higher", "lower", "zero", ""]
    decimals: int
    about: str
    unit: str = ""
    whole: bool = False

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", "zero": "→ 0", "": ""}[self.better]

    def text(self, value: float) -> str:
        """The value with its unit."""
        unit = f" {self.unit}" if self.unit not in ("", "%", "°") else self.unit
        return f"{value:.{self.decimals}f}{unit}"


_PICTURE, _MOTION, _IDENTITY = "Picture against the driver (same identity)", "Motion", "Identity"
_TIME, _REALISM = "Over time", "Realism of the whole set"
FIGURES = (
    Figure("psnr", _PICTURE, "PSNR", "higher", 2, "peak signal-to-noise ratio, mean over frames", "dB"),
    Figure("ssim", _PICTURE, "SSIM", "higher", 4, "structural similarity of the luma, 11x11 Gaussian window"),
    Figure("lpips", _PICTURE, "LPIPS", "lower", 4, "distance seen by AlexNet (version 0.1)"),
    Figure(
        "expression", _MOTION, "expression (face478)", "lower", 3, "mean distance of the 64 expression coefficients"
    ),
    Figure("pose", _MOTION, "pose (face478)", "lower", 4, "mean distance of the six pose coefficients"),
    Figure("gaze", _MOTION, "gaze (face478)", "lower", 4, "mean distance of the four gaze angles in rad"),
    Figure("rotation", _MOTION, "head rotation", "lower", 2, "mean angle between both heads", "°"),
    Figure(
        "correlation",
        _MOTION,
        "blendshapes, correlation",
        "higher",
        3,
        "over time, mean of the named expressions that the driver moves",
    ),
    Figure("expression_bfm09", _MOTION, "Exp (bfm09)", "lower", 3, "as the paper measures it, by D3DFR"),
    Figure("pose_bfm09", _MOTION, "Pose (bfm09)", "lower", 4, "as the paper measures it, by D3DFR"),
    Figure("gaze_bfm09", _MOTION, "Gaze (bfm09)", "lower", 4, "as the paper measures it, by D3DFR"),
    Figure("csim", _IDENTITY, "CSIM", "higher", 4, "cosine similarity to the source by CurricularFace"),
    Figure(
        "identity_dlib",
        _IDENTITY,
        "identity (dlib)",
        "lower",
        3,
        "distance to the source by dlib's network, below 0.6 counts as one person; not ArcFace, not to be set "
        "beside papers",
    ),
    Figure(
        "identity_drift",
        _IDENTITY,
        "identity drift",
        "zero",
        3,
        "how much farther from the source the last fifth is than the first (CurricularFace where it is there, "
        "else dlib)",
    ),
    Figure("face_share", _TIME, "frames with a face", "higher", 1, "share in which a face is found", "%"),
    Figure("jitter", _TIME, "jitter", "lower", 3, "second difference of the face's points, of the face's size", "%"),
    Figure("jitter_ratio", _TIME, "jitter against the driver", "", 2, "1 is as steady as the driver"),
    Figure(
        "flicker", _TIME, "flicker, picture", "lower", 2, "amplitude of brightness from frame to frame", "gray levels"
    ),
    Figure("flicker_face", _TIME, "flicker, face", "lower", 2, "the same on the face, followed", "gray levels"),
    Figure(
        "border_jump",
        _TIME,
        "clip-border jump",
        "lower",
        2,
        "how far regular jumps exceed the change around them; 0 where none stand out",
        "gray levels",
    ),
    Figure("border_period", _TIME, "frames between such jumps", "", 0, "the clip length that shows"),
    Figure("mouth_lag", _TIME, "mouth after the driver's", "zero", 0, "by the opening of the lips over time", "ms"),
    Figure(
        "sync_offset",
        _TIME,
        "sound after mouth",
        "zero",
        0,
        "against the driver, whose sound and mouth count as in time",
        "ms",
    ),
    Figure(
        "sync_speech",
        _TIME,
        "sound after mouth, by itself",
        "zero",
        0,
        "loudness of the speech band against the jaw: coarse (about 150 ms), no SyncNet",
        "ms",
    ),
    Figure("sync_correlation", _TIME, "loudness and jaw, correlation", "higher", 2, "at that offset"),
    Figure(
        "fid",
        _REALISM,
        "FID",
        "lower",
        2,
        "Fréchet distance of Inception features, results against drivers",
        whole=True,
    ),
    Figure("fvd", _REALISM, "FVD", "lower", 1, "Fréchet distance of I3D features, clips of 16 frames", whole=True),
)
BY_NAME = {figure.name: figure for figure in FIGURES}


@lru_cache(maxsize=1)
def paper_tables() -> dict[str, Any]:
    """Tables 1 (`same`, `cross`) and 2 (`temporal`) of the paper: method to column to value; `columns`: the figure of
    FIGURES that each column is.
    """
    return json.loads(files(__package__).joinpath("paper_tables.json").read_text("utf-8"))
