"""Which values are better, for the figures that engine selection compares."""

from dataclasses import dataclass


@dataclass(frozen=True)
class _Direction:
    better: str


BY_NAME = {
    **{name: _Direction("higher") for name in ("psnr", "ssim")},
    **{name: _Direction("lower") for name in ("expression", "pose", "gaze", "identity_dlib", "jitter")},
}
"""Direction by metric name."""
