"""Motion of an edit: the track of a photo, and the changes to a recorded track."""

from dataclasses import replace
from functools import partial

from mimaface_cli.apps.edit_job import EditJob, VideoInput
from mimaface_cli.apps.edit_options import SHORTEST
from mimaface_cli.apps.edit_terms import load_region_maps
from mimaface_cli.apps.edit_track import transform_track
from mimaface_cli.drivers.base import Driver
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.face import face478
from mimaface_cli.face.extract_face478 import EXTRACTOR, extractor_version
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.channels import find_channel, split_sides
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.motion.keyframes import Keyframe
from mimaface_cli.motion.mixing import mix_tracks
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.transforms import hold_first_frame

TRANSITION_SHARE = 0.6  # share of a video without keyframes in which a photo changes from its face to the edited one


def extract_video_motion(source: VideoInput, job: EditJob) -> Driver:
    """Return the motion of the video to edit, from the cache if possible."""
    progress = partial(job.progress, "extracting motion")
    driver = load_driver(source.path, ExtractOptions(job.options.face), job.cache, progress, source.info)
    job.notes.extend(note for note in driver.notes if note not in job.notes)
    return driver


def create_photo_track(portrait: Portrait) -> MotionTrack:
    """Return a track of one frame with the coefficients of a photo."""
    height, width = portrait.image.shape[:2]
    track = MotionTrack.neutral(1, "face478", width=width, height=height)
    return replace(
        track,
        identity=portrait.identity,
        expression=portrait.expression[None],
        pose=portrait.pose[None],
        gaze=portrait.gaze[None],
        crop=portrait.to_crop[None],
        meta=replace(track.meta, extractor=EXTRACTOR, extractor_version=extractor_version(face478.load())),
    )


def edit_photo_motion(portrait: Portrait, job: EditJob) -> MotionTrack:
    """Return the edited motion of a photo: one frame, or as many as keyframes or the duration require."""
    track = _animate_photo_track(create_photo_track(portrait), job)
    return track if job.mixed_track is None else _mix(track, job.mixed_track, job)


def edit_recorded_motion(track: MotionTrack, job: EditJob) -> MotionTrack:
    """Return a recorded track with the transformations, the mixed regions and the edits of a job."""

    def mix(recorded: MotionTrack) -> MotionTrack:
        return recorded if job.mixed_track is None else _mix(recorded, job.mixed_track, job)

    return transform_track(track, job.options, job.edits, job.notes, mix)


def _mix(track: MotionTrack, other: MotionTrack, job: EditJob) -> MotionTrack:
    needs_maps = track.meta.space == other.meta.space == "bfm09"
    region_maps = load_region_maps(job.options.bfm) if needs_maps else None
    mixed, notes = mix_tracks(track, other, job.options.regions, region_maps)
    job.notes.extend(notes)
    return mixed


def _animate_photo_track(track: MotionTrack, job: EditJob) -> MotionTrack:
    """Turn a photo's one frame into motion: along keyframes, or from the photo's face to the edited one.

    Without keyframes and duration, the result is the edited frame.
    """
    keyframes, options = job.edits.keyframes, job.options
    if not keyframes and options.seconds is None:
        return job.edits.apply(track, job.notes)
    last = max((keyframe.time for keyframe in keyframes), default=0.0)
    duration = options.seconds or max(last, SHORTEST) + float(1 / options.frame_rate)
    if last > duration:
        job.notes.append(f"keyframes after {duration:g} s are not reached; a duration of {last:g} s includes all")
    still = hold_first_frame(track, duration, options.frame_rate)
    edited = replace(job.edits, keyframes=_add_start_keyframes(track, keyframes)).apply(still, job.notes)
    return edited if keyframes else _blend_over_time(still, edited)


def _add_start_keyframes(track: MotionTrack, keyframes: list[Keyframe]) -> list[Keyframe]:
    """Split keyframes into sides, and let curves without a keyframe at 0 start at the photo's values."""
    by_side = [replace(keyframe, name=name) for keyframe in keyframes for name in split_sides(keyframe.name)]
    for name in dict.fromkeys(keyframe.name for keyframe in by_side):
        if not any(keyframe.name == name and keyframe.time == 0 for keyframe in by_side):
            channel = find_channel(name, track.meta.space)
            value = float(channel.read(getattr(track, channel.array))[0, 0])
            by_side.append(Keyframe(0.0, name, value))
    return by_side


def _blend_over_time(start: MotionTrack, end: MotionTrack) -> MotionTrack:
    """Blend from one track to another along a smooth step over TRANSITION_SHARE of the duration."""
    weight = smoothstep(start.pts / max(TRANSITION_SHARE * float(start.pts[-1]), 1e-6))[:, None]
    return replace(
        end,
        expression=start.expression + weight * (end.expression - start.expression),
        pose=start.pose + weight * (end.pose - start.pose),
        gaze=start.gaze + weight * (end.gaze - start.gaze),
    )
