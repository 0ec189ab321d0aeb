"""Make the template tracks: nod, shake, smile, look_around and talk, each from rest to rest, to drive any photo with.

    python examples/make_templates.py --overwrite

Curves written by hand in the way of make_driver.py: named blendshapes, head in degrees, gaze; nothing was filmed.
"""

import argparse
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from make_driver import BLINK_DEPTH, FINE, NECK, RATE, SACCADE, add, blink, curve, speak, step
from scipy.ndimage import gaussian_filter1d

from mimaface_cli.errors import MimafaceError
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack

HERE = Path(__file__).parent
QUIETER = 0.8  # than the driver: nothing is heard that would ask for more
SWAY = 0.35  # degrees of idle movement
FULL_LOOK = 35.0  # degrees at which an eyeLook score is 1

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Template:
    """seconds; down, left, tilt: the head in degrees over (seconds, value) points: nodding down, turning to the
    subject's left, tilting to its right; looks: where the eyes look from a moment on, in degrees to the subject's left
    and up; blinks: moments; faces: blendshapes by name over points; follows: share of a look that the head takes over;
    phonemes: what is spoken, as (seconds, phoneme).
    """

    seconds: float
    down: Points = ((0, 0), (1, 0))
    left: Points = ((0, 0), (1, 0))
    tilt: Points = ((0, 0), (1, 0))
    looks: tuple[tuple[float, float, float], ...] = ()
    blinks: tuple[float, ...] = ()
    faces: tuple[tuple[str, Points], ...] = ()
    follows: float = 0.0
    phonemes: tuple[tuple[float, str], ...] = ()


def spoken(words: str, start: float) -> tuple[tuple[float, str], ...]:
    """Words of phonemes, split by spaces, words by |, at an even but lively pace; ends with a silence."""
    length = {"m": 0.09, "b": 0.08, "p": 0.09, "f": 0.09, "v": 0.07, "s": 0.10, "t": 0.06, "d": 0.06, "n": 0.07}
    at, out = start, []
    for k, word in enumerate(words.split("|")):
        for name in word.split():
            vowel = name[0] in "aeiouæɐʌəɪɛ"
            out.append((at, name))
            at += length.get(name, 0.13 + 0.03 * (k % 3) if vowel else 0.075)
        out.append((at, ""))
        at += 0.09 + 0.26 * (k % 4 == 3)  # a breath after every fourth word
    return tuple(out)


TALK = spoken(
    "m aɪ | n eɪ b ə | s eɪ z | oʊ | w iː | m eɪ d | ə | v ɛɹ iː | b ɪ t | f ʌ n | t ə d eɪ |"
    " n aʊ | w iː | w oʊ n t | s t ɐ p".replace("aʊ", "aɪ"),
    0.55,
)

TEMPLATES = {
    "nod": Template(
        3.2,
        down=((0, 0), (0.35, -1.5), (0.75, 9), (1.1, -1), (1.5, 7.5), (1.85, 0), (2.2, 4.5), (2.65, 0), (3.2, 0)),
        left=((0, 0), (1.2, 1.0), (2.4, -0.5), (3.2, 0)),
        blinks=(0.72, 2.5),
        faces=(
            ("mouthSmile", ((0, 0), (0.5, 0), (1.1, 0.28), (2.2, 0.22), (3.0, 0))),
            ("browInnerUp", ((0, 0), (0.15, 0), (0.4, 0.22), (0.8, 0.0), (3.2, 0))),
            ("mouthPress", ((0, 0), (0.6, 0.08), (2.2, 0.08), (2.8, 0))),
        ),
    ),
    "shake": Template(
        3.6,
        down=((0, 0), (0.5, 1.5), (2.6, 1.5), (3.4, 0)),
        left=((0, 0), (0.2, 0), (0.62, 12), (1.12, -12.5), (1.6, 10.5), (2.06, -8.5), (2.5, 4.5), (2.95, 0), (3.6, 0)),
        tilt=((0, 0), (0.62, 1.2), (1.12, -1.2), (1.6, 1.0), (2.06, -0.8), (2.7, 0), (3.6, 0)),
        blinks=(0.30, 2.72),
        faces=(
            ("browDown", ((0, 0), (0.3, 0), (0.7, 0.32), (2.2, 0.28), (3.0, 0))),
            ("mouthPress", ((0, 0), (0.4, 0), (0.9, 0.25), (2.2, 0.22), (3.0, 0))),
            ("mouthFrown", ((0, 0), (0.4, 0), (1.0, 0.18), (2.2, 0.15), (3.0, 0))),
        ),
    ),
    "smile": Template(
        4.4,
        down=((0, 0), (0.5, 0), (1.3, -2), (3.2, -1.5), (4.2, 0)),
        left=((0, 0), (0.6, 0), (1.5, 3), (3.2, 2.5), (4.2, 0)),
        tilt=((0, 0), (0.6, 0), (1.6, -4), (3.2, -3.5), (4.2, 0)),
        blinks=(0.45, 3.35),
        faces=(
            ("mouthSmile", ((0, 0), (0.5, 0), (1.15, 0.72), (1.8, 0.82), (2.9, 0.72), (4.0, 0))),
            ("eyeSquint", ((0, 0), (0.7, 0), (1.35, 0.38), (1.9, 0.42), (2.9, 0.34), (3.9, 0))),
            ("browInnerUp", ((0, 0), (0.4, 0), (0.9, 0.25), (1.7, 0.10), (3.2, 0.05), (4.0, 0))),
            ("browOuterUp", ((0, 0), (0.4, 0), (0.9, 0.22), (1.7, 0.08), (3.2, 0.04), (4.0, 0))),
            ("mouthDimple", ((0, 0), (0.7, 0), (1.4, 0.12), (2.9, 0.10), (3.8, 0))),
        ),
    ),
    "look_around": Template(
        6.4,
        looks=((0.7, 20, 2), (1.75, 14, -8), (2.5, -18, 1), (3.5, -22, 7), (4.3, 4, 11), (5.15, 0, 0)),
        blinks=(0.68, 2.50, 4.30, 5.62),
        follows=0.42,
        faces=(
            ("browInnerUp", ((0, 0), (3.3, 0), (3.7, 0.25), (4.6, 0.35), (5.2, 0.05), (6.0, 0))),
            ("browOuterUp", ((0, 0), (3.3, 0), (3.7, 0.18), (4.6, 0.28), (5.2, 0.03), (6.0, 0))),
            ("mouthSmile", ((0, 0), (5.2, 0), (5.7, 0.15), (6.3, 0))),
        ),
    ),
    "talk": Template(
        round(TALK[-1][0] + 1.0, 2),
        down=(
            *((0, 0), (0.5, -1), (0.85, 3), (1.3, 0), (1.8, 2.5), (2.3, -1), (2.8, 3), (3.3, 0)),
            *((3.8, 3), (4.3, -0.5), (4.9, 2), (5.6, 0)),
        ),
        left=((0, 0), (0.8, 2), (1.6, -4), (2.5, -2), (3.1, 4), (3.9, 3), (4.6, -2), (5.6, 0)),
        tilt=((0, 0), (0.7, 1), (1.5, -2), (2.4, 1.5), (3.2, -1), (4.0, 2), (4.8, -0.5), (5.6, 0)),
        looks=((1.55, -9, -3), (2.1, 0, 0), (3.35, 8, 4), (3.85, 0, 0)),
        blinks=(0.42, 2.08, 3.36, 4.55),
        faces=(
            ("browInnerUp", ((0, 0), (0.5, 0), (0.8, 0.35), (1.4, 0), (2.6, 0), (2.9, 0.4), (3.5, 0.05), (4.6, 0))),
            ("browOuterUp", ((0, 0), (0.5, 0), (0.8, 0.25), (1.4, 0), (2.6, 0), (2.9, 0.28), (3.5, 0.02), (4.6, 0))),
        ),
        phonemes=TALK,
    ),
}


