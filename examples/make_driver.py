"""Make the driver: a track written by hand, its lips led by the phonemes of a sentence, then a portrait moved by it.

    python examples/make_speech.py speech.wav
    python examples/make_driver.py speech.wav --overwrite

writes driver.npz (the track; frame 0 is the face at rest) and driver.mp4 (the track applied to portrait.jpg, mirrored
and cropped, with the sound). Any file that carries the same speech will do, so also a copy of driver.mp4.
"""

import argparse
import csv
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.extract import extract
from mimaface_cli.errors import MimafaceError
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.motion.coefficients import BLENDSHAPES, blendshape_index
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack

HERE = Path(__file__).parent
PHOTO, TIMINGS = HERE / "portrait.jpg", HERE / "driver_speech.csv"
HEAD_BOX = (106, 8, 346, 248)  # of the photo, before it is mirrored
SIZE, RATE, FRAMES = 512, 25, 155
FINE = 16  # curves are made at so many points a frame, then one in FINE is taken

# The mouth of each phoneme. Names without a side stand for both.
SHUT = {"mouthPress": 0.15, "mouthRollLower": 0.10, "mouthRollUpper": 0.05}
LABIODENTAL = {"jawOpen": 0.08, "mouthRollLower": 0.30, "mouthUpperUp": 0.25, "mouthShrugLower": 0.10}
OPEN = {"jawOpen": 0.55, "mouthLowerDown": 0.25}
MID = {"jawOpen": 0.32, "mouthLowerDown": 0.15}
SPREAD = {"jawOpen": 0.24, "mouthStretch": 0.30, "mouthLowerDown": 0.35, "mouthSmile": 0.15}
WIDE = {"jawOpen": 0.42, "mouthStretch": 0.25, "mouthLowerDown": 0.30}
ROUND = {"jawOpen": 0.36, "mouthFunnel": 0.50, "mouthPucker": 0.35}
NARROW = {"jawOpen": 0.14, "mouthFunnel": 0.30, "mouthPucker": 0.90}
TEETH = {"jawOpen": 0.16, "mouthLowerDown": 0.35, "mouthUpperUp": 0.15, "mouthStretch": 0.15}
HUSHED = {"jawOpen": 0.18, "mouthFunnel": 0.55, "mouthLowerDown": 0.15}
TONGUE = {"jawOpen": 0.24, "mouthLowerDown": 0.20}
VISEMES: dict[str, tuple[dict[str, float], ...]] = {
    **dict.fromkeys(("m", "p", "b"), (SHUT,)),
    **dict.fromkeys(("f", "v"), (LABIODENTAL,)),
    **dict.fromkeys(("s", "z"), (TEETH,)),
    **dict.fromkeys(("t", "d", "n", "k", "ɾ", "ð"), (TONGUE,)),
    **dict.fromkeys(("ɐ", "ʌ", "ə"), (MID,)),
    "æ": (WIDE,),
    "iː": (SPREAD,),
    "ɪ": (SPREAD,),
    "uː": (NARROW,),
    "w": (NARROW,),
    "ɹ": (HUSHED,),
    "dʒ": (HUSHED,),
    "aɪ": (OPEN, SPREAD),
    "eɪ": (WIDE, SPREAD),
    "oʊ": (ROUND, NARROW),
    "ɛɹ": (WIDE, HUSHED),
}
LIPS_LEAD = 0.04  # seconds by which the lips are ahead of the sound
CLOSURE, RAMP = 0.05, 0.08  # a shut mouth is held at least so long, and reached and left within the ramp
SETTLE = 0.10  # seconds from the last sound to the mouth at rest, and from there to the first

