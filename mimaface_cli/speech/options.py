"""What a user may ask of speech."""

from dataclasses import dataclass
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.motion.track_meta import SPACES

STYLES = 46  # head motion styles of SadTalker's pose network


@dataclass(frozen=True)
class SpeechOptions:
    """space: face478 (embedded) or bfm09 (SadTalker's networks). seed: of all that is drawn. pose_style: 0 to 45, bfm09
    only. expression_scale: more or less of the mouth's movement. still: the head does not move. pose_from, blinks_from:
    a track or video whose head motion or eyes are taken. source: a photo or track of the face that will speak (bfm09).
    checkpoint: SadTalker's weights, None for the installed ones.
    """

    space: str = "face478"
    seed: int = 0
    pose_style: int = 0
    expression_scale: float = 1.0
    still: bool = False
    pose_from: Path | None = None
    blinks_from: Path | None = None
    source: Path | None = None
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise InputError(f"--space {self.space}: choose {' or '.join(SPACES)}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed {self.seed}: must lie between 0 and {2**32 - 1}")
        if not 0 <= self.pose_style < STYLES:
            raise InputError(f"--pose-style {self.pose_style}: must lie between 0 and {STYLES - 1}")
        if not 0 <= self.expression_scale <= 3:
            raise InputError(f"--expression-scale {self.expression_scale}: must lie between 0 and 3")
        if self.still and self.pose_from is not None:
            raise InputError("--still and --pose-from: the head either stays or moves; give one of them")
        if self.space == "face478":
            for name, given in (
                ("--pose-style", self.pose_style),
                ("--source", self.source),
                ("--checkpoint", self.checkpoint),
            ):
                if given:
                    raise InputError(f"{name}: belongs to SadTalker's networks; add --space bfm09")
