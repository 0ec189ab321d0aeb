"""Video, folders and pictures as frames: counts, times, orientation, sound presence, and files that are none."""

import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.errors import InputError
from mimaface_cli.media import libav
from mimaface_cli.media.reader import probe, read_frames
from tests.media.made_media import SOUND_RATE, make_clip, make_wav, noise, stamp, stamped

NTSC = Fraction(30000, 1001)


def numbers(path, **options):
    return [stamp(frame.image) for frame in read_frames(path, **options)]


@pytest.mark.parametrize("rate", [Fraction(25), NTSC, Fraction(24000, 1001), Fraction(12), Fraction(1350, 61)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_rate_is_exact_and_every_frame_comes(tmp_path, rate, suffix):
    path = make_clip(tmp_path / f"a{suffix}", 40, rate)
    info = probe(path)
    assert (info.kind, info.frame_rate, info.frame_count, info.variable_rate) == ("video", rate, 40, False)
    assert (info.width, info.height, info.codec, info.pixel_format) == (96, 64, "h264", "yuv420p")
    assert info.duration == pytest.approx(40 / rate, abs=0.001) and not info.has_audio
    frames = list(read_frames(path))
    assert [stamp(frame.image) for frame in frames] == list(range(40)) == [frame.index for frame in frames]
    exact = 0.00051 if suffix == ".mkv" else 1e-9  # Matroska counts milliseconds
    assert all(abs(frame.pts - frame.index / rate) <= exact for frame in frames)


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
def test_formats(tmp_path, suffix, codec, pixel_format, options):
    path = make_clip(tmp_path / f"a{suffix}", 30, codec=codec, pixel_format=pixel_format, options=options)
    frames = list(read_frames(path))
    assert [stamp(frame.image) for frame in frames] == list(range(30))
    assert [round(frame.pts * 25, 6) for frame in frames] == list(range(30))
    assert all(frame.image.flags.c_contiguous and frame.image.dtype == np.uint8 for frame in frames)
    assert probe(path).frame_rate == 25


def test_odd_sizes(tmp_path):
    path = make_clip(tmp_path / "a.mkv", 3, size=(97, 61), codec="ffv1", pixel_format="bgr0")
    frames = list(read_frames(path))
    assert all(np.array_equal(frame.image, stamped(frame.index, 97, 61)) for frame in frames)


@pytest.mark.parametrize(
    ("display", "upright"),
    [
        ((0, False, False), lambda image: image),
        ((90, False, False), lambda image: np.rot90(image)),
        ((180, False, False), lambda image: np.rot90(image, 2)),
        ((270, False, False), lambda image: np.rot90(image, 3)),
        ((0, True, False), lambda image: image[:, ::-1]),
        ((0, False, True), lambda image: image[::-1]),
    ],
)
def test_display_matrix(tmp_path, display, upright):
    path = make_clip(tmp_path / "a.mp4", 3, size=(80, 48), display=display, codec="libx264rgb", pixel_format="rgb24")
    marked = stamped(2, 80, 48).copy()
    with av.open(str(path)) as file:
        marked = list(file.decode(video=0))[2].to_ndarray(format="rgb24")
    shown = list(read_frames(path))[2].image
    assert np.array_equal(shown, upright(marked))
    assert shown.flags.c_contiguous
    assert (probe(path).width, probe(path).height) == (shown.shape[1], shown.shape[0])


def test_turned_and_mirrored_as_the_matrix_says(tmp_path):
    corners = np.zeros((32, 48, 3), np.uint8)
    corners[:8, :8], corners[:8, -8:], corners[-8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    for degrees, mirror in ((90, True), (270, True)):
        path = tmp_path / f"{degrees}.mp4"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264rgb", rate=25, options={"qp": "0"})
            stream.width, stream.height, stream.pix_fmt = 48, 32, "rgb24"
            stream.set_display_rotation(degrees, mirror, False)
            frame = av.VideoFrame.from_ndarray(corners, format="rgb24")
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        with av.open(str(path)) as file:
            matrix = np.frombuffer(bytes(next(file.decode(video=0)).side_data["DISPLAYMATRIX"]), np.int32)
        a, b, c, d = (int(np.sign(matrix[place])) for place in (0, 1, 3, 4))
        image = next(read_frames(path)).image
        for row, column in ((2, 2), (2, 45), (29, 2)):
            # A coded point goes to (a x + c y, b x + d y), negative coordinates counting from the far edge.
            x, y = a * column + c * row, b * column + d * row
            x, y = (x - 1 if a + c < 0 else x), (y - 1 if b + d < 0 else y)
            assert np.array_equal(image[y, x], corners[row, column])


def test_pixels_become_square(tmp_path):
    wide = make_clip(tmp_path / "wide.mp4", 2, aspect=Fraction(16, 15))
    tall = make_clip(tmp_path / "tall.mp4", 2, aspect=Fraction(2, 3))
    both = make_clip(tmp_path / "both.mp4", 2, aspect=Fraction(2), display=(90, False, False))
    assert (probe(wide).width, probe(wide).height) == (102, 64)
    assert (probe(tall).width, probe(tall).height) == (96, 96)
    assert (probe(both).width, probe(both).height) == (64, 192)
    assert [frame.image.shape for frame in read_frames(wide)] == [(64, 102, 3)] * 2
    assert next(read_frames(both)).image.shape == (192, 64, 3)


def test_what_an_edit_list_hides_is_not_shown(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 40, times=list(range(-13, 27)), options={"bf": "3", "g": "40"})
    frames = list(read_frames(path))
    assert [stamp(frame.image) for frame in frames] == list(range(13, 40))
    assert frames[0].pts == 0.0 and frames[-1].pts == pytest.approx(26 / 25)
    assert probe(path).frame_count == 27


def test_late_first_frame_counts_from_zero(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 10, times=list(range(12, 22)))
    assert [round(frame.pts * 25) for frame in read_frames(path)] == list(range(10))


def test_variable_rate_keeps_its_times(tmp_path):
    ticks = np.cumsum([0] + [40, 33, 120, 17, 40, 250, 33] * 4).tolist()
    for suffix in (".mp4", ".mkv"):
        path = make_clip(tmp_path / f"a{suffix}", len(ticks), times=ticks, time_base=Fraction(1, 1000))
        assert probe(path).variable_rate is True
        assert [round(frame.pts * 1000, 6) for frame in read_frames(path)] == ticks


def test_sound_stream_before_the_picture_changes_nothing(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 30, sound=noise(1.2), sound_first=True, options={"bf": "3"})
    assert numbers(path) == list(range(30)) and probe(path).has_audio


def test_max_frames(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 30)
    assert numbers(path, max_frames=7) == list(range(7))
    assert numbers(path, max_frames=0) == []


def test_closing_ends_the_thread_and_frees_the_file(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 60)
    before = threading.active_count()
    for taken in (1, 5):
        frames = read_frames(path)
        for _ in range(taken):
            next(frames)
        assert any(thread.name == "prefetch" for thread in threading.enumerate())
        frames.close()
        assert not any(thread.name == "prefetch" for thread in threading.enumerate())
    assert threading.active_count() == before


def test_awkward_names(tmp_path, monkeypatch):
    for name in ("größe 像 %05d.mp4", "http:colon.mp4", "-dash.mp4", "concat:a|b.mp4"):
        assert len(numbers(make_clip(tmp_path / "plain.mp4", 3).rename(tmp_path / name))) == 3
    monkeypatch.chdir(tmp_path)
    assert len(numbers("-dash.mp4")) == 3 and len(numbers("http:colon.mp4")) == 3


# Pictures


def test_folder_in_natural_order(tmp_path):
    for number in (1, 2, 10, 11, 100):
        Pillow.fromarray(stamped(number)).save(tmp_path / f"frame{number}.png")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "deeper.png").mkdir()
    assert numbers(tmp_path) == [1, 2, 10, 11, 100]
    info = probe(tmp_path, frame_rate=NTSC)
    assert (info.kind, info.frame_count, info.frame_rate, info.codec) == ("folder", 5, NTSC, "png")
    assert [frame.pts for frame in read_frames(tmp_path, frame_rate=Fraction(10))] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert probe(tmp_path).frame_rate == 25


def test_folder_of_two_sizes_names_the_odd_one(tmp_path):
    Pillow.fromarray(stamped(1)).save(tmp_path / "1.png")
    Pillow.fromarray(stamped(2, 90, 60)).save(tmp_path / "2.png")
    with pytest.raises(InputError, match=r"2\.png: is 90x60 .* 96x64"):
        list(read_frames(tmp_path))


def test_single_picture_and_animation(tmp_path):
    pictures = [Pillow.fromarray(stamped(number)) for number in range(4)]
    pictures[3].save(tmp_path / "a.png")
    assert numbers(tmp_path / "a.png") == [3]
    assert (probe(tmp_path / "a.png").kind, probe(tmp_path / "a.png").frame_count) == ("image", 1)
    for name in ("a.gif", "b.png"):
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=100)
        assert numbers(tmp_path / name) == [0, 1, 2, 3]
        assert probe(tmp_path / name).frame_rate == 10


# What is no video


def test_refusals_name_the_file_and_the_mend(tmp_path):
    sound_only = tmp_path / "sound.mp4"
    with av.open(str(sound_only), "w") as out:
        stream = out.add_stream("aac", rate=SOUND_RATE)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), "fltp", "stereo")
        frame.sample_rate = SOUND_RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    texts = {
        "words.mp4": b"these are words\n" * 50,
        "words.txt": b"these are words\n" * 50,
        "list.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "script.mp4": b"ffconcat version 1.0\nfile 'other.mp4'\n",
        "empty.mp4": b"",
        "raw.yuv": bytes(10_000),
        "giant.y4m": b"YUV4MPEG2 W20000 H20000 F25:1 C420\nFRAME\n" + bytes(1000),
    }
    for name, content in texts.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "void").mkdir()
    make_wav(tmp_path / "sound.wav", noise(0.3))
    for name in (*texts, "void", "none.mp4", "sound.mp4", "sound.wav"):
        for look in (probe, lambda path: list(read_frames(path))):
            with pytest.raises(InputError) as caught:
                look(tmp_path / name)
            line = str(caught.value)
            assert str(tmp_path / name) in line and "\n" not in line, line
    with pytest.raises(InputError, match="audio but no video"):
        probe(sound_only)
    with pytest.raises(InputError, match="no images in this folder"):
        probe(tmp_path / "void")


def test_cover_art_is_no_video(tmp_path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=SOUND_RATE)
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = cover.disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame.from_ndarray(stamped(1, 32, 32), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), "fltp", "stereo")
        frame.sample_rate = SOUND_RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with av.open(str(path)) as file:
        assert file.streams.video, "the test file has lost its cover"
    with pytest.raises(InputError, match="audio but no video"):
        probe(path)


def test_frames_above_the_limit_are_refused(tmp_path, monkeypatch):
    path = make_clip(tmp_path / "a.mp4", 3)
    monkeypatch.setattr(libav, "MAX_PIXELS", 96 * 64 - 1)
    with pytest.raises(InputError, match="too large"):
        probe(path)
    with pytest.raises(InputError, match="too large"):
        list(read_frames(path))