# What is not speech, as (seconds, value) to be joined by curves that rest at every extreme.
BLINKS = (0.96, 2.20, 3.92, 5.44)
BLINK_CLOSING, BLINK_SHUT, BLINK_OPENING, BLINK_DEPTH = 0.07, 0.02, 0.11, 1.1
SMILE = ((0.0, 0), (1.15, 0), (1.55, 0.25), (2.0, 0.05), (3.0, 0.05), (5.15, 0.05), (5.6, 0.55), (6.2, 0.5))
BROWS = ((0.1, 0), (0.4, 0.3), (0.9, 0), (1.95, 0), (2.2, 0.2), (2.6, 0), (3.95, 0), (4.2, 0.55), (4.7, 0.1), (5.3, 0))
# Where the eyes look, relative to the camera and in degrees: to the subject's left, and up. Steps are saccades.
LOOKS = ((0.0, 0, 0), (1.00, -24, -6), (1.72, 0, 0), (3.20, 22, 4), (3.96, 0, 0))
SACCADE = 0.05
# The head in degrees: nodding down, turning to the subject's left, tilting to its right.
NOD = (
    *((0.0, 0), (0.45, -2), (0.75, 3), (1.15, 0), (1.75, -1), (2.2, 4), (2.7, 0), (3.55, 3)),
    *((3.95, -1), (4.4, 4), (5.2, 0), (5.65, 3), (6.2, 1)),
)
TURN = (
    *((0.0, 0), (0.9, 1), (1.4, -10), (1.9, -8), (2.6, 2), (3.1, 3)),
    *((3.6, 12), (3.9, 10), (4.5, -3), (5.2, -1), (6.2, 0)),
)
TILT = ((0.0, 0), (0.6, 1), (1.3, -2), (2.2, 2), (3.5, -2), (4.2, 3), (5.2, 1), (5.7, 4), (6.2, 3.5))
SWAY = 0.5  # degrees of idle movement
NECK = np.array([0.0, -0.9, -0.5])  # what the head turns about, in model units

# Of this photo: the smile that absolute motion takes away leaves the lips a little apart.
LIPS_TOGETHER = 0.4


def curve(points: tuple[tuple[float, float], ...], times: np.ndarray) -> np.ndarray:
    """Values at `times` of the monotone curve through (seconds, value) points, level before and after."""
    at, values = np.array(points, float).T
    return PchipInterpolator(at, values)(np.clip(times, at[0], at[-1]))


