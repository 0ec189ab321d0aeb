"""Track files that are damaged or hostile: each gives a one-line error that names the file and the key."""

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
from mimaface_cli.motion.track_layout import ARRAY_NAMES, MAX_FRAMES, PER_FRAME_ARRAYS
from mimaface_cli.motion.track_meta import MAX_META_CHARACTERS, TrackMeta

TRACK = MotionTrack.neutral(12, "face478")
FIX = "Run mimaface extract again."


def make_members() -> dict[str, np.ndarray]:
    """Return the arrays of a valid file of 12 frames."""
    return {key: getattr(TRACK, key) for key in ARRAY_NAMES} | {"meta": np.array(TRACK.meta.to_json())}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "track.npz"


def load_error(path: Path) -> str:
    """Return the message of the error for a file, one line, without the path that it starts with."""
    with pytest.raises(InputError) as caught:
        MotionTrack.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < 400
    return text.removeprefix(f"{path}: ")


def test_missing_file_folder_pipe_and_unreadable_file_are_refused(tmp_path, path, monkeypatch):
    assert "no such file" in load_error(path) and "mimaface extract" in load_error(path)
    assert "is a folder" in load_error(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "no such file" in load_error(tmp_path / "pipe")
    TRACK.save(path)

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be read (Permission denied). Check its permissions" in load_error(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 1000, b"PK\x05\x06", pickle.dumps({"a": 1}), b"\x93NUMPY\x01\x00", b'{"version": 1}']
)
def test_files_of_another_kind_are_refused(path, content):
    path.write_bytes(content)
    assert load_error(path) == f"is not a .npz track or is truncated. {FIX}"


def test_file_truncated_anywhere_is_refused(path):
    TRACK.save(path)
    content = path.read_bytes()
    for length in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:length])
        assert "truncated" in load_error(path)


@pytest.mark.parametrize("key", [*ARRAY_NAMES, "meta"])
def test_missing_key_is_named_in_the_error(path, key):
    arrays = make_members()
    del arrays[key]
    np.savez(path, **arrays)
    assert load_error(path) == f"{key}: is missing. {FIX}"


@pytest.mark.parametrize("key", ARRAY_NAMES)
def test_wrong_dtype_is_named_in_the_error_and_not_cast(path, key):
    arrays = make_members()
    arrays[key] = arrays[key].astype(np.float16)
    np.savez(path, **arrays)
    assert load_error(path).startswith(f"{key}: has dtype float16, expected ")


