"""`mimaface animate`: results for photos, videos, folders of frames and tracks."""

import json
import shutil
import subprocess
import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from mimaface_cli.motion.track import MotionTrack
from tests.conftest import FRAMES, NTSC, CommandResult, read_video, write_video


def parse_result(result: CommandResult) -> dict:
    """Return the JSON of a successful run."""
    assert result.code == 0, result.err
    return json.loads(result.out)


def process_result(process: subprocess.CompletedProcess) -> CommandResult:
    """Return the result of a process, after checking that its error stream has only lines of mimaface."""
    for line in process.stderr.splitlines():
        assert line.startswith("note: ") or ": mesh (" in line, f"not a line of mimaface: {line!r}"
    return CommandResult(process.returncode, process.stdout, process.stderr)


def mean_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean absolute difference in gray levels."""
    return float(np.abs(first.astype(float) - second).mean())


def read_packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(getattr(file.streams, kind)[0]) if packet.size]


def test_animate_keeps_frame_times_audio_and_background(run_mimaface, sample, tmp_path, tmp_path_factory):
    photo, driver = tmp_path / "Ünser Foto №1.jpg", tmp_path / "драйвер 1.mp4"
    shutil.copy(sample.portrait, photo)
    shutil.copy(sample.driver, driver)
    output = tmp_path / "результат — ça va.mp4"
    empty_cache = {"MIMAFACE_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    values = parse_result(
        process_result(run_mimaface("animate", photo, driver, "-o", output, "--json", env=empty_cache))
    )

    images, times = read_video(output)
    assert times == read_video(driver)[1]
    assert len(images) == FRAMES and images[0].shape == (512, 512, 3)
    with av.open(str(output)) as file, av.open(str(driver)) as driver_file:
        assert file.streams.video[0].average_rate == NTSC
        assert file.duration == pytest.approx(driver_file.duration, abs=30_000)  # microseconds
        length = float(file.streams.video[0].duration * file.streams.video[0].time_base)
        assert length == pytest.approx(float(FRAMES / NTSC), abs=1e-3)  # MP4 counts edits in ms
        assert "mimaface" in file.metadata["comment"]
    audio, driver_audio = read_packets(output, "audio"), read_packets(driver, "audio")
    assert audio and audio == driver_audio[: len(audio)] and len(driver_audio) - len(audio) < 3

    photo_pixels = np.asarray(Image.open(sample.portrait))
    assert mean_difference(images[0], photo_pixels) < 6  # the same image
    assert mean_difference(images[FRAMES // 2], images[0]) > 1  # that moves
    assert mean_difference(images[FRAMES // 2][:, -40:], images[0][:, -40:]) < 1  # with a static background

    expected = {"output": str(output), "engine": "mesh", "frames": FRAMES, "width": 512, "height": 512}
    assert {key: values[key] for key in expected} == expected
    assert values["frame_rate"] == "30000/1001" and values["duration"] == pytest.approx(float(FRAMES / NTSC))
    assert values["audio"] == "driver" and values["audio_copied"] is True
    assert values["missing_frames"] == [] and values["driver_cached"] is False
    assert {path.name for path in tmp_path.iterdir()} == {
        photo.name,
        driver.name,
        output.name,
        f"{output.name}.provenance.json",
    }

    # Again under another name: the cache key is the content.
    renamed = driver.rename(tmp_path / "other.mp4")
    again = parse_result(
        process_result(
            run_mimaface(
                "animate", photo, renamed, "-o", "beside.mp4", "--compare", "--audio", "none", "--json", env=empty_cache
            )
        )
    )
    assert again["driver_cached"] is True and again["audio"] == "none" and again["audio_copied"] is None
    assert (again["width"], again["height"]) == (3 * 512, 512)
    beside, _ = read_video(tmp_path / "beside.mp4")
    assert mean_difference(beside[5][:, :512], photo_pixels) < 4
    assert mean_difference(beside[5][:, 512:1024], read_video(renamed)[0][5]) < 4
    assert mean_difference(beside[5][:, 1024:], images[5]) < 4
    with av.open(str(tmp_path / "beside.mp4")) as file:
        assert not file.streams.audio


def test_animate_renders_track_with_audio_file(run_command, sample, tmp_path):
    values = parse_result(
        run_command(
            "animate", sample.portrait, sample.track, "-o", "out.mkv", "--output-mode", "crop", "--codec", "ffv1",
            "--audio", sample.audio, "--reference-frame", "3", "--json",
        )
    )  # fmt: skip
    images, times = read_video(tmp_path / "out.mkv")
    assert len(images) == FRAMES and images[0].shape == (512, 512, 3)
    assert all(abs(time - k / NTSC) <= Fraction(1, 2000) for k, time in enumerate(times))  # Matroska counts ms
    assert (values["width"], values["height"]) == (512, 512) and values["audio"] == str(sample.audio)
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert file.streams.audio[0].codec_context.name == "pcm_s16le"
        samples = b"".join(frame.to_ndarray().tobytes() for frame in file.decode(audio=0))
    with wave.open(str(sample.audio)) as file:
        expected = file.readframes(44_100)
    assert samples == expected[: len(samples)]
    assert len(samples) // 2 == round(44_100 * FRAMES / NTSC)  # ends with the last frame


def test_animate_keeps_uneven_frame_times(run_command, sample, tmp_path):
    times = [Fraction(tick, 600) for tick in (0, 20, 60, 80, 100, 180, 200, 220)]
    frames = read_video(sample.driver)[0][: len(times)]
    write_video(tmp_path / "uneven.mp4", frames, times, Fraction(30))
    values = parse_result(run_command("animate", sample.portrait, "uneven.mp4", "-o", "out.mp4", "--json"))
    assert read_video(tmp_path / "out.mp4")[1] == times
    assert values["frames"] == len(times)


def test_animate_lists_frames_without_face(run_command, sample, tmp_path):
    """The folder's images are numbered without leading zeros; two show no face."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for k, image in enumerate(read_video(sample.driver)[0][:12]):
        Image.fromarray(image if k not in (5, 6) else np.full_like(image, 90)).save(folder / f"f{k}.png")
    (folder / "notes.txt").write_text("not an image")
    values = parse_result(
        run_command("animate", sample.portrait, folder, "-o", "out.mp4", "--max-size", "256", "--json")
    )
    assert values["frames"] == 12 and values["missing_frames"] == [5, 6] and values["frame_rate"] == "25/1"
    assert any("2 driver frames show no face" in note for note in values["notes"])
    assert any("--max-size 0" in note for note in values["notes"])
    images, times = read_video(tmp_path / "out.mp4")
    assert times == [Fraction(k, 25) for k in range(12)] and images[0].shape == (256, 256, 3)