def step(x: np.ndarray) -> np.ndarray:
    """0 before 0, 1 after 1, eased between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def columns(name: str) -> list[int]:
    """The expression coefficients of a name, or of both sides of it."""
    sides = (name,) if name in BLENDSHAPES else (name + "Left", name + "Right")
    return [blendshape_index(side) for side in sides]


def add(expression: np.ndarray, name: str, values: np.ndarray) -> None:
    """Add values over time to a named coefficient, or to both sides of it."""
    expression[:, columns(name)] += values[:, None]


def phonemes() -> list[tuple[float, float, str]]:
    """What the lips shape, as (from, to, phoneme) in seconds; a silence has the empty phoneme."""
    with TIMINGS.open(encoding="utf-8", newline="") as file:
        starts = [(float(row["seconds"]) - LIPS_LEAD, row["phoneme"]) for row in csv.DictReader(file)]
    return [(start, end, name) for (start, name), (end, _) in pairwise([(0.0, ""), *starts, (FRAMES / RATE, "")])]


def speak(times: np.ndarray, spoken: list[tuple[float, float, str]]) -> np.ndarray:
    """Expression (T×64) of the mouth that says phonemes (see `phonemes`)."""
    keys: list[tuple[float, dict[str, float]]] = []
    shut = np.zeros(len(times))
    for start, end, phoneme in spoken:
        length = end - start
        if not phoneme:
            if length > 2 * SETTLE:  # else the mouth stays as it is
                keys += [(start + SETTLE, {}), (end - SETTLE, {})]
            continue
        mouths = VISEMES[phoneme]
        keys += [(start + length * (k + 0.5) / len(mouths), mouth) for k, mouth in enumerate(mouths)]
        if mouths == (SHUT,):
            away = np.abs(times - (start + end) / 2) - max(CLOSURE, length) / 2
            shut = np.maximum(shut, 1 - step(away / RAMP))
    expression = np.zeros((len(times), 64))
    for name in sorted({name for _, mouth in keys for name in mouth}):
        values = curve(tuple((at, mouth.get(name, 0.0)) for at, mouth in keys), times)
        values = gaussian_filter1d(values, 0.02 * RATE * FINE)
        if name not in SHUT:  # nothing that parts the lips outlasts a closure
            values *= 1 - shut
        add(expression, name, values)
    return expression


def blink(times: np.ndarray, moments: tuple[float, ...] = BLINKS) -> np.ndarray:
    """How far the lids are down: 0 open, 1 shut."""
    down = np.zeros(len(times))
    for at in moments:
        closing = step((times - at + BLINK_CLOSING) / BLINK_CLOSING)
        opening = step((times - at - BLINK_SHUT) / BLINK_OPENING)
        down = np.maximum(down, closing - opening)
    return down


def make_track() -> MotionTrack:
    """The driver's motion in the face478 space, at rest in frame 0."""
    times = np.arange(FRAMES * FINE) / (RATE * FINE)
    awake = step(times / 0.5)

    head = np.radians(np.stack([curve(NOD, times), curve(TURN, times), curve(TILT, times)], 1))
    phases = np.array([[0.0, 1.3, 2.9], [2.1, 0.4, 4.4], [4.0, 3.1, 0.9]])
    idle = np.sin(2 * np.pi * times[:, None, None] * [0.31, 0.53, 0.87] + phases) @ [0.6, 0.3, 0.1]
    head += np.radians(SWAY) * awake[:, None] * idle
    head = gaussian_filter1d(head, 0.05 * RATE * FINE, axis=0, mode="nearest")
    head -= head[0]
    shift = NECK - rotation_matrix(head) @ NECK

    gaze = np.zeros((len(times), 2))
    for (_, *before), (at, *after) in pairwise(LOOKS):
        gaze += np.radians(np.subtract(after, before)) * step((times - at) / SACCADE)[:, None]
    gaze += np.stack([-head[:, 1], head[:, 0]], 1)  # the eyes stay on their target while the head turns

    expression = speak(times, phonemes())
    down = blink(times)
    add(expression, "eyeBlink", BLINK_DEPTH * down)
    add(expression, "browDown", 0.1 * down)
    smile = curve(SMILE, times)
    add(expression, "mouthSmile", smile)
    add(expression, "eyeSquint", 0.5 * smile)
    brows = curve(BROWS, times)
    add(expression, "browInnerUp", brows)
    add(expression, "browOuterUp", 0.7 * brows)
    left, up = gaze.T / np.radians(35)
    for name, values in {
        "eyeLookOutLeft": left, "eyeLookInRight": left, "eyeLookInLeft": -left, "eyeLookOutRight": -left,
        "eyeLookUp": up, "eyeLookDown": -up,
    }.items():  # fmt: skip
        add(expression, name, np.clip(values, 0, 1))

    track = MotionTrack.neutral(FRAMES, "face478", RATE, "examples/make_driver.py")
    taken = slice(None, None, FINE)
    pose = np.concatenate([head, shift], 1)
    return replace(track, expression=expression[taken], pose=pose[taken], gaze=np.tile(gaze, 2)[taken])


def make_video(track: MotionTrack, speech: Path, output: Path, overwrite: bool) -> None:
    """Write the photo, mirrored and cropped, as it moves by the track and sounds like the speech."""
    with tempfile.TemporaryDirectory() as folder:
        photo, placed = Path(folder, "photo.png"), Path(folder, "track.npz")
        with Image.open(PHOTO) as image:
            head = ImageOps.mirror(image.crop(HEAD_BOX))
            head.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(photo)
        # Absolute motion takes the photo's own smile away; where its head is and looks stays.
        own = extract(photo).track
        expression = track.expression.copy()
        jaw = expression[:, blendshape_index("jawOpen")]
        expression[:, blendshape_index("mouthClose")] += LIPS_TOGETHER * (1 - step(jaw / 0.35))
        replace(track, expression=expression, pose=track.pose + own.pose, gaze=track.gaze + own.gaze).save(placed)
        options = AnimateOptions(
            retarget=RetargetOptions("absolute"), smooth=0.0, audio=str(speech), encode=EncodeOptions(crf=18)
        )
        animate(photo, placed, output, options, overwrite=overwrite)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the example driver: its track and its video.")
    parser.add_argument("speech", type=Path, help="what make_speech.py wrote, or any file with that sound")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "driver.mp4", help="video to write")
    parser.add_argument("--track", type=Path, default=HERE / "driver.npz", help="track to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the outputs if they exist")
    arguments = parser.parse_args()
    try:
        track = make_track()
        track.save(arguments.track, arguments.overwrite)
        make_video(track, arguments.speech, arguments.output, arguments.overwrite)
    except MimafaceError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
