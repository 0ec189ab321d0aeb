"""Options of the style of speech-driven motion: emotion, head motion, blinks and idle motion."""

from dataclasses import dataclass, fields

from mimaface_cli.errors import InputError
from mimaface_cli.options import check_options, option

EMOTIONS = ("happy", "sad", "angry", "surprised", "calm")
_EMOTION_LIST = f"{', '.join(EMOTIONS[:-1])} or {EMOTIONS[-1]}"


@dataclass(frozen=True)
class SpeechStyle:
    """Style of a speaker.

    Attributes:
        emotion: Name of an emotion, or name and strength from 0 to 1 as in "happy=0.6"; None for a neutral speaker.
        head_motion: Factor on the generated head motion.
        blink_rate: Mean number of blinks per minute.
        idle: Factor on the idle motion: breath, glances, small movements of the face.
    """

    emotion: str | None = option(
        None, metavar="NAME=X", expert=True, help=f"Emotion of speech: {_EMOTION_LIST}; X from 0 to 1."
    )
    head_motion: float = option(
        1.0, minimum=0, maximum=2, metavar="X", expert=True, help="Factor on the head motion of speech, 0 to 2."
    )
    blink_rate: float = option(
        15.0, minimum=0, maximum=60, unit="per minute", metavar="N", expert=True, help="Blinks per minute, 0 to 60."
    )
    idle: float = option(
        1.0, minimum=0, maximum=2, metavar="X", expert=True, help="Factor on breath, glances and drift, 0 to 2."
    )

    def __post_init__(self) -> None:
        check_options(self)
        parse_emotion(self.emotion)

    def changed_fields(self) -> list[str]:
        """Return the names of the fields that differ from their defaults."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]


def parse_emotion(text: str | None) -> tuple[str, float] | None:
    """Return name and strength of an emotion, or None.

    Args:
        text: NAME or NAME=STRENGTH; without a strength it is 1.

    Raises:
        InputError: If the name is unknown, or the strength is not a number from 0 to 1.
    """
    if text is None:
        return None
    name, separator, number = text.partition("=")
    if name not in EMOTIONS:
        raise InputError(f"unknown emotion {name[:40]!r}. Choose {_EMOTION_LIST}.", field="emotion")
    try:
        strength = float(number) if separator else 1.0
    except ValueError:
        strength = -1.0
    if not 0 <= strength <= 1:  # false for NaN too
        raise InputError(
            f"{number[:40]!r} is not a strength. Give a number from 0 to 1, such as {name}=0.6.", field="emotion"
        )
    return name, strength
