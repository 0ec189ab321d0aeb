"""Contact sheets of spoken sounds: portraits that speak, in the moments in which a sound is clearest."""

from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from mimaface_cli.apps.animate import render_frames
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.source_loading import load_portrait
from mimaface_cli.drivers.speech_driver import load_speech
from mimaface_cli.media.waveform import SAMPLE_RATE, open_waveform
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech.audio_features import FeatureExtractor
from mimaface_cli.speech.lip_model_file import load_lip_model
from mimaface_cli.speech.phones import HOP, count_feature_frames
from tests.benchmarks.mouth_sheets import arrange_tiles, save_sheet
from tests.benchmarks.quality_measures import eye_distance, landmark_box

SOUNDS = {"m": ("M",), "f": ("F",), "oo": ("UW",), "ah": ("AA", "AH", "AO"), "ee": ("IY",)}
"""Phones of each sound."""
MOMENTS = 3  # frames of each sound
SIDE = 640  # pixels, longest side of the results
_TILE = 300  # pixels, width of a lower face
_MIN_GAP = 0.25  # seconds between moments of the same sound


def find_moments(audio: Path) -> dict[str, list[float]]:
    """Return the times (s) at which each sound is clearest."""
    model = load_lip_model()
    names = model.front_end.phones.names
    with open_waveform(audio) as waveform:
        _, phones = FeatureExtractor(waveform, model.front_end).extract(0, count_feature_frames(len(waveform)))
    moments = {}
    for sound, members in SOUNDS.items():
        likelihood = gaussian_filter1d(phones[:, [names.index(name) for name in members]].sum(1), 2.0)
        chosen: list[float] = []
        for frame in np.argsort(-likelihood):
            time = float(frame) * HOP / SAMPLE_RATE
            if len(chosen) < MOMENTS and all(abs(time - other) >= _MIN_GAP for other in chosen):
                chosen.append(time)
        moments[sound] = sorted(chosen)
    return moments


def render_moments(portrait: Path, track: MotionTrack, moments: dict[str, list[float]]) -> dict[str, list[np.ndarray]]:
    """Let a portrait speak; return its lower face at the moments of each sound."""
    photo = load_portrait(portrait).limited(SIDE)
    shown_frames = {round(time * 25) for times in moments.values() for time in times}
    eyes = float(eye_distance(photo.points[None])[0])
    lower = photo.points[photo.points[:, 1] > photo.points[1, 1]]
    stream = render_frames(photo, track, AnimateOptions(max_size=SIDE))
    tiles = {}
    for k, frame in enumerate(stream.frames):
        if k in shown_frames:
            box = landmark_box(lower, 0.3 * eyes, frame.shape)
            height, width = frame[box].shape[:2]
            size = _TILE, round(_TILE * height / width)
            tiles[k] = cv2.resize(frame[box][..., :3], size, interpolation=cv2.INTER_AREA)
    stream.close()
    last = max(tiles)
    return {sound: [tiles[min(round(time * 25), last)] for time in times] for sound, times in moments.items()}


def save_sound_sheets(portraits: list[Path], audio: Path, folder: Path) -> None:
    """Write SOUND.png for each of SOUNDS: a row of lower faces for each portrait."""
    moments, track = find_moments(audio), load_speech(audio).track
    rows: dict[str, list[tuple[str, list[np.ndarray]]]] = {sound: [] for sound in SOUNDS}
    for portrait in portraits:
        for sound, tiles in render_moments(portrait, track, moments).items():
            rows[sound].append((portrait.stem, tiles))
    for sound, entries in rows.items():
        height = max(tile.shape[0] for _, tiles in entries for tile in tiles)
        padded, labels = [], []
        for name, tiles in entries:
            padded += [np.pad(tile, ((0, height - tile.shape[0]), (0, 0), (0, 0))) for tile in tiles]
            labels += [f"{name[-22:]} {time:.2f} s" for time in moments[sound]]
        save_sheet(folder / f"{sound}.png", arrange_tiles(padded, labels, 2 * MOMENTS))
