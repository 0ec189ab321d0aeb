"""Source videos that are interlaced or transparent."""

import json

import av
import numpy as np
import pytest

from mimaface_cli.media.reader import probe, read_frames
from tests.conftest import read_video
from tests.media.ffmpeg import run_ffmpeg


@pytest.fixture(scope="module")
def interlaced(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("interlaced") / "a.mp4"
    filters = "fps=50,scale=240:240,interlace=scan=tff:lowpass=off"
    run_ffmpeg("-i", sample.driver, "-vf", filters, "-x264-params", "tff=1", "-frames:v", 8, path)
    return path


@pytest.mark.parametrize(("mode", "rate", "count"), [("frame", "25/1", 8), ("field", "50/1", 16), ("off", "25/1", 8)])
def test_interlaced_source_is_deinterlaced_with_a_note(sample, interlaced, run_command, tmp_path, mode, rate, count):
    words = ("--region", "lips", "-o", "a.mp4", "--deinterlace", mode, "--json")
    done = run_command("animate", interlaced, sample.track, *words)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["frame_rate"], result["frames"]) == (rate, count)
    assert sum("interlaced" in note for note in result["notes"]) == 1
    assert ("not deinterlaced" in "".join(result["notes"])) == (mode == "off")


def write_transparent(sample, path):
    """Write the driver with a transparent left third and a soft edge, as ProRes 4444."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("prores_ks", rate=25, options={"profile": "4444"})
        stream.width = stream.height = 240
        stream.pix_fmt = "yuva444p10le"
        for number, image in enumerate(read_video(sample.driver)[0][:5]):
            pixels = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(240, 240).to_ndarray()
            alpha = np.clip((np.arange(240) - 50) * 20, 0, 255).astype(np.uint8)
            rgba = np.dstack([pixels, np.broadcast_to(alpha, (240, 240))])
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgba), format="rgba")
            frame.pts = number
            out.mux(stream.encode(frame.reformat(format="yuva444p10le")))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("region", ["lips", "all"])
def test_alpha_of_a_source_video_is_kept(sample, run_command, tmp_path, region):
    source = write_transparent(sample, tmp_path / "in.mov")
    done = run_command("animate", source, sample.track, "--region", region, "-o", "out.mov", "--json")
    assert done.code == 0, done.err
    assert "transparency" not in "".join(json.loads(done.out)["notes"])
    assert probe(tmp_path / "out.mov").has_alpha
    for before, after in zip(read_frames(source), read_frames(tmp_path / "out.mov"), strict=False):
        difference = np.abs(before.alpha.astype(int) - after.alpha)
        assert difference[:, :20].max() <= 2 and after.alpha[:, 220:].min() > 250
        if region == "lips":
            assert difference.max() <= 3


def test_alpha_that_the_output_cannot_store_is_flattened_with_a_note(sample, run_command, tmp_path):
    source = write_transparent(sample, tmp_path / "in.mov")
    done = run_command("animate", source, sample.track, "--region", "lips", "-o", "out.mp4", "--json")
    assert done.code == 0, done.err
    assert sum("transparency is flattened on black" in note for note in json.loads(done.out)["notes"]) == 1
    assert next(read_frames(tmp_path / "out.mp4")).image[:, :40].max() < 12


def test_edit_keeps_the_alpha_of_a_video(sample, run_command, tmp_path):
    source = write_transparent(sample, tmp_path / "in.mov")
    done = run_command("edit", source, "--add", "mouthSmile=0.3", "-o", "out.mov", "--json")
    assert done.code == 0, done.err
    assert probe(tmp_path / "out.mov").has_alpha
