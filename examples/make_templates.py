"""Make the template tracks nod, shake, smile, look_around and talk. Each starts and ends at rest.

    python examples/make_templates.py --overwrite

The curves are written by hand: named blendshapes, head angles in degrees, and gaze. Nothing was filmed.
"""

import argparse
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from make_driver import (
    FRAME_RATE,
    FULL_LOOK,
    SACCADE,
    CurvePoints,
    GazeTargets,
    add_blendshape,
    add_blinks,
    add_gaze_blendshapes,
    articulate,
    build_track,
    compute_sway,
    counter_rotation,
    interpolate_curve,
    sample_times,
    smooth_head,
    smoothstep,
)

from mimaface_cli.errors import MimafaceError
from mimaface_cli.motion.track import MotionTrack

FOLDER = Path(__file__).parent
SPEECH_STRENGTH = 0.8  # relative to the driver: without audio, smaller mouth movements look right
SWAY = 0.35  # amplitude of the idle head motion, in degrees
REST: CurvePoints = ((0, 0), (1, 0))
CONSONANT_SECONDS = {
    **{"m": 0.09, "b": 0.08, "p": 0.09, "f": 0.09, "v": 0.07},
    **{"s": 0.10, "t": 0.06, "d": 0.06, "n": 0.07},
}
OTHER_CONSONANT_SECONDS = 0.075
VOWEL_INITIALS = "aeiouæɐʌəɪɛ"


@dataclass(frozen=True)
class Template:
    """The curves of a template track.

    Attributes:
        seconds: Duration.
        nod: Head angle in degrees, positive down.
        turn: Head angle in degrees, positive to the subject's left.
        tilt: Head angle in degrees, positive to the subject's right.
        gaze_targets: Gaze in degrees; each target holds until the next.
        blinks: Times of closed lids, in seconds.
        blendshapes: Names (without a side for both sides) and curves of coefficients.
        head_share: Part of each gaze change that the head follows, 0 to 1.
        phonemes: Start in seconds and IPA of each phoneme; an empty phoneme is silence.
    """

    seconds: float
    nod: CurvePoints = REST
    turn: CurvePoints = REST
    tilt: CurvePoints = REST
    gaze_targets: GazeTargets = ()
    blinks: tuple[float, ...] = ()
    blendshapes: tuple[tuple[str, CurvePoints], ...] = ()
    head_share: float = 0.0
    phonemes: tuple[tuple[float, str], ...] = ()


def time_phonemes(words: str, start: float) -> tuple[tuple[float, str], ...]:
    """Assign times to phonemes at a lively pace.

    Args:
        words: Phonemes separated by spaces, words separated by "|".
        start: Time of the first phoneme, in seconds.

    Returns:
        Start and IPA of each phoneme, with a silence (empty) after each word and a longer one after every fourth.
    """
    time = start
    phonemes = []
    for k, word in enumerate(words.split("|")):
        vowel_seconds = 0.13 + 0.03 * (k % 3)
        for phoneme in word.split():
            phonemes.append((time, phoneme))
            is_vowel = phoneme[0] in VOWEL_INITIALS
            default = vowel_seconds if is_vowel else OTHER_CONSONANT_SECONDS
            time += CONSONANT_SECONDS.get(phoneme, default)
        phonemes.append((time, ""))
        time += 0.09 + 0.26 * (k % 4 == 3)
    return tuple(phonemes)


TALK = time_phonemes(
    "m aɪ | n eɪ b ə | s eɪ z | oʊ | w iː | m eɪ d | ə | v ɛɹ iː | b ɪ t | f ʌ n | t ə d eɪ |"
    " n aɪ | w iː | w oʊ n t | s t ɐ p",
    0.55,
)

