"""Whatever bytes a file holds: a value, or one line that names it; no traceback, no hang, nothing written elsewhere."""

import warnings

import pytest

from tests.hostile.mutate import mutated
from tests.hostile.readers import READERS, Reader, outcome

EACH = 12  # harmed files of each kind; ten thousand: python -m tests.benchmarks.fuzz


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_harmed_files(reader: Reader, tmp_path):
    whole = reader.whole()
    found = []
    for seed in range(EACH):
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = folder / reader.file_name
        path.write_bytes(mutated(whole, seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(outcome(reader, path))
        assert [entry.name for entry in tmp_path.iterdir() if not entry.name.isdigit()] == []
    assert reader.fallback or "refused" in found  # else the harm was none


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_whole_files(reader: Reader, tmp_path):
    """What the harm starts from is right: readers of networks and lists go on to say what is missing."""
    path = tmp_path / reader.file_name
    path.write_bytes(reader.whole())
    refused = {"evaluation list", "safetensors", "pickle", "old pickle", "bare pickle", "face model mat"}
    assert outcome(reader, path) == ("refused" if reader.name in refused else "read")


def test_harm_is_repeatable():
    content = bytes(range(256)) * 8
    assert mutated(content, 5) == mutated(content, 5) != mutated(content, 6)
