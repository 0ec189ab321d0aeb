"""A photo or a video under an edit: frames that come as they are drawn."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from mimaface_cli.apps.drivers import Driver, load_driver
from mimaface_cli.apps.edit_options import LONGEST, SHORTEST, EditOptions
from mimaface_cli.apps.edit_terms import Edits, region_parts
from mimaface_cli.apps.grid import Axis, assemble, cells
from mimaface_cli.apps.sources import Moving, coefficients_of, portraits_of
from mimaface_cli.cache import Cache
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.edit_gain import EditGain, apply_gains, get_portrait_coefficients, measure_gains
from mimaface_cli.engines.mesh.motion_plan import plan_edited_motion
from mimaface_cli.face import face478
from mimaface_cli.face.extract_face478 import EXTRACTOR, extractor_version
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion import mixing, transforms
from mimaface_cli.motion.channels import Channel, find_channel, split_sides
from mimaface_cli.motion.coefficients import Coefficients
from mimaface_cli.motion.editing import list_edited_channels
from mimaface_cli.motion.keyframes import Keyframe
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback

USUAL_LENGTH = 3.0  # seconds of a video made from a photo that nothing else gives a length
_MOVING = ("expression", "pose", "gaze")
SETTLED = 0.6  # share of a keyless video after which a photo has reached the edit


def read_source(info: MediaInfo, options: EditOptions, cache: Cache | None, tell: ProgressCallback) -> Driver:
    report = lambda done, total: tell("reading the source", done, total)  # noqa: E731
    return load_driver(info.path, ExtractOptions(options.face), cache, report, info)


def photo_track(portrait: Portrait, info: MediaInfo) -> MotionTrack:
    """One frame: the photo's own coefficients."""
    track = MotionTrack.neutral(1, "face478", width=info.width, height=info.height)
    return replace(
        track,
        identity=portrait.identity,
        expression=portrait.expression[None],
        pose=portrait.pose[None],
        gaze=portrait.gaze[None],
        crop=portrait.to_crop[None],
        meta=replace(track.meta, extractor=EXTRACTOR, extractor_version=extractor_version(face478.load())),
    )


def over_time(track: MotionTrack, edits: Edits, options: EditOptions, notes: list[str]) -> MotionTrack:
    """A photo's one frame made into motion: along its keys, or from the photo as it is to the edit; one frame where
    nothing asks for time.
    """
    if not edits.keys and options.seconds is None:
        return edits.apply(track, notes)
    last = max((key.time for key in edits.keys), default=0.0)
    seconds = options.seconds or max(last, SHORTEST) + float(1 / options.frame_rate)
    if last > seconds:
        notes.append(f"keys after {seconds:g} s are not reached; --seconds {last:g} shows all")
    still = transforms.hold_first_frame(track, seconds, options.frame_rate)
    full = replace(edits, keys=_from_rest(track, edits.keys)).apply(still, notes)
    if edits.keys:
        return full
    share = np.clip(still.pts / max(SETTLED * float(still.pts[-1]), 1e-6), 0, 1)
    share = (share * share * (3 - 2 * share))[:, None]
    moved = {}
    for name in _MOVING:
        before = getattr(still, name)
        moved[name] = before + share * (getattr(full, name) - before)
    return replace(full, **moved)


def _from_rest(track: MotionTrack, keys: list[Keyframe]) -> list[Keyframe]:
    """Keys of single sides that start, where there is no key at 0, at the photo's own values."""
    sided = [replace(key, name=name) for key in keys for name in split_sides(key.name)]
    for name in dict.fromkeys(key.name for key in sided):
        if not any(key.name == name and key.time == 0 for key in sided):
            channel = find_channel(name, track.meta.space)
            sided.append(Keyframe(0.0, name, float(channel.read(getattr(track, channel.array))[0, 0])))
    return sided


def mixed(track: MotionTrack, other: MotionTrack, options: EditOptions, notes: list[str]) -> MotionTrack:
    parts = region_parts(options.bfm) if track.meta.space == other.meta.space == "bfm09" else None
    mixed, told = mixing.mix_tracks(track, other, options.regions, parts)
    notes += told
    return mixed


def retimed(track: MotionTrack, other: MotionTrack | None, options: EditOptions, notes: list[str]) -> MotionTrack:
    """Everything that is not by name: the recorded motion cut, stretched, mixed, made stronger and smoother."""
    if options.start or options.duration is not None:
        track = transforms.trim_track(track, options.start, options.duration)
    track = transforms.change_speed(track, options.speed)
    if other is not None:
        track = mixed(track, other, options, notes)
    return transforms.smooth_track(transforms.scale_motion(track, options.strength), options.smooth)


def still_length(edits: Edits, other: MotionTrack | None, options: EditOptions) -> EditOptions:
    """The options with the length of a video made from a photo, where neither they nor keys say it."""
    if options.seconds is not None or edits.keys:
        return options
    length = USUAL_LENGTH if other is None else other.duration
    return replace(options, seconds=min(max(length, SHORTEST), LONGEST))


