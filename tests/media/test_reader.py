"""Videos, images and folders as frames: counts, times, orientation, and inputs that are refused."""

import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.errors import InputError
from mimaface_cli.media import libav
from mimaface_cli.media.reader import probe, read_frames
from tests.media.synthetic_media import (
    NTSC,
    make_audio,
    make_clip,
    make_noise,
    make_silent_aac,
    read_stamp,
    stamped_frame,
)


def read_stamps(path, **options):
    return [read_stamp(frame.image) for frame in read_frames(path, **options)]


@pytest.mark.parametrize("rate", [Fraction(25), NTSC, Fraction(24000, 1001), Fraction(12), Fraction(1350, 61)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_frame_rate_is_exact_and_no_frame_is_missing(tmp_path, rate, suffix):
    path = make_clip(tmp_path / f"a{suffix}", 40, rate)
    info = probe(path)
    assert (info.kind, info.frame_rate, info.frame_count, info.variable_rate) == ("video", rate, 40, False)
    assert (info.width, info.height, info.codec, info.pixel_format) == (96, 64, "h264", "yuv420p")
    assert info.duration == pytest.approx(40 / rate, abs=0.001) and not info.has_audio
    frames = list(read_frames(path))
    assert [read_stamp(frame.image) for frame in frames] == list(range(40)) == [frame.index for frame in frames]
    tolerance = 0.00051 if suffix == ".mkv" else 1e-9  # Matroska counts milliseconds
    assert all(abs(frame.pts - frame.index / rate) <= tolerance for frame in frames)


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format", "options"),
    [
        (".avi", "mpeg4", "yuv420p", {"bf": "2"}),
        (".mpg", "mpeg1video", "yuv420p", {"bf": "2"}),
        (".ts", "libx264", "yuv420p", {"bf": "3"}),
        (".webm", "libvpx-vp9", "yuv420p", {"cpu-used": "8", "deadline": "realtime"}),
        (".mkv", "ffv1", "yuv444p10le", {}),
        (".mp4", "libx264", "yuv444p", {}),
        (".mp4", "libx265", "yuv420p10le", {"x265-params": "log-level=none"}),
        (".mov", "prores_ks", "yuv422p10le", {}),
        (".mp4", "libx264", "yuv420p", {"x264-params": "interlaced=1"}),
    ],
)
def test_every_format_is_read_frame_by_frame(tmp_path, suffix, codec, pixel_format, options):
    path = make_clip(tmp_path / f"a{suffix}", 30, codec=codec, pixel_format=pixel_format, options=options)
    frames = list(read_frames(path))
    assert [read_stamp(frame.image) for frame in frames] == list(range(30))
    assert [round(frame.pts * 25, 6) for frame in frames] == list(range(30))
    assert all(frame.image.flags.c_contiguous and frame.image.dtype == np.uint8 for frame in frames)
    assert probe(path).frame_rate == 25


def test_odd_sizes_are_read_exactly(tmp_path):
    path = make_clip(tmp_path / "a.mkv", 3, size=(97, 61), codec="ffv1", pixel_format="bgr0")
    frames = list(read_frames(path))
    assert all(np.array_equal(frame.image, stamped_frame(frame.index, 97, 61)) for frame in frames)


@pytest.mark.parametrize(
    ("display", "turn_upright"),
    [
        ((0, False, False), lambda image: image),
        ((90, False, False), np.rot90),
        ((180, False, False), lambda image: np.rot90(image, 2)),
        ((270, False, False), lambda image: np.rot90(image, 3)),
        ((0, True, False), lambda image: image[:, ::-1]),
        ((0, False, True), lambda image: image[::-1]),
    ],
)
def test_display_matrix_turns_frames_upright(tmp_path, display, turn_upright):
    path = make_clip(tmp_path / "a.mp4", 3, size=(80, 48), display=display, codec="libx264rgb", pixel_format="rgb24")
    with av.open(str(path)) as file:
        coded = list(file.decode(video=0))[2].to_ndarray(format="rgb24")
    shown = list(read_frames(path))[2].image
    assert np.array_equal(shown, turn_upright(coded))
    assert shown.flags.c_contiguous
    assert (probe(path).width, probe(path).height) == (shown.shape[1], shown.shape[0])


@pytest.mark.parametrize("degrees", [90, 270])
def test_display_matrix_with_rotation_and_flip_moves_every_corner_as_defined(tmp_path, degrees):
    corners = np.zeros((32, 48, 3), np.uint8)
    corners[:8, :8], corners[:8, -8:], corners[-8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264rgb", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "rgb24"
        stream.set_display_rotation(degrees, True, False)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(corners, format="rgb24")))
        out.mux(stream.encode(None))
    with av.open(str(path)) as file:
        matrix = np.frombuffer(bytes(next(file.decode(video=0)).side_data["DISPLAYMATRIX"]), np.int32)
    a, b, c, d = (int(np.sign(matrix[place])) for place in (0, 1, 3, 4))
    image = next(read_frames(path)).image
    for row, column in ((2, 2), (2, 45), (29, 2)):
        # The matrix maps a coded point to (a x + c y, b x + d y); negative coordinates count from the far edge.
        x = a * column + c * row - (a + c < 0)
        y = b * column + d * row - (b + d < 0)
        assert np.array_equal(image[y, x], corners[row, column])


