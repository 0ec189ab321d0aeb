"""Codecs, channels and streams of the audio of output videos: what is kept, what is converted, and the notes."""

import av
import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.audio import AudioReader, AudioTrack
from mimaface_cli.media.writer import VideoWriter
from tests.media.ffmpeg import decode_channels, main_frequency, run_ffmpeg, tones
from tests.media.synthetic_media import make_clip, stamped_frame
from tests.media.test_audio_muxer import RATE, write_with_audio


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".webm", "opus")])
@pytest.mark.parametrize("layout", ["5.1", "5.1(side)"])
def test_surround_audio_keeps_its_channels(tmp_path, suffix, codec, layout):
    source, target = tmp_path / "c.wav", tmp_path / f"d{suffix}"
    frequencies = [300, 500, 700, 60, 900, 1100]
    run_ffmpeg(*tones(frequencies, 1, 48_000, layout), source)
    writer = write_with_audio(source, target, 20)
    assert writer.audio_notes == [f"the audio is converted: pcm_s16le to {codec}"]
    with av.open(str(target)) as file:
        stream = file.streams.audio[0]
        assert (stream.rate, stream.layout.name) == (48_000, "5.1")
    decoded = decode_channels(target, 6)
    assert decoded.shape[1] / 48_000 == pytest.approx(0.8, abs=0.02)
    measured = [main_frequency(samples[4800:28_800], 48_000) for samples in decoded]
    assert measured == pytest.approx(frequencies, abs=4)


def test_layout_that_the_encoder_lacks_is_mixed_with_a_note(tmp_path):
    source = tmp_path / "c.wav"
    run_ffmpeg(*tones([300] * 7, 1, 48_000, "6.1"), source)
    writer = write_with_audio(source, tmp_path / "d.mp4", 20)
    assert writer.audio_notes == ["the audio is converted: pcm_s16le to aac, 7 channels to 2"]
    assert np.abs(decode_channels(tmp_path / "d.mp4", 2)).max() > 0.2


LOSSLESS = ["alac", *(f"pcm_{kind}" for kind in ("s16be", "s24be", "s24le", "s32le", "s32be", "f32be", "f64le", "s8"))]


@pytest.mark.parametrize("codec", [*LOSSLESS, "pcm_alaw"])
@pytest.mark.parametrize("start", [0.0, 0.3])
def test_lossless_audio_of_a_quicktime_file_stays_as_it_is(tmp_path, codec, start):
    source = tmp_path / "c.mov"
    run_ffmpeg(*tones([300, 500], 1, 44_100, "stereo"), "-c:a", codec, source)
    writer = write_with_audio(source, tmp_path / "d.mov", 10, start=start)
    assert writer.audio_notes == []
    with av.open(str(tmp_path / "d.mov")) as file:
        assert file.streams.audio[0].codec_context.codec.canonical_name == codec
    cut, original = decode_channels(tmp_path / "d.mov", 2), decode_channels(source, 2)
    first = round(start * 44_100)
    assert abs(cut.shape[1] - 0.4 * 44_100) < (4800 if codec == "alac" and start == 0 else 1200)
    if codec != "alac":  # the first packet may start before the video, which players skip
        offsets = range(max(first - 2400, 0), first + 1)
        assert any(np.array_equal(original[:, offset : offset + 9000], cut[:, :9000]) for offset in offsets)


@pytest.mark.parametrize(
    ("source_codec", "suffix", "codec"),
    [
        ("pcm_s16be", ".mkv", "pcm_s16be"),
        ("pcm_s24be", ".mkv", "pcm_s24be"),
        ("pcm_f32be", ".mkv", "pcm_f32le"),
        ("pcm_s8", ".mkv", "pcm_s16le"),
        ("pcm_s32be", ".mp4", "aac"),
    ],
)
def test_pcm_stays_pcm_where_the_container_holds_it(tmp_path, source_codec, suffix, codec):
    source = tmp_path / "c.mov"
    run_ffmpeg(*tones([300, 500], 1, 48_000, "stereo"), "-c:a", source_codec, source)
    writer = write_with_audio(source, tmp_path / f"d{suffix}", 20)
    with av.open(str(tmp_path / f"d{suffix}")) as file:
        assert file.streams.audio[0].codec_context.codec.canonical_name == codec
    assert writer.audio_notes == (
        [] if codec == source_codec else [f"the audio is converted: {source_codec} to {codec}"]
    )


