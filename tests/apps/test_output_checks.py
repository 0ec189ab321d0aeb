"""Checks of outputs, and the size of results, before the work starts."""

from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.output_checks import check_media_output, is_video_output, keeps_alpha, playback_notes
from mimaface_cli.apps.source_loading import flatten_alpha, result_size, size_limit
from mimaface_cli.errors import OutputError
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.image import Image


def test_transparency_is_kept_only_by_formats_that_store_it(tmp_path):
    rgb = np.full((2, 2, 3), 200, np.uint8)
    alpha = np.array([[255, 0], [128, 255]], np.uint8)
    assert flatten_alpha(Image(rgb, alpha))[..., 0].tolist() == [[200, 0], [100, 200]]
    assert flatten_alpha(Image(rgb, None)) is rgb
    is_kept = {"a.png": True, "a.webp": True, "a.TIF": True, "a.jpg": False, "a.mp4": False}
    is_kept |= {"a.mov": True, "a.webm": True, "a.mkv": True}
    assert {name: keeps_alpha(Path(name), EncodeOptions()) for name in is_kept} == is_kept
    assert not keeps_alpha(Path("a.mov"), EncodeOptions(codec="h264"))
    assert keeps_alpha(tmp_path, EncodeOptions()) and not is_video_output(tmp_path)
    assert is_video_output(Path("a.mkv")) and not is_video_output(Path("x/%05d.png"))


def test_result_size_follows_mode_and_limit():
    size = 512, 512
    assert result_size(*size, AnimateOptions()) == (512, 512)
    assert result_size(*size, AnimateOptions(max_size=100)) == (100, 100)
    assert result_size(*size, AnimateOptions(output_mode="crop", max_size=100)) == (512, 512)


def test_size_limit_applies_to_photos_over_time_unless_a_number_is_given():
    assert size_limit(None, is_video_of_photo=True) == 1920 and size_limit(None, is_video_of_photo=False) == 0
    assert [size_limit(size, is_video_of_photo=photo) for size in (0, 640) for photo in (True, False)] == [
        0,
        0,
        640,
        640,
    ]


def test_playback_notes_report_h264_beyond_the_limit_of_decoders():
    (note,) = playback_notes(Path("a.mp4"), (4098, 100), EncodeOptions())
    assert note.startswith("4098x100 is more than many players can decode") and "`max_size=4096`" in note
    assert playback_notes(Path("a.mp4"), (4096, 4096), EncodeOptions()) == []
    assert playback_notes(Path("a.mp4"), (4098, 100), EncodeOptions(codec="hevc")) == []
    assert playback_notes(Path("a/%05d.png"), (4098, 100), EncodeOptions()) == []


def test_check_media_output_refuses_outputs_that_cannot_be_written(tmp_path):
    size, encode = (64, 48), EncodeOptions()
    for name in ("a.mp4", "a.webm", "a.png", "new/%04d.webp"):
        check_media_output(tmp_path / name, size, encode, frames=1)
    check_media_output(tmp_path / "a.png", size, encode, frames=None)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="one frame, and 2"):
        check_media_output(tmp_path / "a.png", size, encode, frames=2)
    with pytest.raises(OutputError, match="too small"):
        check_media_output(tmp_path / "a.mov", size, EncodeOptions(codec="dnxhr"))
    (tmp_path / "a.mp4").touch()
    check_media_output(tmp_path / "a.mp4", size, encode, overwrite=True)
    with pytest.raises(OutputError, match="same file"):
        check_media_output(tmp_path / "a.mp4", size, encode, overwrite=True, inputs=(tmp_path / "a.mp4",))
