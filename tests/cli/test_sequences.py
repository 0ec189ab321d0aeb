"""Numbered images that the command wrote, and animated WebP, are inputs of the command."""

import json

import pytest
from PIL import Image

from mimaface_cli.media.reader import probe
from tests.conftest import FRAMES, NTSC, read_video


@pytest.mark.parametrize("suffix", [".png", ".exr"])
def test_written_sequence_is_driver_source_and_backdrop(sample, run_command, tmp_path, suffix):
    if suffix == ".exr":
        pytest.importorskip("OpenEXR", reason="EXR needs the extra exr")
    pattern = f"frames/%05d{suffix}"
    small = ("--max-size", "256", "--json")
    assert run_command("animate", sample.portrait, sample.track, "-o", pattern, *small).code == 0
    for name in (pattern, "frames"):
        inspected = run_command("inspect", name, "--json")
        assert inspected.code == 0
        report = json.loads(inspected.out)
        assert {"metadata", "watermark"} <= set(report["identifiers"])
    driven = run_command("animate", sample.portrait, pattern, "-o", "driven.mp4", *small)
    assert driven.code == 0, driven.err
    result = json.loads(driven.out)
    assert (result["frames"], result["frame_rate"], result["missing_frames"]) == (FRAMES, str(NTSC), [])
    dubbed = run_command("animate", "frames", sample.track, "-o", "dubbed.mp4", *small)
    assert dubbed.code == 0, dubbed.err
    assert json.loads(dubbed.out)["frames"] == FRAMES and probe(tmp_path / "dubbed.mp4").frame_rate == NTSC
    over = run_command("animate", sample.portrait, sample.track, "-o", "over.mp4", "--background", pattern, *small)
    assert over.code == 0, over.err
    edited = run_command("edit", pattern, "--set", "mouthSmileLeft=0.3", "-o", "edited/%03d.png", "--json")
    assert edited.code == 0 and json.loads(edited.out)["frames"] == FRAMES, edited.err
    assert run_command("extract", pattern, "-o", "track.npz").code == 0


def test_animated_webp_is_driver_and_source(sample, run_command, tmp_path):
    frames = [Image.fromarray(frame).resize((256, 256)) for frame in read_video(sample.driver)[0][:6]]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=100)
    assert run_command("inspect", "a.webp").code in (0, 1)
    # The track ends after 0.467 s.
    for inputs, count in (((sample.portrait, "a.webp"), 6), (("a.webp", sample.track), 5)):
        done = run_command("animate", *inputs, "-o", "a.mp4", "--max-size", "256", "--overwrite", "--json")
        assert done.code == 0, done.err
        result = json.loads(done.out)
        assert (result["frames"], result["frame_rate"], result["audio"]) == (count, "10/1", "none")
