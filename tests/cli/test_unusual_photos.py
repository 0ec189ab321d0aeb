"""Photos of unusual kinds: each gives a result, with a note about its limit, or a one-line error."""

import json

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.face.detection import detect_faces
from mimaface_cli.motion.track import MotionTrack

QUICK = ("--no-provenance", "--max-size", "256", "--json")


@pytest.fixture(scope="module")
def photo(sample) -> Image.Image:
    return Image.open(sample.portrait).convert("RGB")


@pytest.fixture(scope="module")
def box(photo) -> np.ndarray:
    """Left, top, right and bottom of the face in pixels."""
    return detect_faces(np.asarray(photo))[0].box.astype(int)


@pytest.fixture
def animate(run_command, sample, tmp_path):
    """A function that animates a photo by two frames; it returns the result and the notes of a successful run."""
    MotionTrack.load(sample.track).select_frames(slice(0, 8, 4)).save(tmp_path / "two.npz")

    def run(path):
        result = run_command("animate", path, "two.npz", "-o", f"{path}-out/", *QUICK)
        return result, json.loads(result.out)["notes"] if result.code == 0 else []

    return run


def test_other_pixel_formats_give_the_same_face(animate, photo, tmp_path):
    gray = np.asarray(photo.convert("L"))
    photo.convert("L").save(tmp_path / "gray.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "gray16.png")
    photo.convert("CMYK").save(tmp_path / "cmyk.jpg")
    photo.quantize(64).save(tmp_path / "palette.png")
    for name in ("gray.png", "gray16.png", "cmyk.jpg", "palette.png"):
        result, notes = animate(name)
        assert result.code == 0, result.err
        assert notes == [note for note in notes if "provenance" in note or "scaled down" in note]
        frame = np.asarray(Image.open(tmp_path / f"{name}-out" / "00000.png").convert("L")).astype(int)
        assert np.abs(frame - np.asarray(Image.fromarray(gray).resize((256, 256)))).mean() < 12, name


@pytest.mark.parametrize("is_all", [True, False], ids=["all", "face"])
def test_transparent_face_is_refused(animate, photo, box, tmp_path, is_all):
    alpha = np.full((photo.height, photo.width), 255, np.uint8)
    left, top, right, bottom = box
    alpha[np.s_[:] if is_all else np.s_[top - 30 : bottom + 9, left - 20 : right + 20]] = 0
    hidden = photo.copy()
    hidden.putalpha(Image.fromarray(alpha))
    hidden.save(tmp_path / "hidden.png")
    result, _ = animate("hidden.png")
    assert result.code == 3 and "hidden.png: its face is transparent" in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("side", ["left", "top", "bottom"])
def test_face_that_the_border_cuts_moves_less_and_is_noted(animate, photo, box, tmp_path, side):
    left, top, right, bottom = map(int, box)
    crop = {
        "left": (left + (right - left) // 3, 0, 512, 512),
        "top": (0, top + (bottom - top) // 4, 512, 512),
        "bottom": (0, 0, 512, bottom - (bottom - top) // 4),
    }[side]
    photo.crop(crop).save(tmp_path / "cut.png")
    result, notes = animate("cut.png")
    assert result.code == 0, result.err
    assert any("border cuts the face" in note for note in notes)


def test_whole_faces_have_no_such_note(animate, photo, tmp_path):
    photo.save(tmp_path / "whole.png")
    result, notes = animate("whole.png")
    assert result.code == 0 and not any("border" in note or "coarse" in note for note in notes)


def test_face_of_few_pixels_is_noted(animate, photo, tmp_path):
    canvas = Image.new("RGB", (900, 700), (90, 110, 120))
    canvas.paste(photo.resize((200, 200)), (400, 300))
    canvas.save(tmp_path / "coarse.png")
    result, notes = animate("coarse.png")
    assert result.code == 0, result.err
    assert any("pixels high, so its motion is coarse" in note for note in notes)


@pytest.mark.parametrize("size", [(1, 1), (500, 1), (24, 24)])
def test_images_without_room_for_a_face_are_refused(animate, photo, tmp_path, size):
    photo.resize(size).save(tmp_path / "tiny.png")
    result, _ = animate("tiny.png")
    assert result.code == 3 and "tiny.png: shows no face" in result.err
    assert len(result.err.splitlines()) == 1
