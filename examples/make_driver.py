"""Make the example driver: a track written by hand that speaks a sentence, and a video of the portrait moved by it.

    python examples/make_speech.py speech.wav
    python examples/make_driver.py speech.wav --overwrite

The script writes driver.npz (the track; frame 0 is the face at rest) and driver.mp4 (a mirrored crop of portrait.jpg,
moved by the track, with the audio). The lips follow the phoneme times in driver_speech.csv. Any file with the same
speech works as input, for example a copy of driver.mp4.
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

FOLDER = Path(__file__).parent
PORTRAIT = FOLDER / "portrait.jpg"
PHONEME_TIMES = FOLDER / "driver_speech.csv"
HEAD_BOX = (106, 8, 346, 248)  # left, top, right, bottom in the portrait, in pixels, before it is mirrored
SIZE = 512  # side of the video, in pixels
FRAME_RATE = 25
FRAMES = 155
OVERSAMPLING = 16  # curves are computed at this many points a frame; the track takes the first of each frame

# Curves are (seconds, value) points.
CurvePoints = tuple[tuple[float, float], ...]
# Gaze targets are (seconds, degrees to the subject's left, degrees up) relative to the camera.
GazeTargets = tuple[tuple[float, float, float], ...]
# Phonemes with their interval: (start in seconds, end in seconds, IPA; empty for silence).
PhonemeIntervals = list[tuple[float, float, str]]

# Mouth shapes, as blendshape coefficients. A name without a side stands for both sides.
MouthShape = dict[str, float]
CLOSED: MouthShape = {"mouthPress": 0.15, "mouthRollLower": 0.10, "mouthRollUpper": 0.05}
LABIODENTAL: MouthShape = {"jawOpen": 0.08, "mouthRollLower": 0.30, "mouthUpperUp": 0.25, "mouthShrugLower": 0.10}
OPEN: MouthShape = {"jawOpen": 0.55, "mouthLowerDown": 0.25}
MID: MouthShape = {"jawOpen": 0.32, "mouthLowerDown": 0.15}
SPREAD: MouthShape = {"jawOpen": 0.24, "mouthStretch": 0.30, "mouthLowerDown": 0.35, "mouthSmile": 0.15}
OPEN_SPREAD: MouthShape = {"jawOpen": 0.42, "mouthStretch": 0.25, "mouthLowerDown": 0.30}
ROUNDED_MID: MouthShape = {"jawOpen": 0.36, "mouthFunnel": 0.50, "mouthPucker": 0.35}
ROUNDED_CLOSE: MouthShape = {"jawOpen": 0.14, "mouthFunnel": 0.30, "mouthPucker": 0.90}
SIBILANT: MouthShape = {"jawOpen": 0.16, "mouthLowerDown": 0.35, "mouthUpperUp": 0.15, "mouthStretch": 0.15}
POSTALVEOLAR: MouthShape = {"jawOpen": 0.18, "mouthFunnel": 0.55, "mouthLowerDown": 0.15}
ALVEOLAR: MouthShape = {"jawOpen": 0.24, "mouthLowerDown": 0.20}
# A diphthong passes through two mouth shapes.
VISEMES: dict[str, tuple[MouthShape, ...]] = {
    **dict.fromkeys(("m", "p", "b"), (CLOSED,)),
    **dict.fromkeys(("f", "v"), (LABIODENTAL,)),
    **dict.fromkeys(("s", "z"), (SIBILANT,)),
    **dict.fromkeys(("t", "d", "n", "k", "ɾ", "ð"), (ALVEOLAR,)),
    **dict.fromkeys(("ɐ", "ʌ", "ə"), (MID,)),
    "æ": (OPEN_SPREAD,),
    "iː": (SPREAD,),
    "ɪ": (SPREAD,),
    "uː": (ROUNDED_CLOSE,),
    "w": (ROUNDED_CLOSE,),
    "ɹ": (POSTALVEOLAR,),
    "dʒ": (POSTALVEOLAR,),
    "aɪ": (OPEN, SPREAD),
    "eɪ": (OPEN_SPREAD, SPREAD),
    "oʊ": (ROUNDED_MID, ROUNDED_CLOSE),
    "ɛɹ": (OPEN_SPREAD, POSTALVEOLAR),
}
LIPS_LEAD = 0.04  # seconds by which the lips precede the audio
CLOSURE = 0.05  # minimum duration of closed lips, in seconds
CLOSURE_RAMP = 0.08  # duration of closing and of opening the lips, in seconds
SETTLE = 0.10  # seconds from the last phoneme to the mouth at rest, and from rest to the first phoneme

BLINKS = (0.96, 2.20, 3.92, 5.44)
BLINK_CLOSING, BLINK_CLOSED, BLINK_OPENING, BLINK_DEPTH = 0.07, 0.02, 0.11, 1.1
SMILE = ((0.0, 0), (1.15, 0), (1.55, 0.25), (2.0, 0.05), (3.0, 0.05), (5.15, 0.05), (5.6, 0.55), (6.2, 0.5))
BROWS = ((0.1, 0), (0.4, 0.3), (0.9, 0), (1.95, 0), (2.2, 0.2), (2.6, 0), (3.95, 0), (4.2, 0.55), (4.7, 0.1), (5.3, 0))
GAZE_TARGETS = ((0.0, 0, 0), (1.00, -24, -6), (1.72, 0, 0), (3.20, 22, 4), (3.96, 0, 0))
SACCADE = 0.05  # duration of the movement from one gaze target to the next, in seconds
FULL_LOOK = 35  # gaze in degrees at which an eyeLook coefficient is 1
# Head angles in degrees: nodding down, turning to the subject's left, tilting to the subject's right.
NOD = (
    *((0.0, 0), (0.45, -2), (0.75, 3), (1.15, 0), (1.75, -1), (2.2, 4), (2.7, 0), (3.55, 3)),
    *((3.95, -1), (4.4, 4), (5.2, 0), (5.65, 3), (6.2, 1)),
)
TURN = (
    *((0.0, 0), (0.9, 1), (1.4, -10), (1.9, -8), (2.6, 2), (3.1, 3)),
    *((3.6, 12), (3.9, 10), (4.5, -3), (5.2, -1), (6.2, 0)),
)
TILT = ((0.0, 0), (0.6, 1), (1.3, -2), (2.2, 2), (3.5, -2), (4.2, 3), (5.2, 1), (5.7, 4), (6.2, 3.5))
SWAY = 0.5  # amplitude of the idle head motion, in degrees
SWAY_FREQUENCIES = [0.31, 0.53, 0.87]  # Hz
SWAY_WEIGHTS = [0.6, 0.3, 0.1]
SWAY_PHASES = np.array([[0.0, 1.3, 2.9], [2.1, 0.4, 4.4], [4.0, 3.1, 0.9]])  # radians; a row for each head angle
NECK = np.array([0.0, -0.9, -0.5])  # pivot of the head, in model units

# For this portrait only: without its smile, the lips stay a little apart. This amount of mouthClose closes them.
LIP_CORRECTION = 0.4


def sample_times(frames: int) -> np.ndarray:
    """Return the times in seconds at which curves are computed, shape (frames * OVERSAMPLING,)."""
    return np.arange(frames * OVERSAMPLING) / (FRAME_RATE * OVERSAMPLING)


def interpolate_curve(points: CurvePoints, times: np.ndarray) -> np.ndarray:
    """Interpolate a monotone cubic curve; it is constant before the first and after the last point."""
    seconds, values = np.array(points, float).T
    return PchipInterpolator(seconds, values)(np.clip(times, seconds[0], seconds[-1]))


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Return 0 below 0, 1 above 1, and the cubic smoothstep between them."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def add_blendshape(expression: np.ndarray, name: str, values: np.ndarray) -> None:
    """Add values to a blendshape coefficient in place.

    Args:
        expression: (T, 64), coefficients of the face478 space.
        name: A blendshape; a name without a side stands for both sides.
        values: (T,).
    """
    names = (name,) if name in BLENDSHAPES else (name + "Left", name + "Right")
    expression[:, [blendshape_index(side) for side in names]] += values[:, None]


def add_gaze_blendshapes(expression: np.ndarray, left: np.ndarray, up: np.ndarray) -> None:
    """Add the eyeLook coefficients of a gaze in place; 1 is a gaze of FULL_LOOK degrees, negative is right or down."""
    coefficients = {
        "eyeLookOutLeft": left,
        "eyeLookInRight": left,
        "eyeLookInLeft": -left,
        "eyeLookOutRight": -left,
        "eyeLookUp": up,
        "eyeLookDown": -up,
    }
    for name, values in coefficients.items():
        add_blendshape(expression, name, np.clip(values, 0, 1))


def add_blinks(expression: np.ndarray, times: np.ndarray, blinks: tuple[float, ...]) -> None:
    """Add blinks at the given times (seconds of closed lids) in place; the brows move down a little with the lids."""
    closure = np.zeros(len(times))
    for moment in blinks:
        closing = smoothstep((times - moment + BLINK_CLOSING) / BLINK_CLOSING)
        opening = smoothstep((times - moment - BLINK_CLOSED) / BLINK_OPENING)
        closure = np.maximum(closure, closing - opening)
    add_blendshape(expression, "eyeBlink", BLINK_DEPTH * closure)
    add_blendshape(expression, "browDown", 0.1 * closure)


def load_phonemes() -> PhonemeIntervals:
    """Load driver_speech.csv as lip intervals that cover the whole track."""
    with PHONEME_TIMES.open(encoding="utf-8", newline="") as file:
        starts = [(float(row["seconds"]) - LIPS_LEAD, row["phoneme"]) for row in csv.DictReader(file)]
    boundaries = [(0.0, ""), *starts, (FRAMES / FRAME_RATE, "")]
    return [(start, end, phoneme) for (start, phoneme), (end, _) in pairwise(boundaries)]


def articulate(times: np.ndarray, phonemes: PhonemeIntervals) -> np.ndarray:
    """Compute the expression of a mouth that speaks phonemes.

    Args:
        times: (T,), seconds.
        phonemes: Consecutive intervals.

    Returns:
        (T, 64), expression coefficients of the face478 space.
    """
    keys: list[tuple[float, MouthShape]] = []
    closure = np.zeros(len(times))
    for start, end, phoneme in phonemes:
        duration = end - start
        if not phoneme:
            if duration > 2 * SETTLE:  # In a shorter silence the mouth does not return to rest.
                keys += [(start + SETTLE, {}), (end - SETTLE, {})]
            continue
        shapes = VISEMES[phoneme]
        keys += [(start + duration * (k + 0.5) / len(shapes), shape) for k, shape in enumerate(shapes)]
        if shapes == (CLOSED,):
            distance = np.abs(times - (start + end) / 2) - max(CLOSURE, duration) / 2
            closure = np.maximum(closure, 1 - smoothstep(distance / CLOSURE_RAMP))
    expression = np.zeros((len(times), 64))
    for name in sorted({name for _, shape in keys for name in shape}):
        values = interpolate_curve(tuple((seconds, shape.get(name, 0.0)) for seconds, shape in keys), times)
        values = gaussian_filter1d(values, 0.02 * FRAME_RATE * OVERSAMPLING)
        if name not in CLOSED:  # Coefficients that part the lips are 0 while the lips are closed.
            values *= 1 - closure
        add_blendshape(expression, name, values)
    return expression


def compute_sway(times: np.ndarray) -> np.ndarray:
    """Compute idle head motion of amplitude 1, shape (T, 3): three angles, each a sum of three sines."""
    return np.sin(2 * np.pi * times[:, None, None] * SWAY_FREQUENCIES + SWAY_PHASES) @ SWAY_WEIGHTS


def smooth_head(head: np.ndarray) -> np.ndarray:
    """Smooth head angles (T, 3) in time."""
    return gaussian_filter1d(head, 0.05 * FRAME_RATE * OVERSAMPLING, axis=0, mode="nearest")


def counter_rotation(head: np.ndarray) -> np.ndarray:
    """Return the gaze (T, 2; left and up) that stays on its target while the head turns by angles (T, 3)."""
    return np.stack([-head[:, 1], head[:, 0]], 1)


def build_track(origin: str, expression: np.ndarray, head: np.ndarray, gaze: np.ndarray) -> MotionTrack:
    """Build a face478 track from oversampled curves.

    Args:
        origin: Name of the script, for the track's metadata.
        expression: (T, 64), coefficients.
        head: (T, 3), angles in radians about the neck.
        gaze: (T, 2), radians to the subject's left and up, relative to the head.

    Returns:
        A track of T / OVERSAMPLING frames at FRAME_RATE.
    """
    shift = NECK - rotation_matrix(head) @ NECK
    pose = np.concatenate([head, shift], 1)
    every_frame = slice(None, None, OVERSAMPLING)
    track = MotionTrack.neutral(len(head) // OVERSAMPLING, "face478", FRAME_RATE, origin)
    return replace(
        track, expression=expression[every_frame], pose=pose[every_frame], gaze=np.tile(gaze, 2)[every_frame]
    )


def make_track() -> MotionTrack:
    """Make the driver's motion in the face478 space, at rest in frame 0."""
    times = sample_times(FRAMES)

    head = np.radians(np.stack([interpolate_curve(points, times) for points in (NOD, TURN, TILT)], 1))
    head += np.radians(SWAY) * smoothstep(times / 0.5)[:, None] * compute_sway(times)
    head = smooth_head(head)
    head -= head[0]

    gaze = np.zeros((len(times), 2))
    for (_, *before), (moment, *after) in pairwise(GAZE_TARGETS):
        gaze += np.radians(np.subtract(after, before)) * smoothstep((times - moment) / SACCADE)[:, None]
    gaze += counter_rotation(head)

    expression = articulate(times, load_phonemes())
    add_blinks(expression, times, BLINKS)
    smile = interpolate_curve(SMILE, times)
    add_blendshape(expression, "mouthSmile", smile)
    add_blendshape(expression, "eyeSquint", 0.5 * smile)
    brows = interpolate_curve(BROWS, times)
    add_blendshape(expression, "browInnerUp", brows)
    add_blendshape(expression, "browOuterUp", 0.7 * brows)
    left, up = gaze.T / np.radians(FULL_LOOK)
    add_gaze_blendshapes(expression, left, up)
    return build_track("examples/make_driver.py", expression, head, gaze)


