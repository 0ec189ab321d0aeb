"""Fuzzing of track files: loading gives a valid track or a one-line InputError, and never a warning."""

import io
import json
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mimaface_cli.errors import InputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_layout import ARRAY_NAMES
from mimaface_cli.motion.track_meta import TrackMeta
from tests.motion.tracks import assert_same_track

FUZZ = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
TRACK = MotionTrack.neutral(3, "face478")


def to_npy(value: np.ndarray) -> bytes:
    """Return the .npy file of an array."""
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()


MEMBERS = {key: to_npy(getattr(TRACK, key)) for key in ARRAY_NAMES} | {"meta": to_npy(np.array(TRACK.meta.to_json()))}


def pack(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive of members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for key, value in members.items():
            archive.writestr(f"{key}.npy", value)
    return buffer.getvalue()


STORED = pack(MEMBERS)
DEFLATED = pack(MEMBERS, zipfile.ZIP_DEFLATED)


def try_to_load(content: bytes) -> bool:
    """Load bytes as a track; return whether they are valid. A valid track must pass a round trip unchanged."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / "track.npz"
        path.write_bytes(content)
        try:
            track = MotionTrack.load(path)
        except InputError as error:
            assert str(error).startswith(f"{path}: ") and str(error).isprintable()
            return False
        copy = Path(folder) / "copy.npz"
        track.save(copy)
        assert_same_track(MotionTrack.load(copy), track)
        return True


def test_undamaged_files_load():
    assert try_to_load(STORED) and try_to_load(DEFLATED)


@settings(FUZZ, max_examples=200)
@given(st.binary(max_size=400), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY\x01\x00"]))
def test_random_bytes_are_refused(content, start):
    assert not try_to_load(start + content)


@st.composite
def damage(draw: st.DrawFn, content: bytes) -> bytes:
    """Replace up to six bytes, remove or double a range, or truncate the end."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 300)))
        data[start:stop] = bytes(data[start:stop]) * draw(st.sampled_from([0, 2]))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(FUZZ, max_examples=300)
@given(st.one_of(damage(STORED), damage(DEFLATED)))
def test_damaged_file_loads_or_gives_one_error(content):
    try_to_load(content)


@settings(FUZZ, max_examples=200)
@given(st.data(), st.sampled_from(sorted(MEMBERS)))
def test_damaged_member_with_valid_checksum_loads_or_gives_one_error(data, key):
    try_to_load(pack(MEMBERS | {key: data.draw(damage(MEMBERS[key]))}))


@st.composite
def any_array(draw: st.DrawFn, key: str) -> np.ndarray:
    """Return any values, in the shape and dtype of the key or in others."""
    expected = getattr(TRACK, key)
    shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    dtypes = st.one_of(npst.scalar_dtypes(), st.just(np.dtype("f4,i2")))
    shape = draw(st.one_of(st.just(expected.shape), shapes))
    return draw(npst.arrays(draw(st.one_of(st.just(expected.dtype), dtypes)), shape))


@settings(FUZZ, max_examples=200)
@given(st.data(), st.sampled_from(ARRAY_NAMES))
def test_random_array_loads_or_gives_one_error(data, key):
    try_to_load(pack(MEMBERS | {key: to_npy(data.draw(any_array(key)))}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**4000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(FUZZ, max_examples=300)
@given(st.sampled_from(["version", *TrackMeta.__dataclass_fields__]), JSON)
def test_random_metadata_value_loads_or_gives_one_error(field, value):
    meta = json.loads(TRACK.meta.to_json()) | {field: value}
    try_to_load(pack(MEMBERS | {"meta": to_npy(np.array(json.dumps(meta)))}))


@settings(FUZZ, max_examples=100)
@given(st.integers(1, 2000), st.sampled_from(list(json.loads(TRACK.meta.to_json()))))
def test_deeply_nested_metadata_is_refused(depth, field):
    opening, closing = ('{"a": ', "}") if field == "options" else ("[", "]")
    nested = opening * depth + "[]" + closing * depth
    text = TRACK.meta.to_json().replace(f'"{field}": ', f'"{field}": {nested}, "{field}_": ')
    assert depth < 16 or not try_to_load(pack(MEMBERS | {"meta": to_npy(np.array(text))}))