def test_sizes_default_to_1920_for_photos_and_to_the_original_size_for_videos(run_command, sample, tmp_path):
    Image.open(sample.portrait).resize((1944, 1936)).save(tmp_path / "large.jpg")
    frames = [np.asarray(Image.fromarray(frame).resize((2048, 2048))) for frame in read_video(sample.driver)[0][:2]]
    source = write_video(tmp_path / "shot.mp4", frames, [Fraction(k, 24) for k in range(2)], Fraction(24))
    pose, quick = tmp_path / "pose.png", ("--codec", "h264", "--encoder-preset", "ultrafast")
    Image.fromarray(read_video(sample.driver)[0][0]).save(pose)

    values = parse_result(run_command("animate", "large.jpg", pose, "-o", "a.mp4", *quick, "--json"))
    assert (values["width"], values["height"]) == (1920, 1912)
    assert values["notes"] == ["scaled down to 1920 pixels; --max-size 0 keeps the full size"]
    values = parse_result(run_command("animate", "large.jpg", pose, "-o", "b.mp4", *quick, "--max-size", "0", "--json"))
    assert (values["width"], values["height"]) == (1944, 1936) and values["notes"] == []
    values = parse_result(run_command("animate", source, pose, "-o", "c.mp4", *quick, "--json"))
    assert (values["width"], values["height"]) == (2048, 2048) and values["notes"] == []
    values = parse_result(run_command("animate", source, pose, "-o", "d.mp4", "--max-size", "1024", *quick, "--json"))
    assert (values["width"], values["height"]) == (1024, 1024)