def make_video(track: MotionTrack, speech: Path, output: Path, overwrite: bool) -> None:
    """Render the mirrored crop of the portrait with the track's motion and the audio of a file.

    Args:
        track: Motion in the face478 space.
        speech: Audio or video file.
        output: Video to write.
        overwrite: Replace the output if it exists.

    Raises:
        MimafaceError: If a file cannot be read or written.
    """
    with tempfile.TemporaryDirectory() as folder:
        photo, driver = Path(folder, "photo.png"), Path(folder, "track.npz")
        with Image.open(PORTRAIT) as image:
            head = ImageOps.mirror(image.crop(HEAD_BOX))
            head.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(photo)
        # Absolute motion removes the photo's smile. Adding the photo's pose and gaze keeps those.
        portrait = extract(photo).track
        expression = track.expression.copy()
        jaw = expression[:, blendshape_index("jawOpen")]
        expression[:, blendshape_index("mouthClose")] += LIP_CORRECTION * (1 - smoothstep(jaw / 0.35))
        pose, gaze = track.pose + portrait.pose, track.gaze + portrait.gaze
        replace(track, expression=expression, pose=pose, gaze=gaze).save(driver)
        options = AnimateOptions(
            retarget=RetargetOptions("absolute"), smooth=0.0, audio=str(speech), encode=EncodeOptions(crf=18)
        )
        animate(photo, driver, output, options, overwrite=overwrite)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Make the example driver: a track and a video.")
    parser.add_argument("speech", type=Path, help="output of make_speech.py, or any file with the same audio")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER / "driver.mp4", help="video to write")
    parser.add_argument("--track", type=Path, default=FOLDER / "driver.npz", help="track to write")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    arguments = parser.parse_args()
    try:
        track = make_track()
        track.save(arguments.track, arguments.overwrite)
        make_video(track, arguments.speech, arguments.output, arguments.overwrite)
    except MimafaceError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
