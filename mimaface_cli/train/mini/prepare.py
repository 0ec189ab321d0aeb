"""Videos of faces to training clips in files of their own, cut as `mimaface train prepare` cuts them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mimaface_cli.errors import MimafaceError
from mimaface_cli.train.footage import Cutting, MeshSpace, read_clips
from mimaface_cli.train.mini.data import write_clip
from mimaface_cli.train.prepare import find_videos, identity_of

DONE = ".done"


def prepare(
    folder: Path,
    output: Path,
    people: dict[str, str],
    size: int,
    frames: int,
    per_video: int,
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> list[str]:
    """Clips of all videos into `output`, at most `per_video` each; videos that are done stay as they are. people: file
    name to person, where folders do not tell. Returns a line for each video that could not be used."""
    output.mkdir(parents=True, exist_ok=True)
    videos, bad, space = find_videos(folder), [], MeshSpace()
    for k, path in enumerate(videos):
        inside = path.relative_to(folder)
        name = "-".join(inside.with_suffix("").parts)
        mark = output / f"{name}{DONE}"
        if not mark.exists():
            try:
                person = people.get(path.name) or identity_of(inside, {})
                made = 0
                for clip in read_clips(path, space, "clip", person, Cutting(size, frames, per_video)):
                    track = clip.track
                    motion = np.concatenate([track.pose, track.expression, track.gaze], 1)
                    write_clip(output / f"{name}-{made:03d}.npz", person, clip.frames, clip.renders, clip.photo, motion)
                    made += 1
                mark.write_text("" if made else f"{path}: no {frames} frames in a row that show one face")
            except MimafaceError as error:
                mark.write_text(str(error))
        if problem := mark.read_text():
            bad.append(problem)
        report(path.name, k + 1, len(videos))
    return bad