@pytest.mark.parametrize("key", ARRAY_NAMES)
def test_pickled_arrays_are_refused_and_not_executed(path, key, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    arrays = make_members()
    arrays[key] = np.array([Trap()], dtype=object)
    np.savez(path, **arrays)
    assert load_error(path).startswith(f"{key}: has dtype object, expected ")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("key", ARRAY_NAMES)
def test_wrong_shape_is_named_in_the_error(path, key):
    arrays = make_members()
    arrays[key] = arrays[key][..., None]
    np.savez(path, **arrays)
    assert load_error(path).startswith(f"{key}: has shape ")


@pytest.mark.parametrize("key", PER_FRAME_ARRAYS)
def test_wrong_number_of_frames_is_named_in_the_error(path, key):
    arrays = make_members()
    arrays[key] = arrays[key][:-1]
    np.savez(path, **arrays)
    named = "valid" if key == "pts" else key  # pts sets the number; the first array that differs is named
    assert load_error(path).startswith(f"{named}: has 1")


def test_file_without_frames_is_refused(path):
    arrays = make_members()
    np.savez(path, **{key: value[:0] if key in PER_FRAME_ARRAYS else value for key, value in arrays.items()})
    assert load_error(path).startswith("pts: has 0 frames, expected 1 to ")


@pytest.mark.parametrize("key", [key for key in ARRAY_NAMES if key != "valid"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_array_with_nan_or_inf_is_named_in_the_error(path, key, value):
    arrays = {name: array.copy() for name, array in make_members().items()}
    arrays[key].flat[-1] = value
    np.savez(path, **arrays)
    assert load_error(path) == f"{key}: contains NaN or Inf. {FIX}"


def test_times_that_do_not_increase_are_refused(path):
    arrays = make_members()
    arrays["pts"] = arrays["pts"][::-1]
    np.savez(path, **arrays)
    assert load_error(path).startswith("pts: must increase strictly")


def test_bool_bytes_beyond_0_and_1_are_refused(path):
    arrays = make_members()
    arrays["valid"] = np.full(12, 2, np.uint8).view(bool)
    np.savez(path, **arrays)
    assert load_error(path).startswith("valid: contains bytes that are neither true nor false")


@pytest.mark.parametrize("version", [2, 0, "1", None, True, 1.0])
def test_other_format_version_is_reported_first(path, version):
    np.savez(path, meta=np.array(json.dumps({"version": version})))
    assert load_error(path).startswith(f"meta: format version {version!r} is not supported, only version 1. Run")


@pytest.mark.parametrize("key", [key for key in TrackMeta.__dataclass_fields__ if key != "last_duration"])
def test_missing_metadata_field_is_named_in_the_error(path, key):
    arrays = make_members()
    meta = json.loads(str(arrays["meta"]))
    del meta[key]
    np.savez(path, **arrays | {"meta": np.array(json.dumps(meta))})
    assert load_error(path) == f"meta: {key}: is missing. {FIX}"


INVALID_META = [
    ({"last_duration": 0}, "last_duration: must be"),
    ({"last_duration": True}, "last_duration: must be"),
    ({"last_duration": 1e9}, "last_duration: must be"),
    ({"space": "arkit"}, "space: 'arkit' is not one of bfm09, face478"),
    ({"space": [[]]}, "space: [[]] is not"),
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
    ({"cuts": [12]}, "cuts: frame 12 is beyond the 12 frames of the track"),
]


@pytest.mark.parametrize(("change", "text"), INVALID_META)
def test_invalid_metadata_field_is_named_in_the_error(path, change, text):
    arrays = make_members()
    meta = json.loads(str(arrays["meta"])) | change
    np.savez(path, **arrays | {"meta": np.array(json.dumps(meta))})
    assert load_error(path).startswith(f"meta: {text}")


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        (np.array("{"), "meta: is not JSON"),
        (np.array("[" * 100_000), "meta: is not JSON"),
        (np.array("[]"), "meta: is not a JSON object"),
        (np.array("{}"), "meta: format version None is not supported"),
        (np.array(b"{}"), "meta: must be one text"),
        (np.array(["{}"]), "meta: must be one text"),
        (np.array(" " * (MAX_META_CHARACTERS + 1)), "meta: must be one text"),
        (np.array(1.0), "meta: must be one text"),
        (np.full((), 0xFFFFFFFF, np.uint32).view("<U1"), "meta: is damaged"),
    ],
)
def test_metadata_of_another_kind_is_refused(path, meta, text):
    np.savez(path, **make_members() | {"meta": meta})
    assert load_error(path).startswith(text)


def make_npy(shape: tuple[int, ...], dtype: str, data: bytes) -> bytes:
    """Return a .npy file with any shape in its header and any data."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def write_raw(path: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    """Write a track with the bytes of some members replaced; the checksums of the zip are valid."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for key, value in make_members().items():
            buffer = io.BytesIO()
            np.save(buffer, value)
            archive.writestr(f"{key}.npy", change.get(key, buffer.getvalue()))


@pytest.mark.parametrize(
    ("shape", "data", "text"),
    [
        ((10**18,), b"", "pts: has 1000000000000000000 frames, expected"),
        ((10**4000,), b"", "pts: has 1000"),
        ((MAX_FRAMES,), b"", "pts: is damaged or truncated"),  # 16 MB that are missing
        ((12,), bytes(12 * 8 - 1), "pts: is damaged or truncated"),
        ((12,), bytes(12 * 8 + 1), "pts: is damaged or truncated"),
        ((-12,), bytes(12 * 8), "pts: has -12 frames, expected"),
    ],
)
def test_header_that_declares_another_size_is_refused(path, shape, data, text):
    write_raw(path, {"pts": make_npy(shape, "<f8", data)})
    assert load_error(path).startswith(text)


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
def test_invalid_array_header_is_refused_without_a_warning(path, header, recwarn):
    write_raw(path, {"pose": header})
    assert load_error(path) == f"pose: is damaged or truncated. {FIX}"
    assert not recwarn.list


def test_header_of_python_2_loads_without_a_warning(path, recwarn):
    pose = TRACK.pose
    write_raw(path, {"pose": make_npy((12, 6), "<f4", pose.tobytes()).replace(b"(12, 6)", b"(12L,6)")})
    np.testing.assert_array_equal(MotionTrack.load(path).pose, pose)
    assert not recwarn.list


def test_compression_that_numpy_does_not_write_is_refused(path):
    write_raw(path, {}, zipfile.ZIP_LZMA)
    assert load_error(path).startswith("meta: is encrypted or uses a compression that numpy does not write")


def test_encrypted_member_is_refused(path):
    write_raw(path, {}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02", 0, content.rindex(b"pose.npy")) + 8] |= 1
    path.write_bytes(content)
    assert load_error(path).startswith("pose: is encrypted")


def test_zip_that_declares_too_much_is_refused_before_unpacking(path):
    write_raw(path, {}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"pose.npy"))
    content[entry + 24 : entry + 28] = struct.pack("<I", 2**31 + 1)
    path.write_bytes(content)
    assert load_error(path).startswith("unpacks to more than the limit of 2 GiB")


def test_zip_member_larger_than_declared_is_refused(path):
    """The declared size agrees with the header, but the packed stream continues with 10 MB of zeros."""
    declared = make_npy((12,), "<f8", bytes(96))
    write_raw(path, {"pts": declared + bytes(10**7)}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"pts.npy"))
    content[entry + 24 : entry + 28] = struct.pack("<I", len(declared))
    path.write_bytes(content)
    assert load_error(path).startswith("pts: is damaged or truncated")


def test_huge_file_is_refused_before_reading(path):
    with path.open("wb") as file:
        file.truncate(2 * 1024**3 + 1)  # sparse: uses no disk space
    assert load_error(path).startswith("is larger than the limit of 2 GiB")


def test_zip_bomb_is_refused_with_little_memory(path):
    """Half a gigabyte of zeros is packed into half a megabyte, in a track of 12 frames."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, value in make_members().items():
            buffer = io.BytesIO()
            np.save(buffer, value)
            with archive.open(f"{key}.npy", "w") as member:
                if key == "expression":
                    member.write(make_npy((MAX_FRAMES, 64), "<f4", b""))
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
    command = [sys.executable, "-c", script, path]
    root = Path(__file__).resolve().parents[2]
    completed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    text, growth = completed.stdout.splitlines()
    assert "expression: has 2000000 frames, but pts has 12" in text
    assert int(growth) < 20_000  # KiB
