"""Training data of the eyelid network: what the mesh engine renders of a clip's blinks from a frame with open eyes.

A clip yields pairs of consecutive frames. Each pair is rendered from another frame of the same shot, the photo. Both
eyes give a sample of their own, the right one mirrored.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.builders.clip_renderer import (
    MIN_SHOT,
    ClipRenderer,
    find_shots,
    frame_map,
    mark_usable_frames,
    measure_flow,
    read_clip_frames,
    to_bytes,
)
from mimaface_cli.builders.clip_samples import ClipSamples
from mimaface_cli.engines.mesh.contact import match_lids, measure_lid_openness, separate_lips
from mimaface_cli.engines.mesh.eyelid_crop import (
    EYELID,
    build_eyelid_condition,
    eyelid_crop_matrix,
    measure_crop_opening,
)
from mimaface_cli.engines.mesh.eyes import SIDES
from mimaface_cli.engines.mesh.face_part import crop_image, draw_opening
from mimaface_cli.face import face478
from mimaface_cli.motion.track import MotionTrack

PHOTOS = 2  # per shot
PAIRS = 6  # per photo
_OPEN_PAIRS = 1  # beside the closing ones
_MIN_DISTANCE = 3  # frames between a photo and what is rendered from it
_OPEN_QUANTILE = 0.7  # of the openness in a shot: open eyes
_CLOSED, _MIN_CLOSED = 0.5, 3  # share of that openness below which eyes close; frames of it that a clip must show
_CLOSING_FROM, _CLOSING_UNTIL = 0.25, 0.6  # shares of the openness whose loss gives a frame little and full weight
_BASE_WEIGHT = 0.03  # of frames with open eyes


@dataclass(frozen=True, eq=False)
class EyelidSamples(ClipSamples):
    """Crops of a clip: R eyes of photos and N pairs of consecutive frames. Colors are RGB, openings 0 to 255.

    Attributes:
        photo: (N,) index of each pair's eye in the photos.
        photos: (R, 64, 96, 3) uint8.
        photo_openings: (R, 64, 96) uint8.
        truths: (N, 2, 64, 96, 3) uint8, the frames of the clip.
        renders: (N, 2, 64, 96, 3) uint8, the same frames rendered from the photo.
        openings: (N, 2, 64, 96) uint8, opening of the rendered lids.
        openness: (N, 2) float32, height of the rendered opening relative to the photo's.
        conditions: (N, 2, K) float32, see `build_eyelid_condition`.
        flows: (N, 32, 48, 2) float16, see `measure_flow`.
    """

    photos: np.ndarray
    photo_openings: np.ndarray
    truths: np.ndarray
    renders: np.ndarray
    openings: np.ndarray
    openness: np.ndarray
    conditions: np.ndarray
    flows: np.ndarray


def make_eyelid_samples(path: Path, track: MotionTrack, rng: np.random.Generator) -> EyelidSamples | None:
    """Render the samples of a clip.

    Args:
        path: The clip.
        track: Its motion.
        rng: Random numbers that choose the frames.

    Returns:
        The samples, or None for a clip that is too short, whose eyes never close, or in which no photo shows a face.
    """
    model = face478.load()
    openness = measure_lid_openness(model, track.identity.astype(np.float64), track.expression.astype(np.float64))
    if not shows_closing(openness[track.valid].mean(1)):
        return None
    plans = [plan for start, end in find_shots(track) for plan in plan_shot(track, openness, start, end, rng)]
    needed = {k for photo, firsts in plans for k in (photo, *firsts, *(first + 1 for first in firsts))}
    images = read_clip_frames(path, track, needed) if needed else {}
    photos: list[tuple[np.ndarray, ...]] = []
    samples: list[tuple[int | np.ndarray, ...]] = []
    for photo, firsts in plans:
        renderer = ClipRenderer.of(images[photo], track, photo, model)
        if renderer is None:
            continue
        eyes = [PhotoEye(renderer, side) for side in SIDES]
        for first in firsts:
            frames = [_render(renderer, openness, k) for k in (first, first + 1)]
            for k, eye in enumerate(eyes):
                samples.append((len(photos) + k, *eye.crop_pair(images, first, frames)))
        photos += [eye.crop_photo() for eye in eyes]
    return EyelidSamples.stack(samples, photos) if samples else None


def shows_closing(openness: np.ndarray) -> bool:
    """Return whether eyes with this openness (N,) in the frames of a clip ever close."""
    if not len(openness):
        return False
    closed = openness < _CLOSED * np.quantile(openness, _OPEN_QUANTILE)
    return int(closed.sum()) >= _MIN_CLOSED


def plan_shot(
    track: MotionTrack, openness: np.ndarray, start: int, end: int, rng: np.random.Generator
) -> list[tuple[int, list[int]]]:
    """Choose photos with open eyes, and for each the first frames of pairs, most of them in blinks.

    Args:
        track: Motion of the clip.
        openness: (N, 2) openness of both eyes.
        start: First frame of the shot.
        end: Its end.
        rng: Random numbers.
    """
    frames = np.arange(start, end)
    usable = mark_usable_frames(track)[frames]
    if usable.sum() < MIN_SHOT:
        return []
    mean = openness[frames].mean(1)
    level = float(np.quantile(mean[usable], _OPEN_QUANTILE))
    closing = np.clip(1 - mean / max(level, 1e-3), 0, 1)
    candidates = frames[usable & (mean >= np.median(mean[usable]))]
    is_first = usable[:-1] & usable[1:]
    firsts, closing = frames[:-1][is_first], np.maximum(closing[:-1], closing[1:])[is_first]
    weights = _BASE_WEIGHT + np.clip((closing - _CLOSING_FROM) / (_CLOSING_UNTIL - _CLOSING_FROM), 0, 1)
    plans = []
    for photo in rng.choice(candidates, min(PHOTOS, len(candidates)), replace=False).tolist():
        allowed = np.abs(firsts - photo) > _MIN_DISTANCE
        closed = int((allowed & (closing > _CLOSING_FROM)).sum())
        count = min(PAIRS, int(allowed.sum()), closed + _OPEN_PAIRS)
        share = weights * allowed
        chosen = rng.choice(firsts, count, replace=False, p=share / share.sum()).tolist() if count else []
        plans.append((photo, sorted(chosen)))
    return plans


Frame = tuple[np.ndarray, np.ndarray]  # a rendered frame (H, W, 3) float32, and the vertices (V, 2) in it


def _render(renderer: ClipRenderer, openness: np.ndarray, k: int) -> Frame:
    """Render frame k with lids as the engine places them."""
    heights = renderer.prepared.lid_heights(openness[k])
    head = separate_lips(match_lids(renderer.move_head(k), renderer.model, heights))
    pose, gaze = (array[k].astype(np.float64) for array in (renderer.track.pose, renderer.track.gaze))
    return renderer.render(head, pose, gaze)


class PhotoEye:
    """An eye of the photo.

    Args:
        renderer: Renders from the photo.
        side: "left" or "right".
    """

    def __init__(self, renderer: ClipRenderer, side: str) -> None:
        self._renderer, self._side = renderer, side
        prepared = renderer.prepared
        self._ball = prepared.eyes[side].ball
        self._rows = prepared.geometry.fine.rings[f"{side}_eye"]
        self._matrix = eyelid_crop_matrix(side, self._ball, prepared.portrait.pose, prepared.to_image)
        self._ring = prepared.geometry.texture[self._rows]
        self._opening = measure_crop_opening(self._ring, self._matrix)

    def crop_photo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return crop and opening of the photo, uint8."""
        image = self._renderer.prepared.portrait.image
        opening = draw_opening(EYELID, self._ring, self._matrix)
        return to_bytes(crop_image(EYELID, image, self._matrix)), to_bytes(255 * opening)

    def crop_pair(self, images: dict[int, np.ndarray], first: int, frames: list[Frame]) -> tuple[np.ndarray, ...]:
        """Return truths, renders, openings, openness, conditions and flow of a pair, as in `EyelidSamples`.

        Args:
            images: Frames of the clip.
            first: The first frame.
            frames: Both frames as rendered.
        """
        crops = [self._crop(images[first + step], first + step, frame) for step, frame in enumerate(frames)]
        columns = [np.stack(column) for column in zip(*crops, strict=True)]
        return *columns, measure_flow(*columns[0])

    def _crop(self, image: np.ndarray, k: int, frame: Frame) -> tuple[np.ndarray, ...]:
        """Return truth, render, opening, openness and condition of a frame."""
        prepared, track = self._renderer.prepared, self._renderer.track
        pose = track.pose[k].astype(np.float64)
        matrix = eyelid_crop_matrix(self._side, self._ball, pose, prepared.to_image)
        truth = crop_image(EYELID, image, eyelid_crop_matrix(self._side, self._ball, pose, frame_map(track, k)))
        ring = frame[1][self._rows]
        opening = measure_crop_opening(ring, matrix)
        condition = build_eyelid_condition(
            self._side,
            (opening, self._opening),
            (track.expression[k], prepared.portrait.expression),
            (pose, prepared.portrait.pose),
        )
        render, mask = crop_image(EYELID, frame[0], matrix), draw_opening(EYELID, ring, matrix)
        openness = np.array(min(opening / max(self._opening, 1e-3), 2.0), np.float32)
        return to_bytes(truth), to_bytes(render), to_bytes(255 * mask), openness, condition
