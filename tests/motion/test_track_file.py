"""One clear line for every way in which a track's file can be wrong."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_layout import MAX_FRAMES
from mimaface_cli.motion.track_meta import MAX_META_CHARACTERS, TrackMeta

PER_FRAME = ("expression", "illumination", "pose", "gaze", "crop", "pts", "valid")
KEYS = ("identity", "texture", *PER_FRAME)
TRACK = MotionTrack.neutral(12, "face478")


def members() -> dict[str, np.ndarray]:
    """What a sound file of 12 frames holds."""
    return {key: getattr(TRACK, key) for key in KEYS} | {"meta": np.array(TRACK.meta.to_json())}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "track.npz"


def fault(path: Path) -> str:
    """The text with which a file is refused: one line that names the file."""
    with pytest.raises(InputError) as caught:
        MotionTrack.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < 400
    return text.removeprefix(f"{path}: ")


def test_missing_folder_pipe_and_unreadable(tmp_path, path, monkeypatch):
    assert "no such file" in fault(path) and "mimaface extract" in fault(path)
    assert "is a folder" in fault(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "no such file" in fault(tmp_path / "pipe")
    TRACK.save(path)

    def refuses(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuses)
    assert "cannot be read (Permission denied); check its permissions" in fault(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 1000, b"PK\x05\x06", pickle.dumps({"a": 1}), b"\x93NUMPY\x01\x00", b'{"version": 1}']
)
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    assert fault(path) == "is not a .npz track, or is cut short; re-run mimaface extract"


def test_a_file_cut_at_any_place_is_refused(path):
    TRACK.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        assert "cut short" in fault(path)


@pytest.mark.parametrize("key", [*KEYS, "meta"])
def test_a_missing_key_is_named(path, key):
    arrays = members()
    del arrays[key]
    np.savez(path, **arrays)
    assert fault(path) == f"{key}: is missing; re-run mimaface extract"


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_dtype_is_named_and_not_cast(path, key):
    arrays = members()
    arrays[key] = arrays[key].astype(np.float16)
    np.savez(path, **arrays)
    assert fault(path).startswith(f"{key}: has dtype float16 where ")


@pytest.mark.parametrize("key", KEYS)
def test_pickled_arrays_are_refused_and_not_run(path, key, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    arrays = members()
    arrays[key] = np.array([Trap()], dtype=object)
    np.savez(path, **arrays)
    assert fault(path).startswith(f"{key}: has dtype object where ")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_shape_is_named(path, key):
    arrays = members()
    arrays[key] = arrays[key][..., None]
    np.savez(path, **arrays)
    assert fault(path).startswith(f"{key}: has shape ")


@pytest.mark.parametrize("key", PER_FRAME)
def test_a_different_number_of_frames_is_named(path, key):
    arrays = members()
    arrays[key] = arrays[key][:-1]
    np.savez(path, **arrays)
    named = "valid" if key == "pts" else key  # pts sets the number; the first that differs from it is named
    assert fault(path).startswith(f"{named}: has 1")


def test_no_frames_at_all(path):
    arrays = members()
    np.savez(path, **{key: value[:0] if key in PER_FRAME else value for key, value in arrays.items()})
    assert fault(path).startswith("pts: has 0 frames where 1 to ")


@pytest.mark.parametrize("key", [key for key in KEYS if key != "valid"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_named(path, key, value):
    arrays = {name: array.copy() for name, array in members().items()}
    arrays[key].flat[-1] = value
    np.savez(path, **arrays)
    assert fault(path) == f"{key}: holds numbers that are not finite; re-run mimaface extract"


def test_times_that_do_not_increase(path):
    arrays = members()
    arrays["pts"] = arrays["pts"][::-1]
    np.savez(path, **arrays)
    assert fault(path).startswith("pts: must increase strictly")


def test_truth_values_beyond_true_and_false(path):
    arrays = members()
    arrays["valid"] = np.full(12, 2, np.uint8).view(bool)
    np.savez(path, **arrays)
    assert fault(path).startswith("valid: holds bytes that are neither true nor false")


@pytest.mark.parametrize("version", [2, 0, "1", None, True, 1.0])
def test_another_version_is_named_before_anything_else(path, version):
    np.savez(path, meta=np.array(json.dumps({"version": version})))
    assert fault(path).startswith(f"meta: is of format version {version!r}, but this mimaface reads version 1; re-run")


@pytest.mark.parametrize("key", [name for name in TrackMeta.__dataclass_fields__])
def test_a_missing_meta_field_is_named(path, key):
    arrays = members()
    meta = json.loads(str(arrays["meta"]))
    del meta[key]
    np.savez(path, **arrays | {"meta": np.array(json.dumps(meta))})
    assert fault(path) == f"meta: {key}: is missing; re-run mimaface extract"


BAD_META = [
    ({"space": "arkit"}, "space: is 'arkit', not one of bfm09, face478"),
    ({"space": [[]]}, "space: is"),
    ({"extractor": ""}, "extractor: must be"),
    ({"extractor_version": "1\n2"}, "extractor_version: must be"),
    ({"extractor": "\x1b[2J"}, "extractor: must be"),
    ({"source_hash": "A" * 64}, "source_hash: must be"),
    ({"audio_hash": 5}, "audio_hash: must be"),
    ({"width": -1}, "width: must be"),
    ({"width": True}, "width: must be"),
    ({"height": 2**20}, "height: must be"),
    ({"height": 2.0}, "height: must be"),
    ({"frame_rate": "0/1"}, "frame_rate: must be"),
    ({"frame_rate": "25"}, "frame_rate: must be"),
    ({"frame_rate": 29.97}, "frame_rate: must be"),
    ({"options": []}, "options: must be"),
    ({"cuts": "12"}, "cuts: must be"),
    ({"cuts": [3, 3]}, "cuts: must increase"),
    ({"cuts": [0, 3]}, "cuts: must increase"),
    ({"cuts": [1.0]}, "cuts: must be"),
    ({"cuts": [10**4000]}, "cuts: must be"),
    ({"cuts": [12]}, "cuts: frame 12 lies beyond the track's 12 frames"),
]


@pytest.mark.parametrize(("change", "text"), BAD_META)
def test_wrong_meta_in_a_file_is_named(path, change, text):
    arrays = members()
    meta = json.loads(str(arrays["meta"])) | change
    np.savez(path, **arrays | {"meta": np.array(json.dumps(meta))})
    assert fault(path).startswith(f"meta: {text}")


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        (np.array("{"), "meta: is not JSON"),
        (np.array("[" * 100_000), "meta: is not JSON"),
        (np.array("[]"), "meta: is not a JSON object"),
        (np.array("{}"), "meta: is of format version None"),
        (np.array(b"{}"), "meta: must be one text"),
        (np.array(["{}"]), "meta: must be one text"),
        (np.array(" " * (MAX_META_CHARACTERS + 1)), "meta: must be one text"),
        (np.array(1.0), "meta: must be one text"),
        (np.full((), 0xFFFFFFFF, np.uint32).view("<U1"), "meta: is damaged"),
    ],
)
def test_meta_that_is_no_meta(path, meta, text):
    np.savez(path, **members() | {"meta": meta})
    assert fault(path).startswith(text)


def npy(announced: tuple[int, ...], dtype: str, data: bytes) -> bytes:
    """A .npy whose header announces a shape that the data need not have."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {announced}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def write_raw(path: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    """A track's zip, sound checksums included, with some members' bytes replaced."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for key, value in members().items():
            buffer = io.BytesIO()
            np.save(buffer, value)
            archive.writestr(f"{key}.npy", change.get(key, buffer.getvalue()))


