"""Whatever bytes a track file holds, loading gives a right track or one InputError line, and never a warning."""

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
from mimaface_cli.motion.track_meta import TrackMeta

KEYS = ("identity", "texture", "expression", "illumination", "pose", "gaze", "crop", "pts", "valid")
FUZZ = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
TRACK = MotionTrack.neutral(3, "face478")


def npy(value: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()


MEMBERS = {key: npy(getattr(TRACK, key)) for key in KEYS} | {"meta": npy(np.array(TRACK.meta.to_json()))}


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for key, value in members.items():
            archive.writestr(f"{key}.npy", value)
    return buffer.getvalue()


WHOLE = packed(MEMBERS)
PACKED = packed(MEMBERS, zipfile.ZIP_DEFLATED)


def survives(content: bytes) -> bool:
    """Load the bytes; True if they make a track, which must then survive a round trip unchanged."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / "track.npz"
        path.write_bytes(content)
        try:
            track = MotionTrack.load(path)
        except InputError as error:
            assert str(error).startswith(f"{path}: ") and str(error).isprintable()
            return False
        again = Path(folder) / "again.npz"
        track.save(again)
        same = MotionTrack.load(again)
        assert same.meta == track.meta
        assert all(np.array_equal(getattr(same, key), getattr(track, key)) for key in KEYS)
        return True


def test_the_unharmed_files_load():
    assert survives(WHOLE) and survives(PACKED)


@settings(FUZZ, max_examples=200)
@given(st.binary(max_size=400), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY\x01\x00"]))
def test_random_bytes(content, start):
    assert not survives(start + content)


@st.composite
def harmed(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes with up to six replaced, a stretch removed or doubled, or the end cut off."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 300)))
        data[start:stop] = bytes(data[start:stop]) * draw(st.sampled_from([0, 2]))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(FUZZ, max_examples=300)
@given(st.one_of(harmed(WHOLE), harmed(PACKED)))
def test_harmed_files(content):
    survives(content)


@settings(FUZZ, max_examples=200)
@given(st.data(), st.sampled_from(sorted(MEMBERS)))
def test_harmed_members_under_sound_checksums(data, key):
    survives(packed(MEMBERS | {key: data.draw(harmed(MEMBERS[key]))}))


@st.composite
def any_array(draw: st.DrawFn, key: str) -> np.ndarray:
    """Any values, in the key's own shape and dtype or in others."""
    right = getattr(TRACK, key)
    shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    dtypes = st.one_of(npst.scalar_dtypes(), st.just(np.dtype("f4,i2")))
    shape = draw(st.one_of(st.just(right.shape), shapes))
    return draw(npst.arrays(draw(st.one_of(st.just(right.dtype), dtypes)), shape))


@settings(FUZZ, max_examples=200)
@given(st.data(), st.sampled_from(KEYS))
def test_random_arrays_under_the_right_names(data, key):
    survives(packed(MEMBERS | {key: npy(data.draw(any_array(key)))}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**4000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(FUZZ, max_examples=300)
@given(st.sampled_from(["version", *TrackMeta.__dataclass_fields__]), JSON)
def test_random_values_in_the_meta(field, value):
    meta = json.loads(TRACK.meta.to_json()) | {field: value}
    survives(packed(MEMBERS | {"meta": npy(np.array(json.dumps(meta)))}))


@settings(FUZZ, max_examples=100)
@given(st.integers(1, 2000), st.sampled_from(["version", *TrackMeta.__dataclass_fields__]))
def test_deep_nesting_in_the_meta(depth, field):
    opening, closing = ('{"a": ', "}") if field == "options" else ("[", "]")
    nested = opening * depth + "[]" + closing * depth
    text = TRACK.meta.to_json().replace(f'"{field}": ', f'"{field}": {nested}, "{field}_": ')
    assert depth < 16 or not survives(packed(MEMBERS | {"meta": npy(np.array(text))}))
