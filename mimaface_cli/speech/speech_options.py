"""Options of speech-driven motion."""

from dataclasses import dataclass, field
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.motion.track_meta import SPACES
from mimaface_cli.options import check_options, option
from mimaface_cli.speech.style_options import SpeechStyle

STYLES = 46  # head motion styles of SadTalker's pose network


@dataclass(frozen=True)
class SpeechOptions:
    """Options of motion tracks that are generated from speech.

    Attributes:
        space: Coefficient space: face478 (embedded networks) or bfm09 (SadTalker's networks).
        seed: Random seed of head motion, brows and blinks.
        pose_style: Head motion style of SadTalker's pose network (bfm09 only).
        expression_scale: Factor on the mouth motion.
        still: Whether the head does not move.
        pose_from: Track or video that provides the head motion, or None.
        blinks_from: Track or video that provides eyelids and gaze, or None.
        source: Photo or track of the face that will speak (bfm09 only), or None.
        checkpoint: SadTalker's weights (bfm09 only), or None for the installed ones.
        audio_stream: Number of the file's audio stream, from 1, or None for the main one.
        style: Emotion, head motion, blinks and idle motion (face478 only).
    """

    space: str = option(
        "face478",
        choices=SPACES,
        metavar="SPACE",
        help="face478: the embedded lip network. bfm09: SadTalker's networks, for the diffusion engine.",
    )
    seed: int = option(0, minimum=0, maximum=2**32 - 1, help="Random seed of head motion, brows and blinks.")
    pose_style: int = option(
        0, minimum=0, maximum=STYLES - 1, expert=True, help=f"Head motion style, 0 to {STYLES - 1} (bfm09 only)."
    )
    expression_scale: float = option(1.0, minimum=0, maximum=3, help="Factor on the mouth motion, 0 to 3.")
    still: bool = option(False, help="Keep the head still.")
    pose_from: Path | None = option(
        None,
        metavar="PATH",
        help="Track or video that provides the head motion; a shorter one plays back and forth.",
    )
    blinks_from: Path | None = option(None, metavar="PATH", help="Track or video that provides eyelids and gaze.")
    source: Path | None = option(
        None,
        metavar="PATH",
        expert=True,
        help="Face that will speak; SadTalker's networks take it as an input (bfm09 only).",
    )
    checkpoint: Path | None = option(
        None,
        metavar="FILE",
        expert=True,
        help="SadTalker's weights: its .safetensors file, or a folder of its older .pth files (bfm09 only).",
    )
    audio_stream: int | None = option(
        None, minimum=1, metavar="N", expert=True, help="Number of the audio stream to use, from 1."
    )
    style: SpeechStyle = field(default_factory=SpeechStyle)

    def __post_init__(self) -> None:
        check_options(self)
        if self.still and self.pose_from is not None:
            raise InputError("cannot be combined with `pose_from`. Give one of them.", field="still")
        self._check_style()
        if self.space == "face478":
            for name in ("pose_style", "source", "checkpoint"):
                if getattr(self, name):
                    raise InputError("needs SadTalker's networks. Set `space=bfm09`.", field=name)

    def _check_style(self) -> None:
        """Raise InputError for a style that another option overrules."""
        changed = self.style.changed_fields()
        if self.space != "face478" and changed:
            raise InputError("needs the embedded lip network. Set `space=face478`.", field=changed[0])
        for name, overruled in (("still", "head_motion"), ("pose_from", "head_motion"), ("blinks_from", "blink_rate")):
            if getattr(self, name) and overruled in changed:
                raise InputError(f"cannot be combined with `{name}`. Give one of them.", field=overruled)
