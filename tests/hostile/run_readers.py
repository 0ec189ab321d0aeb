"""Readers of job files, settings, training files, lists and caches."""

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.motion_readers import make_track
from tests.hostile.reader import Reader

_PAIR_LIST = (
    b"source,driver,source_frame,start,frames,stride,result\na.png,b.mp4,0,0,10,1,r.mp4\nc.png,b.mp4,0,5,10,2,s.mp4\n"
)
_JOBS = (
    b"source,driver,output,strength,compare,provenance\n"
    b'a.jpg,b.mp4,o/1.mp4,1.2,yes,\n"a, b.jpg",c.npz,o/2.mp4,,,no\nd.jpg,o/1.mp4,frames/%05d.png,0.5,,\n'
)
_JOB_LINES = (
    b'{"source": "a.jpg", "driver": "b.mp4", "output": "o.mp4", "strength": 1.2, "compare": true}\n'
    b'{"source": "a.jpg", "driver": "o.mp4", "output": "p.mp4", "matte": "m.mp4", "no-provenance": false}\n'
)
_SETTINGS = (
    b'[animate]\ncrf = 20\nregion = "lips"\nprovenance = true\n[edit]\nset = ["yaw=3"]\n[track.show]\njson = false\n'
)
_TRAINING_CONFIG = (
    b'data = "data"\noutput = "run"\nspace = "bfm09"\nsize = 512\nrecipe = "paper"\nprecision = "bf16"\n'
    b'[model]\nstart = "sd15"\n[image.optimizer]\nmicro = 8\nlearning_rate = 1e-5\n[video]\nclip = 12\n'
)


def _read_pair_list(path: Path) -> object:
    from mimaface_cli.evaluation.pair_lists import read_list

    return read_list(path)


def _read_cached_figures(path: Path) -> object:
    from mimaface_cli.cache import FIGURE_FOLDER, Cache, EntryKind
    from mimaface_cli.evaluation.figure_entries import load_figures, save_figures

    cache = Cache(path.parent)
    kind = EntryKind(FIGURE_FOLDER, ".json", load_figures, save_figures)
    target = cache.path_for(kind, "0" * 64)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    return cache.load(kind, "0" * 64)


def _read_cached_clip(path: Path) -> object:
    from mimaface_cli.engines.diffusion.clip_store import ClipStore

    store = ClipStore(path.parent, "run", (1, 4, 2, 8, 8))
    store.folder.mkdir(exist_ok=True)
    path.replace(store._path(0))
    return store.load(0)


def _make_cached_clip() -> bytes:
    import torch
    from safetensors.torch import save

    return save({"latents": torch.zeros(1, 4, 2, 8, 8)})


@functools.cache
def _get_program() -> Any:
    from typer.main import get_command

    from mimaface_cli.cli.app import app

    return get_command(app)


def _read_job_file(path: Path) -> object:
    from mimaface_cli.batch.job_file import read_jobs
    from mimaface_cli.cli.batch import _job_options, _parse_problem

    animate = _get_program().commands["animate"]
    return [job.words for job in read_jobs(path, _job_options(animate), lambda words: _parse_problem(animate, words))]


def _read_settings(path: Path) -> object:
    from mimaface_cli.cli.config_file import VARIABLE, load_config

    return load_config(_get_program(), {VARIABLE: str(path)})


def _make_job_record() -> bytes:
    from dataclasses import asdict

    from mimaface_cli.batch.job_state import DONE, JobRecord

    stamps = {"/a/b.jpg": [3, 4], "/a/c.mp4": [5, 6]}
    return json.dumps(
        asdict(JobRecord(DONE, 1, 2, "o.mp4", 0, "", 1.5, {"frames": 3}, stamps, True, 1.0, 2.0, "h 1"))
    ).encode()


def _resume_job(path: Path) -> object:
    """Read a job record as a later run does."""
    from mimaface_cli.batch.job_run import CommandOutcome, run_job
    from mimaface_cli.batch.job_state import StateFolder
    from mimaface_cli.batch.jobs import Job

    output = path.with_name("o.mp4")
    output.write_bytes(b"1")
    job = Job(path.stem, 2, "b.jpg", "c.mp4", "o.mp4", {}, (Path("/a/b.jpg"), Path("/a/c.mp4")), (output,))
    return run_job(StateFolder(path.parent), job, 3, False, lambda words, log: CommandOutcome(0, "", None))


def _read_training_config(path: Path) -> object:
    from mimaface_cli.training.config_reader import load_config

    return load_config(path)


def _make_shard() -> bytes:
    from mimaface_cli.training.shards import TrainingClip, write_shard

    images = np.random.default_rng(0).integers(0, 255, (2, 12, 32, 32, 3), np.uint8)
    points = np.zeros((12, 5, 2), np.float32)
    features = np.zeros(261, np.float32), np.zeros(98, np.float32)
    clip = TrainingClip("a-1", "a", "a/1.mp4", images[0], make_track(), points, images[0, 0], images[1], *features)
    with tempfile.TemporaryDirectory() as folder:
        write_shard(Path(folder) / "s.tar", [clip])
        return (Path(folder) / "s.tar").read_bytes()


def _read_shards(path: Path) -> object:
    from mimaface_cli.training.shard_reader import open_shards

    arrays: list[object] = []
    for clip in open_shards(path.parent):
        arrays += [clip.track(), clip.landmarks(), *(clip.frame(index) for index in range(min(clip.count, 20)))]
        if clip.has_renders:
            arrays += [clip.photo(), *(clip.render(index) for index in range(min(clip.count, 20)))]
        if clip.has_features:
            arrays += [clip.photo_coefficients(), clip.photo_features()]
    return arrays


RUN_READERS = (
    Reader("evaluation list", ".csv", lambda: _PAIR_LIST, _read_pair_list),
    Reader("cached figures", ".json", lambda: b'{"psnr": 20.5, "frames": [1, 2, 3]}', _read_cached_figures, True),
    Reader("cached clip", ".safetensors", _make_cached_clip, _read_cached_clip, ignores_damage=True),
    Reader("job file csv", ".csv", lambda: _JOBS, _read_job_file),
    Reader("job file json", ".jsonl", lambda: _JOB_LINES, _read_job_file),
    Reader("settings", ".toml", lambda: _SETTINGS, _read_settings),
    Reader("job record", ".json", _make_job_record, _resume_job, ignores_damage=True),
    Reader("training config", ".toml", lambda: _TRAINING_CONFIG, _read_training_config),
    Reader("shard", ".tar", _make_shard, _read_shards, required_name="shard-00000.tar"),
)