TEMPLATES = {
    "nod": Template(
        3.2,
        nod=((0, 0), (0.35, -1.5), (0.75, 9), (1.1, -1), (1.5, 7.5), (1.85, 0), (2.2, 4.5), (2.65, 0), (3.2, 0)),
        turn=((0, 0), (1.2, 1.0), (2.4, -0.5), (3.2, 0)),
        blinks=(0.72, 2.5),
        blendshapes=(
            ("mouthSmile", ((0, 0), (0.5, 0), (1.1, 0.28), (2.2, 0.22), (3.0, 0))),
            ("browInnerUp", ((0, 0), (0.15, 0), (0.4, 0.22), (0.8, 0.0), (3.2, 0))),
            ("mouthPress", ((0, 0), (0.6, 0.08), (2.2, 0.08), (2.8, 0))),
        ),
    ),
    "shake": Template(
        3.6,
        nod=((0, 0), (0.5, 1.5), (2.6, 1.5), (3.4, 0)),
        turn=((0, 0), (0.2, 0), (0.62, 12), (1.12, -12.5), (1.6, 10.5), (2.06, -8.5), (2.5, 4.5), (2.95, 0), (3.6, 0)),
        tilt=((0, 0), (0.62, 1.2), (1.12, -1.2), (1.6, 1.0), (2.06, -0.8), (2.7, 0), (3.6, 0)),
        blinks=(0.30, 2.72),
        blendshapes=(
            ("browDown", ((0, 0), (0.3, 0), (0.7, 0.32), (2.2, 0.28), (3.0, 0))),
            ("mouthPress", ((0, 0), (0.4, 0), (0.9, 0.25), (2.2, 0.22), (3.0, 0))),
            ("mouthFrown", ((0, 0), (0.4, 0), (1.0, 0.18), (2.2, 0.15), (3.0, 0))),
        ),
    ),
    "smile": Template(
        4.4,
        nod=((0, 0), (0.5, 0), (1.3, -2), (3.2, -1.5), (4.2, 0)),
        turn=((0, 0), (0.6, 0), (1.5, 3), (3.2, 2.5), (4.2, 0)),
        tilt=((0, 0), (0.6, 0), (1.6, -4), (3.2, -3.5), (4.2, 0)),
        blinks=(0.45, 3.35),
        blendshapes=(
            ("mouthSmile", ((0, 0), (0.5, 0), (1.15, 0.72), (1.8, 0.82), (2.9, 0.72), (4.0, 0))),
            ("eyeSquint", ((0, 0), (0.7, 0), (1.35, 0.38), (1.9, 0.42), (2.9, 0.34), (3.9, 0))),
            ("browInnerUp", ((0, 0), (0.4, 0), (0.9, 0.25), (1.7, 0.10), (3.2, 0.05), (4.0, 0))),
            ("browOuterUp", ((0, 0), (0.4, 0), (0.9, 0.22), (1.7, 0.08), (3.2, 0.04), (4.0, 0))),
            ("mouthDimple", ((0, 0), (0.7, 0), (1.4, 0.12), (2.9, 0.10), (3.8, 0))),
        ),
    ),
    "look_around": Template(
        6.4,
        gaze_targets=((0.7, 20, 2), (1.75, 14, -8), (2.5, -18, 1), (3.5, -22, 7), (4.3, 4, 11), (5.15, 0, 0)),
        blinks=(0.68, 2.50, 4.30, 5.62),
        head_share=0.42,
        blendshapes=(
            ("browInnerUp", ((0, 0), (3.3, 0), (3.7, 0.25), (4.6, 0.35), (5.2, 0.05), (6.0, 0))),
            ("browOuterUp", ((0, 0), (3.3, 0), (3.7, 0.18), (4.6, 0.28), (5.2, 0.03), (6.0, 0))),
            ("mouthSmile", ((0, 0), (5.2, 0), (5.7, 0.15), (6.3, 0))),
        ),
    ),
    "talk": Template(
        round(TALK[-1][0] + 1.0, 2),
        nod=(
            *((0, 0), (0.5, -1), (0.85, 3), (1.3, 0), (1.8, 2.5), (2.3, -1), (2.8, 3), (3.3, 0)),
            *((3.8, 3), (4.3, -0.5), (4.9, 2), (5.6, 0)),
        ),
        turn=((0, 0), (0.8, 2), (1.6, -4), (2.5, -2), (3.1, 4), (3.9, 3), (4.6, -2), (5.6, 0)),
        tilt=((0, 0), (0.7, 1), (1.5, -2), (2.4, 1.5), (3.2, -1), (4.0, 2), (4.8, -0.5), (5.6, 0)),
        gaze_targets=((1.55, -9, -3), (2.1, 0, 0), (3.35, 8, 4), (3.85, 0, 0)),
        blinks=(0.42, 2.08, 3.36, 4.55),
        blendshapes=(
            ("browInnerUp", ((0, 0), (0.5, 0), (0.8, 0.35), (1.4, 0), (2.6, 0), (2.9, 0.4), (3.5, 0.05), (4.6, 0))),
            ("browOuterUp", ((0, 0), (0.5, 0), (0.8, 0.25), (1.4, 0), (2.6, 0), (2.9, 0.28), (3.5, 0.02), (4.6, 0))),
        ),
        phonemes=TALK,
    ),
}


