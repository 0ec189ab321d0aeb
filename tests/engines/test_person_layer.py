"""The person's layer of engines that do not provide it, and of those that do."""

from collections.abc import Generator
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.engines.base import FrameStream
from mimaface_cli.engines.person_layer import NO_FACE_NOTE, SEGMENTED_NOTE, ensure_person_layer


@pytest.fixture(scope="module")
def photo(sample) -> np.ndarray:
    """The portrait, (256, 256, 3)."""
    return np.asarray(Image.open(sample.portrait).resize((256, 256), Image.Resampling.LANCZOS))


def stream_of(*frames: np.ndarray, **settings) -> FrameStream:
    def generate() -> Generator[np.ndarray, None, None]:
        yield from frames

    return FrameStream(generate(), np.arange(len(frames)) / 25, Fraction(25), **settings)


def test_frames_without_layers_are_cut_out(photo):
    stream = stream_of(photo, photo)
    ensure_person_layer(stream, cutout=True, needs_alpha=True)
    assert stream.is_cutout and stream.person_alphas is not None
    alphas = []
    for frame in stream.frames:
        assert frame.shape == (256, 256, 4) and frame.dtype == np.uint8
        alphas.append(next(stream.person_alphas))
        assert np.array_equal(alphas[-1], frame[..., 3])
        is_opaque = frame[..., 3] == 255
        assert np.abs(frame[..., :3][is_opaque].astype(int) - photo[is_opaque]).max() <= 1
    assert len(alphas) == 2 and stream.notes.count(SEGMENTED_NOTE) == 1
    alpha = alphas[0]
    assert alpha[60:75, 105:125].min() == 255  # the face
    assert alpha[:50, :40].max() == 0  # the corner behind the person
    assert 0.2 < (alpha > 128).mean() < 0.9


def test_alpha_is_provided_beside_unchanged_frames(photo):
    stream = stream_of(photo)
    ensure_person_layer(stream, cutout=False, needs_alpha=True)
    (frame,) = stream.frames
    assert np.array_equal(frame, photo) and not stream.is_cutout
    assert stream.person_alphas is not None
    assert next(stream.person_alphas)[60:75, 105:125].min() == 255
    assert SEGMENTED_NOTE not in stream.notes  # a single frame does not flicker


def test_transparent_parts_of_a_photo_are_no_part_of_the_person(photo):
    alpha = np.full((256, 256), 255, np.uint8)
    alpha[:, 115:] = 0
    stream = stream_of(np.dstack((photo, alpha)))
    ensure_person_layer(stream, cutout=True, needs_alpha=False)
    (frame,) = stream.frames
    assert frame[:, 115:, 3].max() == 0 and frame[60:75, 105:112, 3].min() == 255


def test_layers_of_the_engine_are_used(photo):
    layered = np.dstack((photo, np.tile(np.arange(256, dtype=np.uint8), (256, 1))))
    stream = stream_of(layered, is_cutout=True)
    ensure_person_layer(stream, cutout=True, needs_alpha=True)
    (frame,) = stream.frames
    assert frame is layered and stream.person_alphas is not None
    assert np.array_equal(next(stream.person_alphas), layered[..., 3]) and stream.notes == []

    alphas = iter([layered[..., 3]])
    stream = stream_of(photo, person_alphas=alphas)
    ensure_person_layer(stream, cutout=False, needs_alpha=True)
    assert stream.person_alphas is alphas and next(stream.frames) is photo


def test_stream_is_unchanged_without_requests(photo):
    stream = stream_of(photo)
    frames = stream.frames
    ensure_person_layer(stream, cutout=False, needs_alpha=False)
    assert stream.frames is frames and stream.person_alphas is None


def test_frames_without_a_face_use_the_landmarks_of_the_photo(photo, sample):
    blank = np.full_like(photo, 90)
    stream = stream_of(blank)
    ensure_person_layer(stream, cutout=True, needs_alpha=False)
    (frame,) = stream.frames
    assert frame[..., 3].max() == 0 and stream.notes == [NO_FACE_NOTE]

    from mimaface_cli.face.detection import detect_faces

    points = detect_faces(photo)[0].points
    stream = stream_of(blank)
    ensure_person_layer(stream, cutout=True, needs_alpha=False, points=points)
    (frame,) = stream.frames
    assert frame[60:75, 105:125, 3].min() > 250 and NO_FACE_NOTE not in stream.notes


def test_closed_stream_closes_the_frames_of_the_engine(photo):
    closed = []

    def generate() -> Generator[np.ndarray, None, None]:
        try:
            while True:
                yield photo
        finally:
            closed.append(True)

    for cutout in (True, False):
        stream = FrameStream(generate(), np.arange(9) / 25, Fraction(25))
        ensure_person_layer(stream, cutout=cutout, needs_alpha=True)
        next(stream.frames)
        stream.close()
    assert closed == [True, True]
