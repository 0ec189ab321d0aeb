"""The cache of landmark observations."""

import os
import shutil

import numpy as np
import pytest

from mimaface_cli.builders.face478.observation_file import (
    FileObservation,
    ObservationFile,
    collect_observations,
    observe_folder,
)
from mimaface_cli.errors import InputError
from tests.conftest import ROOT


def make_observation(kind: str, count: int) -> FileObservation:
    rng = np.random.default_rng(count)
    colors = rng.uniform(0, 255, (count, 478, 3)) if kind == "still" else None
    return FileObservation(
        kind, "", rng.normal(size=(count, 478, 3)), rng.random((count, 52)), rng.random((count, 3, 3)), colors
    )


def test_observe_folder_reads_each_file_once_and_notes_unusable_ones(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(ROOT / "examples" / "portrait.jpg", folder)
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden").write_text("ignored")
    with ObservationFile(tmp_path / "store") as store:
        assert observe_folder(folder, store) == ["notes.txt", "portrait.jpg"]
        first = store.get("portrait.jpg")
        assert first.kind == "still"
        assert first.problem == ""
        assert first.colors is not None
        assert first.colors.shape == (1, 478, 3)
        assert store.get("notes.txt").problem
        stamp = (folder / "portrait.jpg").stat()
        assert store.contains("portrait.jpg", (stamp.st_size, stamp.st_mtime_ns))
        os.utime(folder / "portrait.jpg", ns=(1, 1))
        assert not store.contains("portrait.jpg", (stamp.st_size, 1))


def test_collect_observations_numbers_subjects_by_file(tmp_path):
    with ObservationFile(tmp_path / "store") as store:
        for name, kind, count in (("a", "still", 1), ("b", "still", 1), ("c", "clip", 3), ("d", "clip", 2)):
            store.put(name, (1, 1), make_observation(kind, count))
        store.put("e", (1, 1), FileObservation("still", "no face detected"))
        observations = collect_observations(store, list("abcde"))
        assert observations.photos == ["a", "b"]
        assert observations.skipped == {"e": "no face detected"}
        assert observations.data.clips.subject.tolist() == [0, 0, 0, 1, 1]
        assert observations.data.clips.colors is None
        assert observations.data.stills.landmark_colors.shape == (2, 478, 3)
        with pytest.raises(InputError, match="only 1 images and 2 clips"):
            collect_observations(store, list("acd"))


def test_observation_file_rejects_other_files_and_damaged_entries(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("this is not a database, but some text that is long enough")
    with pytest.raises(InputError, match=r"notes\.txt: not a file of observations"):
        ObservationFile(path)
    with ObservationFile(tmp_path / "store") as store:
        damaged = make_observation("clip", 2)
        store.put("a", (1, 1), FileObservation("clip", "", damaged.points, damaged.scores[:1], damaged.rotation))
        with pytest.raises(InputError, match="damaged at a"):
            store.get("a")
        with pytest.raises(InputError, match="damaged at missing"):
            store.get("missing")
