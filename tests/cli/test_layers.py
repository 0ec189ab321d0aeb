"""Mattes of the person, backgrounds and transparent results of `animate` and `edit`."""

import json
import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from mimaface_cli.motion.track import MotionTrack
from tests.conftest import CommandResult, read_video, write_video

GREEN = (0, 177, 64)


@pytest.fixture
def two(sample, tmp_path) -> Path:
    """A track of two frames."""
    MotionTrack.load(sample.track).select_frames(slice(0, 2)).save(tmp_path / "two.npz")
    return tmp_path / "two.npz"


def parse_result(result: CommandResult) -> dict:
    """Return the JSON of a successful run."""
    assert result.code == 0, result.err
    return json.loads(result.out)


def decode_rgba(path: Path, width: int, height: int) -> np.ndarray:
    """Return the frames (N, H, W, 4) that FFmpeg decodes."""
    decoder = ["-c:v", "libvpx-vp9"] if path.suffix == ".webm" else []
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *decoder, "-i", path]
    process = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgba", "-"], capture_output=True, check=True)
    return np.frombuffer(process.stdout, np.uint8).reshape(-1, height, width, 4)


@pytest.mark.parametrize("name", ["out.mov", "out.webm", "out.mkv"])
def test_animate_writes_the_person_with_alpha(run_command, sample, two, tmp_path, name):
    matte = "matte/%05d.png"
    values = parse_result(
        run_command(
            "animate", sample.portrait, two, "-o", name, "--background", "transparent", "--max-size", "256",
            "--matte", matte, "--matte-kind", "person", "--json",
        )
    )  # fmt: skip
    assert values["background"] == "transparent" and values["matte"] == matte and values["frames"] == 2
    frames = decode_rgba(tmp_path / name, 256, 256)
    assert len(frames) == 2
    for k, frame in enumerate(frames):
        mask = np.asarray(Image.open(tmp_path / "matte" / f"{k:05d}.png"))[..., 0].astype(int)
        assert np.abs(frame[..., 3] - mask).max() <= {"out.mov": 2, "out.webm": 60, "out.mkv": 0}[name]
        assert np.abs(frame[..., 3] - mask).mean() < 0.5
        assert mask[60:75, 105:125].min() == 255 and mask[:50, :40].max() == 0
        assert frame[:30, :30, :3].max() < 12  # the background is not hidden under the alpha


def test_animate_shows_the_person_in_front_of_a_color(run_command, sample, two, tmp_path):
    arguments = ("animate", sample.portrait, two, "--max-size", "256", "--no-provenance", "-q")
    color = "#{:02x}{:02x}{:02x}".format(*GREEN)
    assert run_command(*arguments, "-o", "a/", "--background", color).code == 0
    assert run_command(*arguments, "-o", "b/", "--background", "transparent").code == 0
    for k in range(2):
        result = np.asarray(Image.open(tmp_path / "a" / f"{k:05d}.png"))
        layer = np.asarray(Image.open(tmp_path / "b" / f"{k:05d}.png"))
        assert result.shape == (256, 256, 3) and layer.shape == (256, 256, 4)
        is_outside, is_inside = layer[..., 3] == 0, layer[..., 3] == 255
        assert is_outside.mean() > 0.1 and (result[is_outside] == GREEN).all()
        assert is_inside.mean() > 0.2 and np.array_equal(result[is_inside], layer[..., :3][is_inside])


def test_animate_shows_the_person_in_front_of_a_video(run_command, sample, two, tmp_path):
    levels = [np.full((64, 64, 3), level, np.uint8) for level in (40, 200)]
    rate = MotionTrack.load(two).frame_rate
    write_video(tmp_path / "background.mp4", levels, [Fraction(k) / rate for k in range(2)], rate)
    values = parse_result(
        run_command(
            "animate", sample.portrait, two, "-o", "out.mkv", "--lossless", "--background", "background.mp4",
            "--max-size", "256", "--no-provenance", "--json",
        )
    )  # fmt: skip
    assert values["background"] == "background.mp4"
    for frame, level in zip(read_video(tmp_path / "out.mkv")[0], (40, 200), strict=True):
        assert np.abs(frame[:30, :30].astype(int) - level).max() <= 2
        assert np.ptp(frame[60:75, 105:125]) > 20  # the face


def test_record_lists_the_background_file(run_command, sample, two, tmp_path):
    Image.new("RGB", (300, 200), GREEN).save(tmp_path / "wall.png")
    for words in (("animate", sample.portrait, two), ("edit", sample.portrait)):
        output = tmp_path / f"{words[0]}.png" if words[0] == "edit" else tmp_path / "animate.mp4"
        result = run_command(*words, "-o", output, "--background", tmp_path / "wall.png", "--max-size", "256")
        assert result.code == 0, result.err
        record = (tmp_path / f"{output.name}.provenance.json").read_text()
        assert '"part": "background"' in record and '"background": "wall.png"' in record


def test_watermark_of_a_transparent_result_is_detected_over_a_background(run_command, sample, two, tmp_path):
    values = parse_result(
        run_command("animate", sample.portrait, two, "-o", "out/", "--background", "transparent", "--json")
    )
    layer = np.asarray(Image.open(tmp_path / "out" / "00001.png")).astype(float)
    share = layer[..., 3:] / 255
    composed = layer[..., :3] * share + np.array(GREEN) * (1 - share)
    Image.fromarray(composed.round().astype(np.uint8)).save(tmp_path / "composed.png")
    inspection = json.loads(run_command("inspect", "composed.png", "--json").out)
    assert values["provenance"]["identifier"] in json.dumps(inspection)