def test_animate_keeps_transparency_of_photo(run_command, sample, tmp_path):
    photo = Image.open(sample.portrait)
    mask = Image.new("L", photo.size, 0)
    ImageDraw.Draw(mask).rectangle((0, 0, 400, 511), fill=255)
    photo.putalpha(mask)
    photo.save(tmp_path / "cutout.png")
    driver_frame = read_video(sample.driver)[0][FRAMES // 2]
    Image.fromarray(driver_frame).save(tmp_path / "pose.png")
    arguments = ("animate", "cutout.png", "pose.png", "--motion", "absolute", "--json")

    values = parse_result(run_command(*arguments, "-o", "frames/"))
    assert values["frames"] == 1 and values["notes"] == []
    rendered = Image.open(tmp_path / "frames" / "00000.png")
    assert rendered.mode == "RGBA"
    alpha = np.asarray(rendered)[..., 3]
    assert (alpha[:, 420:] == 0).all() and (alpha[:, :80] == 255).all()
    assert mean_difference(np.asarray(rendered)[..., :3][:, :400], np.asarray(photo)[..., :3][:, :400]) > 0.3

    assert "transparency" in run_command(*arguments, "-o", "one.jpg").err
    flat = np.asarray(Image.open(tmp_path / "one.jpg"))
    assert flat[:, 430:].max() < 20 and mean_difference(flat[:, :390], np.asarray(rendered)[:, :390, :3]) < 3


def test_animate_renders_video_source_frame_by_frame(run_command, sample, tmp_path):
    """Size, times and number of frames are the source's; the driver's audio is trimmed to it."""
    frames = [frame[60:380, 90:410] for frame in read_video(sample.driver)[0][:8]]
    times = [Fraction(k, 24) for k in range(8)]
    source = write_video(tmp_path / "shot.mp4", frames, times, Fraction(24))
    values = parse_result(run_command("animate", source, sample.driver, "-o", "out.mp4", "--region", "lips", "--json"))
    images, output_times = read_video(tmp_path / "out.mp4")
    assert output_times == times and values["frames"] == 8 and values["frame_rate"] == "24/1"
    assert images[0].shape == (320, 320, 3)
    assert all(mean_difference(image, frame) < 6 for image, frame in zip(images, frames, strict=True))
    with av.open(str(tmp_path / "out.mp4")) as file:
        audio_duration = sum(frame.samples for frame in file.decode(audio=0)) / 44_100
    assert audio_duration == pytest.approx(8 / 24, abs=0.05)


@pytest.mark.parametrize("motion", ["relative", "absolute"])
def test_strength_zero_reproduces_photo(run_command, sample, tmp_path, motion):
    result = run_command(
        "animate", sample.portrait, sample.track, "-o", "still/", "--strength", "0", "--motion", motion,
        "--no-provenance",
        "-q", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert result.err == ""
    frames = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "still").iterdir())]
    assert len(frames) == FRAMES
    photo = np.asarray(Image.open(sample.portrait))
    for frame in frames[1:]:
        assert np.array_equal(frame, frames[0])
    assert mean_difference(frames[0], photo) < 0.6
    assert np.quantile(np.abs(frames[0].astype(int) - photo), 0.999) < 40