def make_head_and_gaze(template: Template, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute head angles (T, 3) and gaze (T, 2; left and up, relative to the head) in radians."""
    activity = smoothstep(times / 0.5) * smoothstep((times[-1] - times) / 0.6)
    curves = (template.nod, template.turn, template.tilt)
    head = np.radians(np.stack([interpolate_curve(points, times) for points in curves], 1))
    gaze = np.zeros((len(times), 2))
    for (_, *before), (moment, *after) in pairwise(((0.0, 0.0, 0.0), *template.gaze_targets)):
        change = np.radians(np.subtract(after, before))
        gaze += change * smoothstep((times - moment) / SACCADE)[:, None]
        # The head starts after the eyes and moves more slowly.
        follow = template.head_share * change * smoothstep((times - moment - 0.02) / 0.45)[:, None]
        head += np.stack([-follow[:, 1], follow[:, 0], -0.12 * follow[:, 0]], 1)
    head += np.radians(SWAY) * activity[:, None] * compute_sway(times)
    head = smooth_head(head) * activity[:, None] ** 0.5
    gaze += counter_rotation(head)
    return head, gaze


def make_speech_expression(template: Template, times: np.ndarray) -> np.ndarray:
    """Compute the expression (T, 64) of the template's phonemes; zeros without phonemes."""
    if not template.phonemes:
        return np.zeros((len(times), 64))
    boundaries = [(0.0, ""), *template.phonemes, (template.seconds, "")]
    return SPEECH_STRENGTH * articulate(
        times, [(start, end, phoneme) for (start, phoneme), (end, _) in pairwise(boundaries)]
    )


def make_template(template: Template) -> MotionTrack:
    """Make the track of a template in the face478 space, at rest in its first and its last frame."""
    times = sample_times(round(template.seconds * FRAME_RATE))
    head, gaze = make_head_and_gaze(template, times)
    expression = make_speech_expression(template, times)
    add_blinks(expression, times, template.blinks)
    for name, points in template.blendshapes:
        add_blendshape(expression, name, interpolate_curve(points, times))
    left, up = np.degrees(gaze.T) / FULL_LOOK
    add_gaze_blendshapes(expression, left, up)
    return build_track("examples/make_templates.py", expression, head, gaze)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Make the template tracks.")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="folder of the tracks")
    parser.add_argument("--overwrite", action="store_true", help="replace tracks that exist")
    arguments = parser.parse_args()
    try:
        for name, template in TEMPLATES.items():
            make_template(template).save(arguments.output / f"{name}.npz", arguments.overwrite)
    except MimafaceError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