def test_frames_with_another_pixel_aspect_are_stretched_to_square_pixels(tmp_path):
    wide_clip = make_clip(tmp_path / "wide.mp4", 2, aspect=Fraction(16, 15))
    tall_clip = make_clip(tmp_path / "tall.mp4", 2, aspect=Fraction(2, 3))
    rotated = make_clip(tmp_path / "rotated.mp4", 2, aspect=Fraction(2), display=(90, False, False))
    assert (probe(wide_clip).width, probe(wide_clip).height) == (102, 64)
    assert (probe(tall_clip).width, probe(tall_clip).height) == (96, 96)
    assert (probe(rotated).width, probe(rotated).height) == (64, 192)
    assert [frame.image.shape for frame in read_frames(wide_clip)] == [(64, 102, 3)] * 2
    assert next(read_frames(rotated)).image.shape == (192, 64, 3)


def test_frames_hidden_by_an_edit_list_are_skipped(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 40, times=list(range(-13, 27)), options={"bf": "3", "g": "40"})
    frames = list(read_frames(path))
    assert [read_stamp(frame.image) for frame in frames] == list(range(13, 40))
    assert frames[0].pts == 0.0 and frames[-1].pts == pytest.approx(26 / 25)
    assert probe(path).frame_count == 27


def test_times_count_from_the_first_frame(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 10, times=list(range(12, 22)))
    assert [round(frame.pts * 25) for frame in read_frames(path)] == list(range(10))


def test_variable_frame_rate_preserves_the_times(tmp_path):
    ticks = np.cumsum([0] + [40, 33, 120, 17, 40, 250, 33] * 4).tolist()
    for suffix in (".mp4", ".mkv"):
        path = make_clip(tmp_path / f"a{suffix}", len(ticks), times=ticks, time_base=Fraction(1, 1000))
        assert probe(path).variable_rate is True
        assert [round(frame.pts * 1000, 6) for frame in read_frames(path)] == ticks


def test_order_of_the_streams_does_not_matter(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 30, audio=make_noise(1.2), is_audio_first=True, options={"bf": "3"})
    assert read_stamps(path) == list(range(30)) and probe(path).has_audio


def test_max_frames_limits_the_number_of_frames(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 30)
    assert read_stamps(path, max_frames=7) == list(range(7))
    assert read_stamps(path, max_frames=0) == []


def test_start_and_duration_give_the_same_frames_as_the_whole_video(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 150, NTSC)
    all_frames = list(read_frames(path))
    for first, count in ((0, 5), (40, 10), (100, 30), (149, 9)):  # the later ones seek
        part = list(read_frames(path, start=float(first / NTSC), duration=float(count / NTSC)))
        expected = all_frames[first : first + count]
        assert [frame.pts for frame in part] == [frame.pts for frame in expected]
        assert [frame.index for frame in part] == list(range(len(expected)))
        assert all(np.array_equal(frame.image, same.image) for frame, same in zip(part, expected, strict=True))


def test_closing_the_generator_ends_the_prefetch_thread(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 60)
    before = threading.active_count()
    for count in (1, 5):
        frames = read_frames(path)
        for _ in range(count):
            next(frames)
        assert any(thread.name == "prefetch" for thread in threading.enumerate())
        frames.close()
        assert not any(thread.name == "prefetch" for thread in threading.enumerate())
    assert threading.active_count() == before