def test_transparent_photo_keeps_its_alpha_in_videos(run_command, sample, two, tmp_path):
    photo = Image.open(sample.portrait).convert("RGB").resize((256, 256))
    mask = np.full((256, 256), 255, np.uint8)
    mask[:, 205:] = 0
    photo.putalpha(Image.fromarray(mask))
    photo.save(tmp_path / "cutout.png")
    for words in (("animate", "cutout.png", two), ("edit", "cutout.png", "--seconds", "0.08")):
        output = f"{words[0]}.mov"
        values = parse_result(run_command(*words, "-o", output, "--json"))
        assert not any("transparency" in note for note in values["notes"])
        alpha = decode_rgba(tmp_path / output, 256, 256)[..., 3]
        assert alpha[:, :, 225:].max() <= 1 and alpha[:, :, :20].min() >= 254
    values = parse_result(run_command("animate", "cutout.png", two, "-o", "flat.mov", "--codec", "h264", "--json"))
    assert any("transparency is flattened on black" in note for note in values["notes"])
    values = parse_result(
        run_command(
            "animate", "cutout.png", two, "-o", "red/", "--background", "red", "--no-provenance", "--json"
        )
    )  # fmt: skip
    assert (np.asarray(Image.open(tmp_path / "red" / "00000.png"))[:, 230:] == (255, 0, 0)).all()
    assert not any("transparency" in note for note in values["notes"])


def test_edit_replaces_the_background(run_command, sample, tmp_path):
    words = ("edit", sample.portrait, "--set", "yaw=8", "--max-size", "256", "--no-provenance", "--json")
    values = parse_result(run_command(*words, "-o", "cut.png", "--background", "transparent"))
    assert values["background"] == "transparent"
    layer = np.asarray(Image.open(tmp_path / "cut.png"))
    assert layer.shape == (256, 256, 4) and layer[:50, :40, 3].max() == 0 and layer[60:75, 105:125, 3].min() == 255
    parse_result(run_command(*words, "-o", "white.png", "--background", "white"))
    flat = np.asarray(Image.open(tmp_path / "white.png"))
    assert flat.shape == (256, 256, 3) and (flat[layer[..., 3] == 0] == 255).all()


@pytest.mark.parametrize(
    ("output", "options", "code", "message"),
    [
        ("out.mp4", ("--background", "transparent"), 4, "cannot store transparency. Use a video of .mov"),
        ("out.jpg", ("--background", "transparent"), 4, "JPEG has no transparency"),
        ("out/%05d.jpg", ("--background", "transparent"), 4, "JPEG has no transparency"),
        ("out.mov", ("--background", "transparent", "--codec", "h264"), 4, "Use one of prores qtrle png"),
        ("out.mov", ("--background", "transparent", "--crf", "20"), 4, "stores transparency with --crf"),
        ("out.mp4", ("--background", "beach.jpg"), 3, "--background: beach.jpg is neither a color nor an existing"),
        ("out.mp4", ("--background", "noise.wav"), 3, "has audio but no video"),
        ("out.mp4", ("--background", "#12345678"), 2, "--background: #12345678 is partly transparent"),
        ("wall.png", ("--background", "wall.png", "--overwrite"), 4, "the output is the same file as an input"),
        ("out.mp4", ("--matte", "person"), 2, "--matte-kind person"),
        ("out.mp4", ("--matte", "m.mp4", "--background", "red"), 2, "Set --matte-kind person"),
        ("out.mov", ("--compare", "--background", "transparent"), 2, "cannot be combined with --compare"),
    ],
)
def test_layers_that_cannot_be_written_are_refused_at_once(
    run_command, sample, two, tmp_path, output, options, code, message
):
    Image.new("RGB", (30, 20)).save(tmp_path / "wall.png")
    (tmp_path / "noise.wav").write_bytes(sample.audio.read_bytes())
    before = sorted(tmp_path.iterdir())
    result = run_command("animate", sample.portrait, two, "-o", output, *options)
    assert (result.code, result.out) == (code, "") and message in result.err
    assert len(result.err.splitlines()) == 1 and sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("output", "options"), [("grid.png", ("--grid", "yaw=0:5:2")), ("track.npz", ())], ids=["grid", "track"]
)
def test_edit_refuses_a_background_without_frames_to_show_it(run_command, sample, tmp_path, output, options):
    result = run_command("edit", sample.portrait, "-o", output, "--background", "red", *options)
    assert result.code == 3 and "--background: applies to images and videos" in result.err


def test_batch_counts_backgrounds_that_are_files_as_inputs(sample, tmp_path):
    from mimaface_cli.batch.job_file import read_jobs

    (tmp_path / "jobs.csv").write_text(
        "source,driver,output,background\np.jpg,t.npz,a.mp4,red\np.jpg,t.npz,b.mp4,beach.jpg\n"
        "p.jpg,t.npz,c.mov,transparent\np.jpg,t.npz,d.mp4,b.mp4\n"
    )
    jobs = {job.output: job for job in read_jobs(tmp_path / "jobs.csv", {"background": False}, lambda words: None)}
    files = {output: {path.name for path in job.inputs} - {"p.jpg", "t.npz"} for output, job in jobs.items()}
    assert files == {"a.mp4": set(), "b.mp4": {"beach.jpg"}, "c.mov": set(), "d.mp4": {"b.mp4"}}
    assert jobs["d.mp4"].after == (jobs["b.mp4"].id,)