def test_region_moves_only_that_region(run_command, sample, tmp_path):
    """Region pose moves the head and keeps the mouth closed; lips opens it and keeps the head still."""
    from mimaface_cli.face.detection import detect_faces

    track = MotionTrack.load(sample.track)
    expression, pose = (
        track.expression[[0, FRAMES // 2]],
        track.pose[[0, FRAMES // 4]],
    )  # open mouth and turned head in the second
    replace(track.select_frames(slice(0, 2)), expression=expression, pose=pose).save(tmp_path / "two.npz")
    faces = {}
    for region in ("lips", "pose"):
        result = run_command(
            "animate", sample.portrait, "two.npz", "-o", f"{region}/", "--region", region, "--reference-frame", "0",
            "--no-provenance",
        )  # fmt: skip
        assert result.code == 0, result.err
        last = sorted((tmp_path / region).iterdir())[-1]
        faces[region] = detect_faces(np.ascontiguousarray(Image.open(last)))[0]
    photo = detect_faces(np.ascontiguousarray(Image.open(sample.portrait)))[0]
    upper_lip, lower_lip, nose = 13, 14, 1

    def gap(face):
        return np.linalg.norm(face.points[upper_lip] - face.points[lower_lip]) / face.size

    assert gap(faces["lips"]) > gap(photo) + 0.04
    assert gap(faces["pose"]) < gap(photo) + 0.01
    assert np.linalg.norm(faces["lips"].points[nose] - photo.points[nose]) < 1.5
    assert np.linalg.norm(faces["pose"].points[nose] - photo.points[nose]) > 2.5


def test_framing_follow_moves_the_head_further_than_keep(run_command, sample, tmp_path):
    from mimaface_cli.face.detection import detect_faces

    track = MotionTrack.load(sample.track).select_frames(slice(0, 2))
    pose = np.repeat(track.pose[:1], 2, axis=0)
    pose[1, 5] += 3.0  # comes nearer
    replace(track, expression=np.repeat(track.expression[:1], 2, axis=0), pose=pose).save(tmp_path / "near.npz")
    sizes = {}
    for framing in ("keep", "follow"):
        result = run_command(
            "animate", sample.portrait, "near.npz", "-o", f"{framing}/", "--framing", framing, "--reference-frame", "0",
            "--no-provenance",
        )  # fmt: skip
        assert result.code == 0, result.err
        images = [np.ascontiguousarray(Image.open(path)) for path in sorted((tmp_path / framing).glob("*.png"))]
        first, last = (detect_faces(image)[0] for image in images)
        sizes[framing] = last.size / first.size
        assert last.box[:2].min() > 0 and (last.box[2:] < images[0].shape[1::-1]).all()
    assert 1.1 < sizes["keep"] < sizes["follow"] - 0.05


@pytest.mark.media
@pytest.mark.parametrize(
    ("portrait", "clip"),
    [
        ("InstantID-InstantID__kaifu_resize.png", "OpenTalker-video-retalking__1.mp4"),  # glasses; uneven frame times
        ("KwaiVGI-LivePortrait__s42.jpg", "mayuelala-FollowYourEmoji__temple_video.mp4"),  # HEVC 10-bit, with audio
    ],
)
def test_animate_renders_real_media(run_command, tmp_path, portrait, clip):
    from mimaface_cli.media.reader import read_frames

    media = Path(__file__).parents[3] / "shared" / "media"
    if not (media / "manifest.csv").is_file():
        pytest.skip(f"the folder of real media is missing ({media})")
    driver = media / "driving" / clip
    with av.open(str(driver)) as file:
        stream = file.streams.video[0]
        start, times = None, []
        for frame in file.decode(stream):
            start = frame.pts if start is None else start
            times.append((frame.pts - start) * stream.time_base)
            if len(times) == 10:
                break
    frames = [frame.image for frame in read_frames(driver, max_frames=10)]
    short = write_video(tmp_path / "short.mp4", frames, times, Fraction(stream.base_rate))
    values = parse_result(
        run_command(
            "animate", media / "portraits" / portrait, short, "-o", "out.mp4", "--output-mode", "crop", "--json"
        )
    )
    assert values["frames"] == 10 and values["missing_frames"] == []
    output_times, driver_times = (read_video(path)[1] for path in (tmp_path / "out.mp4", short))
    assert all(
        abs(output - driver) < Fraction(1, 10_000) for output, driver in zip(output_times, driver_times, strict=True)
    )
