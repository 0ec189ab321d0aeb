"""Shards of rendered people."""

from dataclasses import replace

import pytest

from mimaface_cli.builders.rendered_people.rendered_shards import Cast, render_shards
from mimaface_cli.errors import InputError
from mimaface_cli.training.shard_reader import open_shards
from tests.training.small_runs import InterruptionError, interrupt_at


def test_render_shards_resumes_and_rejects_another_cast(tmp_path):
    cast = Cast(people=36, takes=2, frames=1, size=32)
    with pytest.raises(InterruptionError):
        render_shards(cast, tmp_path, 1, interrupt_at(1, "rendering"))
    first = tmp_path / "shard-00000.tar"
    modified = first.stat().st_mtime_ns
    index = render_shards(cast, tmp_path, 2)
    assert index.shards == 2
    assert first.stat().st_mtime_ns == modified
    clips = open_shards(tmp_path)
    assert len(clips) == 72
    assert len({clip.identity for clip in clips}) == 36
    with pytest.raises(InputError, match="was prepared with condition render"):
        render_shards(replace(cast, condition="textured"), tmp_path)
