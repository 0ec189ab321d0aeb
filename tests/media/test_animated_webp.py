"""Animated WebP is read as a video: frames, times, rate, colors, damage."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.errors import InputError
from mimaface_cli.media.image import image_kind
from mimaface_cli.media.reader import probe, read_frames
from tests.media.synthetic_media import read_stamp, stamped_frame


def write_webp(path, durations, **settings):
    frames = [Pillow.fromarray(stamped_frame(number)) for number in range(len(durations))]
    settings = {"lossless": True, "minimize_size": False, "kmin": 0, "kmax": 0} | settings
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, **settings)
    return path


@pytest.mark.parametrize(
    ("durations", "rate", "is_variable"),
    [
        ([100] * 6, Fraction(10), False),
        ([40] * 6, Fraction(25), False),
        ([33, 33, 34, 33, 33, 34], Fraction(30), False),
        ([42, 42, 41, 42, 42, 41], Fraction(24), False),
        ([100, 100, 100, 500], Fraction(4 * 1000, 800), True),
        ([0, 0, 5], Fraction(10), False),  # browsers take 100 ms
    ],
)
def test_animation_is_probed_and_read_with_its_times(tmp_path, durations, rate, is_variable):
    path = write_webp(tmp_path / "a.webp", durations)
    shown = [duration if duration > 10 else 100 for duration in durations]
    info = probe(path)
    assert (info.kind, info.width, info.height) == ("video", 96, 64)
    assert (info.frame_rate, info.variable_rate, info.frame_count) == (rate, is_variable, len(durations))
    assert info.duration == sum(shown) / 1000 and not info.has_audio
    frames = list(read_frames(path))
    assert [read_stamp(frame.image) for frame in frames] == list(range(len(durations)))
    assert [frame.pts for frame in frames] == [sum(shown[:k]) / 1000 for k in range(len(durations))]
    assert all(frame.image.flags.c_contiguous and frame.image.dtype == np.uint8 for frame in frames)


def test_animation_is_read_from_a_start_time(tmp_path):
    path = write_webp(tmp_path / "a.webp", [100] * 6)
    frames = list(read_frames(path, start=0.2, duration=0.3))
    assert [(read_stamp(frame.image), frame.index) for frame in frames] == [(2, 0), (3, 1), (4, 2)]


def test_still_webp_stays_a_photo(tmp_path):
    Pillow.fromarray(stamped_frame(3)).save(tmp_path / "a.webp")
    assert image_kind(tmp_path / "a.webp") == probe(tmp_path / "a.webp").kind == "image"


def test_animation_matches_the_same_frames_in_other_formats(tmp_path):
    path = write_webp(tmp_path / "a.webp", [100] * 6)
    frames = [Pillow.fromarray(stamped_frame(number)) for number in range(6)]
    for name in ("a.png", "a.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100)
        other = probe(tmp_path / name)
        assert (other.kind, other.frame_rate) == ("video", 10)
        pairs = zip(read_frames(path), read_frames(tmp_path / name), strict=True)
        assert all(np.array_equal(first.image, second.image) for first, second in pairs)


@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_truncated_animation_is_refused(tmp_path, share):
    path = write_webp(tmp_path / "a.webp", [100] * 6)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match="damaged or cut short"):
        list(read_frames(path))