@pytest.mark.parametrize(
    ("announced", "data", "text"),
    [
        ((10**18,), b"", "pts: has 1000000000000000000 frames where"),
        ((10**4000,), b"", "pts: has 1000"),
        ((MAX_FRAMES,), b"", "pts: is damaged or cut short"),  # 16 MB that are not there
        ((12,), bytes(12 * 8 - 1), "pts: is damaged or cut short"),
        ((12,), bytes(12 * 8 + 1), "pts: is damaged or cut short"),
        ((-12,), bytes(12 * 8), "pts: has -12 frames where"),
    ],
)
def test_a_header_that_announces_what_is_not_there(path, announced, data, text):
    write_raw(path, {"pts": npy(announced, "<f8", data)})
    assert fault(path).startswith(text)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\x93NUMPY\x02\x00" + bytes(100),
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x01\x00\x04\x00((((",
        b"\x93NUMPY\x01\x00\x10\x27" + b"-" * 9999 + b"1",
        b"\x93NUMPY\x01\x00\x03\x00'\\q",
        b"\x93NUMPY\x01\x00\x05\x00'''\n ",
    ],
)
def test_headers_that_are_none(path, header, recwarn):
    write_raw(path, {"pose": header})
    assert fault(path) == "pose: is damaged or cut short; re-run mimaface extract"
    assert not recwarn.list


def test_a_header_as_python_2_wrote_it_loads_without_a_warning(path, recwarn):
    pose = TRACK.pose
    write_raw(path, {"pose": npy((12, 6), "<f4", pose.tobytes()).replace(b"(12, 6)", b"(12L,6)")})
    np.testing.assert_array_equal(MotionTrack.load(path).pose, pose)
    assert not recwarn.list


def test_packing_that_numpy_never_uses(path):
    write_raw(path, {}, zipfile.ZIP_LZMA)
    assert fault(path).startswith("meta: is encrypted or packed as numpy never does")


def test_an_encrypted_member(path):
    write_raw(path, {}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02", 0, content.rindex(b"pose.npy")) + 8] |= 1
    path.write_bytes(content)
    assert fault(path).startswith("pose: is encrypted")


def test_a_zip_that_declares_too_much_is_refused_unopened(path):
    write_raw(path, {}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"pose.npy"))
    content[entry + 24 : entry + 28] = struct.pack("<I", 2**31 + 1)
    path.write_bytes(content)
    assert fault(path).startswith("unpacks to more than the 2 GiB")


def test_a_zip_that_holds_more_than_it_declares(path):
    """The declared size is made the right one for the header; the packed stream goes on for a gigabyte of zeros."""
    honest = npy((12,), "<f8", bytes(96))
    write_raw(path, {"pts": honest + bytes(10**7)}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"pts.npy"))
    content[entry + 24 : entry + 28] = struct.pack("<I", len(honest))
    path.write_bytes(content)
    assert fault(path).startswith("pts: is damaged or cut short")


def test_a_huge_file_is_refused_unread(path):
    with path.open("wb") as file:
        file.truncate(2 * 1024**3 + 1)  # sparse: takes no space
    assert fault(path).startswith("is larger than the 2 GiB")


def test_a_bomb_is_refused_within_little_memory(path):
    """Half a gigabyte of zeros packed into half a megabyte, for a track whose pts say 12 frames."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, value in members().items():
            buffer = io.BytesIO()
            np.save(buffer, value)
            with archive.open(f"{key}.npy", "w") as member:
                if key == "expression":
                    member.write(npy((MAX_FRAMES, 64), "<f4", b""))
                    for _ in range(125):
                        member.write(bytes(4 * 64 * MAX_FRAMES // 125))
                else:
                    member.write(buffer.getvalue())
    script = (
        "import resource, sys\n"
        "from mimaface_cli.motion.track import MotionTrack\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    MotionTrack.load(sys.argv[1])\n"
        "except Exception as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run([sys.executable, "-c", script, path], cwd=root, capture_output=True, text=True, check=True)
    text, grown = ran.stdout.splitlines()
    assert "expression: has 2000000 frames where pts has 12" in text
    assert int(grown) < 20_000  # KiB