def from_photo(
    portrait: Portrait,
    info: MediaInfo,
    edits: Edits,
    other: MotionTrack | None,
    options: EditOptions,
    notes: list[str],
) -> tuple[Moving, list[EditGain]]:
    """A photo under its edit: one frame, or as many as keys or seconds take."""
    track = over_time(photo_track(portrait, info), edits, options, notes)
    if other is not None:
        track = mixed(track, other, options, notes)
    channels = list_edited_channels(edits.terms, edits.keys, "face478", None)
    frames, gains = _drawn(portrait, coefficients_of(track, slice(None)), channels, notes)
    return Moving(frames, track.pts, track.frame_rate), gains


def photo_grid(
    portrait: Portrait, info: MediaInfo, edits: Edits, axes: list[Axis], cell: int, notes: list[str]
) -> tuple[Moving, list[EditGain]]:
    """A photo in every combination of the axes' values, beside other edits, as one picture."""
    square = portrait.square()
    steps = cells(axes)
    track = edits.apply(photo_track(square, info), notes)
    one = coefficients_of(track, slice(None))
    arrays = {name: np.repeat(getattr(one, name), len(steps), axis=0) for name in _MOVING}
    for axis, values in zip(axes, np.array(steps).T):
        now = arrays[axis.channel.array]
        axis.channel.write(now, np.broadcast_to(values[:, None], axis.channel.read(now).shape))
    channels = list_edited_channels(edits.terms, [], "face478", None)
    channels += [axis.channel for axis in axes if axis.channel.name not in {c.name for c in channels}]
    frames, gains = _drawn(square, Coefficients(**arrays), channels, notes)

    def picture() -> Iterator[np.ndarray]:
        try:
            yield assemble(frames, axes, cell)
        finally:
            frames.close()

    return Moving(picture(), np.zeros(1), Fraction(25)), gains


def _drawn(
    portrait: Portrait, wanted: Coefficients, channels: list[Channel], notes: list[str]
) -> tuple[Iterator[np.ndarray], list[EditGain]]:
    """A photo's frames under wanted coefficients, with edits of `channels` drawn as they are seen."""
    model, own = face478.load(), get_portrait_coefficients(portrait)
    gains = measure_gains(portrait, model, wanted, channels)
    asked = apply_gains(own, wanted, gains)
    planned = plan_edited_motion(model, portrait.identity, own, asked)
    meant = replace(asked, expression=wanted.expression)  # what a gain asks beyond the limits nobody has asked for
    notes += held_notes(meant, plan_edited_motion(model, portrait.identity, own, meant).coefficients)
    return renderer.render_photo(portrait, model, planned), gains


def from_video(
    info: MediaInfo,
    edits: Edits,
    other: MotionTrack | None,
    options: EditOptions,
    cache: Cache | None,
    tell: ProgressCallback,
    notes: list[str],
) -> tuple[Moving, list[EditGain]]:
    """A video's motion edited and drawn on its own frames."""
    driven = read_source(info, options, cache, tell)
    if driven.missing:
        notes.append(f"{len(driven.missing)} frames show no face; there the edit is drawn where it should be")
    track = driven.track
    wanted = edits.apply(retimed(track, other, options, notes), notes)
    model, identity = face478.load(), track.identity.astype(np.float64)
    own, meant = coefficients_of(track, slice(None)), coefficients_of(wanted, slice(None))
    channels = list_edited_channels(edits.terms, edits.keys, "face478", None)
    gains = []
    if channels:  # looked at on the first frame that shows the face, for all
        shown = int(np.argmax(track.valid))
        stream = portraits_of(info.path, track.select_frames(slice(shown + 1)), identity, options.animate)
        try:
            first = next(portrait for k, portrait in enumerate(stream) if k == shown)
        finally:
            stream.close()
        parts = ((getattr(first, name), getattr(meant, name), getattr(own, name)) for name in _MOVING)
        gains = measure_gains(first, model, Coefficients(*(at + new - old for at, new, old in parts)), channels)
    asked = apply_gains(own, meant, gains)
    planned = plan_edited_motion(model, identity, own, asked)
    limited = replace(asked, expression=meant.expression)
    notes += held_notes(limited, plan_edited_motion(model, identity, own, limited).coefficients)
    frames = renderer.render_video(portraits_of(info.path, track, identity, options.animate), model, planned)
    return Moving(frames, track.pts, track.frame_rate), gains


def held_notes(asked: Coefficients, drawn: Coefficients) -> list[str]:
    """What was held within the limits of drawing, for the user."""
    notes = []
    for name, said in (("pose", "head"), ("expression", "expression"), ("gaze", "gaze")):
        off = np.abs(getattr(asked, name) - getattr(drawn, name)).max(1) > 1e-6
        if off.any():
            notes.append(f"{said}: {int(off.sum())} of {len(off)} frames held within what one photo can show")
    return notes