def test_flac_becomes_pcm_in_quicktime_without_loss(tmp_path):
    source = tmp_path / "c.flac"
    run_ffmpeg(*tones([300, 500], 1, 48_000, "stereo"), "-sample_fmt", "s32", source)
    writer = write_with_audio(source, tmp_path / "d.mov", 20)
    assert writer.audio_notes == ["the audio is converted: flac to pcm_s32le"]
    cut = decode_channels(tmp_path / "d.mov", 2)
    assert np.array_equal(cut, decode_channels(source, 2)[:, : cut.shape[1]])


def make_tracks(path, *parts):
    """Write audio streams of tones: (arguments of the stream, frequencies, layout) each."""
    inputs, options = [], []
    for number, (arguments, frequencies, layout) in enumerate(parts):
        inputs += tones(frequencies, 1, 48_000, layout)
        options += ["-map", f"{number}:a"]
        options += [part.replace(":a", f":a:{number}") for part in arguments]
    run_ffmpeg(*inputs, *options, path)
    return path


MONO_PCM = ["-c:a", "pcm_s24le"]


@pytest.mark.parametrize("name", ["c.mov", "c.mkv"])
def test_mono_tracks_become_left_and_right(tmp_path, name):
    parts = [(MONO_PCM, [hertz], "mono") for hertz in (300, 500, 700, 900)]
    source = make_tracks(tmp_path / name, *parts)
    writer = write_with_audio(source, tmp_path / "d.mov", 20)
    assert writer.audio_copied is False
    assert writer.audio_notes == [
        "the mono audio streams 1 and 2 are joined to stereo; the other 2 are left out, `audio_stream` selects one"
    ]
    decoded = decode_channels(tmp_path / "d.mov", 2)
    assert decoded.shape[1] == 38_400
    assert [main_frequency(samples, 48_000) for samples in decoded] == pytest.approx([300, 500], abs=3)
    original = decode_channels(source, 1, 1)
    assert np.array_equal(decoded[1], original[0, :38_400])


def test_mono_tracks_of_mxf_become_left_and_right(tmp_path):
    video = make_clip(tmp_path / "v.mp4", 25, size=(64, 64))
    streams = [*tones([300], 1, 48_000, "mono"), *tones([500], 1, 48_000, "mono")]
    maps = ["-map", "0:v", "-map", "1:a", "-map", "2:a", "-c:v", "mpeg2video", "-c:a", "pcm_s16le"]
    run_ffmpeg("-i", video, *streams, *maps, tmp_path / "c.mxf")
    write_with_audio(tmp_path / "c.mxf", tmp_path / "d.mp4", 20)
    decoded = decode_channels(tmp_path / "d.mp4", 2)
    assert [main_frequency(samples, 48_000) for samples in decoded] == pytest.approx([300, 500], abs=3)


def test_stream_can_be_selected_by_number(tmp_path):
    languages = [
        (["-c:a", "aac", "-metadata:s:a", f"language={name}"], [hertz], "mono")
        for name, hertz in (("eng", 300), ("fra", 500))
    ]
    source = make_tracks(tmp_path / "c.mp4", *languages)
    for number, hertz, notes in (
        (
            None,
            300,
            [
                "the file has 2 audio streams; number 1 (eng) is used, the others (fra) are left out; "
                "`audio_stream` selects another"
            ],
        ),
        (2, 500, []),
    ):
        target = tmp_path / f"{number}.mp4"
        with VideoWriter(target, 96, 64, RATE, audio=AudioTrack(source, stream=number)) as writer:
            writer.write(stamped_frame(0), 0.0)
            writer.write(stamped_frame(1), 0.8)
        assert writer.audio_notes == notes
        assert main_frequency(decode_channels(target, 1)[0], 48_000) == pytest.approx(hertz, abs=5)
    with pytest.raises(InputError, match="no audio stream 3"):
        AudioReader(source, 0.0, 3)
