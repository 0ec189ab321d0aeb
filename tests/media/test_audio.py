"""Audio streams: presence, origin of time, durations."""

from math import inf

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.audio import AudioReader, clock_origin, has_audio
from tests.media.synthetic_media import AUDIO_RATE, make_audio, make_clip, make_noise


def test_has_audio_is_true_for_files_with_an_audio_stream_only(tmp_path):
    assert has_audio(make_clip(tmp_path / "a.mp4", 10, audio=make_noise(0.4)))
    assert not has_audio(make_clip(tmp_path / "b.mp4", 10))
    assert has_audio(make_audio(tmp_path / "c.wav", make_noise(0.2)))
    assert not has_audio(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        has_audio(tmp_path / "none.wav")


def test_has_audio_checks_the_content_not_the_suffix(tmp_path):
    wav = make_audio(tmp_path / "a.wav", make_noise(0.2))
    assert has_audio(wav.rename(tmp_path / "a.mp3"))


def test_clock_origin_is_the_time_of_the_first_frame(tmp_path):
    late_video = make_clip(tmp_path / "a.mp4", 10, times=list(range(12, 22)), audio=make_noise(1))
    assert clock_origin(late_video) == pytest.approx(0.48)
    assert clock_origin(make_audio(tmp_path / "b.wav", make_noise(0.2))) == 0


def test_reader_counts_frame_times_and_the_end_from_the_origin(tmp_path):
    samples = make_noise(1)
    reader = AudioReader(make_audio(tmp_path / "a.wav", samples), origin=0.25)
    frames = list(reader.frames())
    assert np.concatenate([frame.to_ndarray()[0] for frame in frames]).shape == samples.shape
    assert reader.to_seconds(frames[0].pts) == pytest.approx(-0.25)
    assert reader.end() == pytest.approx(0.75)
    assert 0 < reader.packet_duration() < 0.1
    assert not reader.is_damaged
    reader.close()


def test_reader_end_is_infinite_without_a_duration_in_the_header(tmp_path):
    reader = AudioReader(make_audio(tmp_path / "a.mkv", make_noise(0.5), AUDIO_RATE, "flac"), origin=0.0)
    assert reader.end() == inf
    reader.close()


def test_reader_refuses_a_file_without_audio(tmp_path):
    with pytest.raises(InputError, match="has no audio"):
        AudioReader(make_clip(tmp_path / "a.mp4", 5), origin=0.0)
