"""Extract the motion of a photo or video into a track file, and render the fitted face model."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np

from mimaface_cli.apps.output_checks import check_media_output
from mimaface_cli.cache import Cache
from mimaface_cli.drivers.base import Driver
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.drivers.track_driver import is_track
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
from mimaface_cli.motion.track_meta import BFM09, FACE478
from mimaface_cli.progress import ProgressCallback, ignore_progress

TrackRenderer = Callable[[MotionTrack], Iterator[np.ndarray]]


def extract(
    source: Path | str,
    output: Path | str | None = None,
    renders: Path | str | None = None,
    options: ExtractOptions = ExtractOptions(),
    *,
    trim: Trim = Trim(),
    overwrite: bool = False,
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> Driver:
    """Extract the motion of an input; optionally write it, and render the fitted face model.

    Args:
        source: A photo, video, folder of frames or track.
        output: Track file (.npz) to write, or None.
        renders: Video or numbered images of the fitted model to write, or None.
        options: Options of the extraction.
        trim: Span to use.
        overwrite: Whether existing outputs may be replaced.
        cache: Where the track is looked up and stored, or None.
        progress: Called with the stage, the frames that are done and their total.

    Returns:
        The motion.

    Raises:
        InputError: Nothing can be read, or no frame shows the face.
        OutputError: An output cannot be written.
        WeightsError: The weights of the space are not installed.
    """
    source = Path(source)
    output = None if output is None else Path(output)
    renders = None if renders is None else Path(renders)
    _check_output(source, output, overwrite)
    finished = load_driver(source, options, trim=trim) if is_track(source) else None
    if finished and options.space not in (None, finished.track.meta.space):
        raise InputError(
            f"{source}: is a track in the {finished.track.meta.space} space, which cannot be converted to "
            f"{options.space}. Extract the original photo or video, or leave `space` out."
        )
    info = None if finished else probe(source).check_strict(options.strict)
    if renders is not None:
        frames = None if info is None else info.frame_count
        if finished is not None:
            frames = len(finished.track)
        size = CROP_SIZE, CROP_SIZE
        check_media_output(renders, size, EncodeOptions(), frames=frames, overwrite=overwrite, inputs=(source,))

    def on_frame(done: int, total: int | None) -> None:
        progress("extracting motion", done, total)

    driver = finished or load_driver(source, options, cache, on_frame, info, options.space or FACE478, trim)
    renderer = track_renderer(driver.track.meta.space) if renders is not None else None
    if output is not None:
        driver.track.save(output, overwrite)
    if renders is not None and renderer is not None:
        _write_renders(driver.track, renders, renderer, progress)
    return driver


def _check_output(source: Path, output: Path | None, overwrite: bool) -> None:
    if output is not None:
        if not is_track(output):
            raise OutputError(f"{output}: is not a track. Name a .npz file, or set `renders` to write a video.")
        check_output(output, overwrite, (source,))


def _write_renders(track: MotionTrack, path: Path, renderer: TrackRenderer, progress: ProgressCallback) -> None:
    writer = open_writer(path, CROP_SIZE, CROP_SIZE, track.frame_rate, duration=track.duration)
    with writer:
        for k, frame in enumerate(renderer(track)):
            writer.write(frame, float(track.pts[k] - track.pts[0]))
            progress("rendering", k + 1, len(track))


def track_renderer(space: str) -> TrackRenderer:
    """Return the function that renders the tracks of a space.

    Args:
        space: "face478" or "bfm09".

    Returns:
        A function of a track that yields for each frame the lit model on black, (256, 256, 3) uint8, as the camera of
        the aligned crop sees it.

    Raises:
        WeightsError: The face model is not installed.

    Source: paper, section 3.1 (rendered image I_R).
    """
    if space == BFM09:
        from mimaface_cli.engines.diffusion.checkpoint import load_face_model
        from mimaface_cli.face import bfm_render

        model = load_face_model()
        return lambda track: bfm_render.render_track(model, track)
    return lambda track: render_track(track, face478.load())


def render_track(track: MotionTrack, model: Face478) -> Generator[np.ndarray, None, None]:
    """Yield the renders of a face478 track, (256, 256, 3) uint8, with a color per vertex."""
    albedo = model.albedo(track.texture.astype(np.float64))
    identity = track.identity.astype(np.float64)
    for k in range(len(track)):
        shape = model.shape(identity, track.expression[k].astype(np.float64))
        placed = apply_pose(shape, track.pose[k].astype(np.float64))
        pixels, depth = project(placed)
        normals = vertex_normals(placed, model.triangles)
        colors = np.clip(shade(albedo, normals, track.illumination[k]), 0, 255)
        index, weights, _ = rasterize(pixels, depth, model.triangles, CROP_SIZE, CROP_SIZE)
        yield (interpolate(index, weights, model.triangles, colors) + 0.5).astype(np.uint8)
