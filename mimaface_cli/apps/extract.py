"""`extract` from end to end: a track and, if wanted, pictures of the fitted model."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mimaface_cli.apps.drivers import Driver, is_track, load_driver
from mimaface_cli.apps.outputs import check_target
from mimaface_cli.cache import Cache
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.face import face478
from mimaface_cli.face.camera import CROP_SIZE, apply_pose, project
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.face.shading import shade, vertex_normals
from mimaface_cli.files import check_output
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import probe
from mimaface_cli.media.trim import Trim
from mimaface_cli.media.writer import open_writer
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import SPACES
from mimaface_cli.progress import ProgressCallback


def extract(
    source: Path,
    output: Path | None = None,
    renders: Path | None = None,
    face: str = "largest",
    smooth: float = 1.0,
    *,
    space: str | None = None,
    skin: bool = True,
    trim: Trim = Trim(),
    overwrite: bool = False,
    cache: Cache | None = None,
    report: ProgressCallback | None = None,
) -> Driver:
    """The track of a photo, video, folder or .npz track; written to `output` (.npz) and drawn to `renders` where given.
    space: face478, or bfm09 for the released models (None: face478, or a track's own). skin: see ExtractOptions. trim:
    what is taken of it.

    Raises InputError, OutputError, or WeightsError for a space whose weights are not there.
    """
    options = ExtractOptions(face, smooth, skin)
    if space not in (None, *SPACES):
        raise InputError(f"--space {space}: choose {' or '.join(SPACES)}")
    tell = report or (lambda stage, done, total: None)
    if output is not None:
        if not is_track(output):
            raise OutputError(f"{output}: a track is written as .npz; change the suffix, or use --renders to see it")
        check_output(output, overwrite, (source,))
    given = load_driver(source, options, trim=trim) if is_track(source) else None
    if given and space not in (None, given.track.meta.space):
        raise InputError(f"{source}: is a track in {given.track.meta.space}; only pictures can be read into {space}")
    info = probe(source) if given is None else None
    if renders is not None:
        count = len(given.track) if given else info.frame_count
        size = CROP_SIZE, CROP_SIZE
        check_target(renders, size, EncodeOptions(), frames=count, overwrite=overwrite, inputs=(source,))
    progress = lambda done, total: tell("reading", done, total)  # noqa: E731
    result = given or load_driver(source, options, cache, progress, info, space or "face478", trim)
    track = result.track
    draw = painter(track.meta.space) if renders is not None else None
    if output is not None:
        track.save(output, overwrite)
    if renders is not None:
        writer = open_writer(renders, CROP_SIZE, CROP_SIZE, track.frame_rate, duration=track.duration)
        with writer:
            for k, frame in enumerate(draw(track)):
                writer.write(frame, float(track.pts[k] - track.pts[0]))
                tell("drawing", k + 1, len(track))
    return result


def painter(space: str) -> Callable[[MotionTrack], Iterator[np.ndarray]]:
    """What draws the rendered image I_R of each frame of a track in a space (paper section 3.1): the lit model on black,
    256×256×3 uint8, as the camera of the aligned crop sees it. Raises WeightsError where the model is not installed.
    """
    if space == "bfm09":
        from mimaface_cli.engines.diffusion.checkpoint import load_face_model
        from mimaface_cli.face.bfm_render import render_track as render_bfm09

        model = load_face_model()
        return lambda track: render_bfm09(model, track)
    return lambda track: render_track(track, face478.load())


def render_track(track: MotionTrack, model: Face478) -> Iterator[np.ndarray]:
    """The renders of a face478 track; each surface vertex has its own color."""
    albedo = model.albedo(track.texture.astype(np.float64))
    identity = track.identity.astype(np.float64)
    for k in range(len(track)):
        shape = model.shape(identity, track.expression[k].astype(np.float64))
        placed = apply_pose(shape, track.pose[k].astype(np.float64))
        pixels, depth = project(placed)
        colors = np.clip(shade(albedo, vertex_normals(placed, model.triangles), track.illumination[k]), 0, 255)
        index, weights, _ = rasterize(pixels, depth, model.triangles, CROP_SIZE, CROP_SIZE)
        yield (interpolate(index, weights, model.triangles, colors) + 0.5).astype(np.uint8)