def make_template(template: Template) -> MotionTrack:
    """The track of a template in the face478 space, at rest in its first and its last frame."""
    frames = round(template.seconds * RATE)
    times = np.arange(frames * FINE) / (RATE * FINE)
    awake = step(times / 0.5) * step((times[-1] - times) / 0.6)

    gaze = np.zeros((len(times), 2))
    looks = ((0.0, 0.0, 0.0), *template.looks)
    head = np.radians(np.stack([curve(points, times) for points in (template.down, template.left, template.tilt)], 1))
    for (_, *before), (at, *after) in pairwise(looks):
        turn = np.radians(np.subtract(after, before))
        gaze += turn * step((times - at) / SACCADE)[:, None]
        follow = template.follows * turn * step((times - at - 0.02) / 0.45)[:, None]  # the head comes after the eyes
        head += np.stack([-follow[:, 1], follow[:, 0], -0.12 * follow[:, 0]], 1)
    phases = np.array([[0.0, 1.3, 2.9], [2.1, 0.4, 4.4], [4.0, 3.1, 0.9]])
    idle = np.sin(2 * np.pi * times[:, None, None] * [0.31, 0.53, 0.87] + phases) @ [0.6, 0.3, 0.1]
    head += np.radians(SWAY) * awake[:, None] * idle
    head = gaussian_filter1d(head, 0.05 * RATE * FINE, axis=0, mode="nearest") * awake[:, None] ** 0.5
    shift = NECK - rotation_matrix(head) @ NECK
    gaze += np.stack([-head[:, 1], head[:, 0]], 1)  # the eyes stay on their target while the head turns

    if template.phonemes:
        ends = [at for at, _ in template.phonemes[1:]] + [template.seconds]
        said = [(0.0, template.phonemes[0][0], "")]
        said += [(at, end, name) for (at, name), end in zip(template.phonemes, ends)]
        expression = QUIETER * speak(times, said)
    else:
        expression = np.zeros((len(times), 64))
    down = blink(times, template.blinks)
    add(expression, "eyeBlink", BLINK_DEPTH * down)
    add(expression, "browDown", 0.1 * down)
    for name, points in template.faces:
        add(expression, name, curve(points, times))
    left, up = np.degrees(gaze.T) / FULL_LOOK
    for name, values in {
        "eyeLookOutLeft": left, "eyeLookInRight": left, "eyeLookInLeft": -left, "eyeLookOutRight": -left,
        "eyeLookUp": up, "eyeLookDown": -up,
    }.items():  # fmt: skip
        add(expression, name, np.clip(values, 0, 1))

    track = MotionTrack.neutral(frames, "face478", RATE, "examples/make_templates.py")
    taken = slice(None, None, FINE)
    pose = np.concatenate([head, shift], 1)
    return replace(track, expression=expression[taken], pose=pose[taken], gaze=np.tile(gaze, 2)[taken])


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the template tracks.")
    parser.add_argument("-o", "--output", type=Path, default=HERE, help="folder to write into")
    parser.add_argument("--overwrite", action="store_true", help="replace the tracks if they exist")
    arguments = parser.parse_args()
    try:
        for name, template in TEMPLATES.items():
            make_template(template).save(arguments.output / f"{name}.npz", arguments.overwrite)
    except MimafaceError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