def test_file_names_are_never_interpreted_as_options_patterns_or_addresses(tmp_path, monkeypatch):
    for name in ("größe 像 %05d.mp4", "http:colon.mp4", "-dash.mp4", "concat:a|b.mp4"):
        assert len(read_stamps(make_clip(tmp_path / "plain.mp4", 3).rename(tmp_path / name))) == 3
    monkeypatch.chdir(tmp_path)
    assert len(read_stamps("-dash.mp4")) == 3 and len(read_stamps("http:colon.mp4")) == 3


def test_folder_is_read_in_natural_order_without_other_files(tmp_path):
    for number in (1, 2, 10, 11, 100):
        Pillow.fromarray(stamped_frame(number)).save(tmp_path / f"frame{number}.png")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert read_stamps(tmp_path) == [1, 2, 10, 11, 100]
    info = probe(tmp_path, frame_rate=NTSC)
    assert (info.kind, info.frame_count, info.frame_rate, info.codec) == ("folder", 5, NTSC, "png")
    assert [frame.pts for frame in read_frames(tmp_path, frame_rate=Fraction(10))] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert probe(tmp_path).frame_rate == 25


def test_folder_of_two_sizes_is_refused_with_the_name_of_the_second(tmp_path):
    Pillow.fromarray(stamped_frame(1)).save(tmp_path / "1.png")
    Pillow.fromarray(stamped_frame(2, 90, 60)).save(tmp_path / "2.png")
    with pytest.raises(InputError, match=r"2\.png: is 90x60 .* 96x64"):
        list(read_frames(tmp_path))


def test_image_is_one_frame_and_an_animation_is_a_video(tmp_path):
    images = [Pillow.fromarray(stamped_frame(number)) for number in range(4)]
    images[3].save(tmp_path / "a.png")
    assert read_stamps(tmp_path / "a.png") == [3]
    assert (probe(tmp_path / "a.png").kind, probe(tmp_path / "a.png").frame_count) == ("image", 1)
    for name in ("a.gif", "b.png"):
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=100)
        assert read_stamps(tmp_path / name) == [0, 1, 2, 3]
        assert probe(tmp_path / name).frame_rate == 10


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words.mp4", b"these are words\n" * 50),
        ("words.txt", b"these are words\n" * 50),
        ("list.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
        ("script.mp4", b"ffconcat version 1.0\nfile 'other.mp4'\n"),
        ("empty.mp4", b""),
        ("raw.yuv", bytes(10_000)),
        ("giant.y4m", b"YUV4MPEG2 W20000 H20000 F25:1 C420\nFRAME\n" + bytes(1000)),
    ],
)
def test_file_that_is_not_a_video_is_refused_in_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(path)


def assert_refused(path):
    for read in (probe, lambda path: list(read_frames(path))):
        with pytest.raises(InputError) as caught:
            read(path)
        message = str(caught.value)
        assert str(path) in message and "\n" not in message, message


def test_inputs_without_frames_are_refused_in_one_line(tmp_path):
    (tmp_path / "void").mkdir()
    make_audio(tmp_path / "audio.wav", make_noise(0.3))
    make_silent_aac(tmp_path / "audio.mp4")
    for name in ("void", "none.mp4", "audio.mp4", "audio.wav"):
        assert_refused(tmp_path / name)
    with pytest.raises(InputError, match="audio but no video"):
        probe(tmp_path / "audio.mp4")
    with pytest.raises(InputError, match="no images in this folder"):
        probe(tmp_path / "void")


def test_cover_art_is_not_a_video(tmp_path):
    path = make_silent_aac(tmp_path / "song.m4a", cover=stamped_frame(1, 32, 32))
    with av.open(str(path)) as file:
        assert file.streams.video, "the test file has lost its cover"
    with pytest.raises(InputError, match="audio but no video"):
        probe(path)


def test_frames_above_the_size_limit_are_refused(tmp_path, monkeypatch):
    path = make_clip(tmp_path / "a.mp4", 3)
    monkeypatch.setattr(libav, "MAX_PIXELS", 96 * 64 - 1)
    with pytest.raises(InputError, match="too large"):
        probe(path)
    with pytest.raises(InputError, match="too large"):
        list(read_frames(path))
