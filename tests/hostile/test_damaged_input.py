"""Damaged files give a value or a one-line error that names the file; no traceback, no other file is written."""

import warnings

import pytest

from tests.hostile.damage import damage_bytes
from tests.hostile.reader import Reader, try_to_read
from tests.hostile.readers import READERS

CASES_PER_READER = 12  # for ten thousand, run python -m tests.benchmarks.fuzz
# The valid files of these readers are incomplete: networks lack tensors, and the files of a list are missing.
REFUSED_VALID_FILES = {"evaluation list", "safetensors", "pickle", "old pickle", "bare pickle", "face model mat"}
# After the first part, the decoder of its codec cannot read the second.
REFUSED_VALID_FILES |= {"joined mkv"}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_file_is_read_or_refused_in_one_line(reader: Reader, tmp_path):
    content = reader.make()
    outcomes = []
    for seed in range(CASES_PER_READER):
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = folder / reader.file_name
        path.write_bytes(damage_bytes(content, seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes.append(try_to_read(reader, path))
        assert [entry.name for entry in tmp_path.iterdir() if not entry.name.isdigit()] == []
    assert reader.ignores_damage or "refused" in outcomes  # otherwise the damage had no effect


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_valid_file_is_read(reader: Reader, tmp_path):
    path = tmp_path / reader.file_name
    path.write_bytes(reader.make())
    assert try_to_read(reader, path) == ("refused" if reader.name in REFUSED_VALID_FILES else "read")


def test_damage_depends_on_the_seed_only():
    content = bytes(range(256)) * 8
    assert damage_bytes(content, 5) == damage_bytes(content, 5) != damage_bytes(content, 6)
