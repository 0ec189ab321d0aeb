"""The mesh engine: a photo, or each frame of a video, on its fitted 3-D head. It runs on any CPU."""

from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np

from mimaface_cli.cache import Cache
from mimaface_cli.concurrency import split_stream
from mimaface_cli.engines.base import EngineQuery, FrameStream, Readiness, RenderRequest
from mimaface_cli.engines.mesh.body_motion import carry_head
from mimaface_cli.engines.mesh.calibration import PortraitCalibration
from mimaface_cli.engines.mesh.calibration_probes import calibrate_portrait
from mimaface_cli.engines.mesh.dub_plan import find_speaking_rest
from mimaface_cli.engines.mesh.dubbing import render_dubbed_video
from mimaface_cli.engines.mesh.eyelid_crop import EYELID
from mimaface_cli.engines.mesh.face_networks import open_networks
from mimaface_cli.engines.mesh.face_part import FacePart
from mimaface_cli.engines.mesh.framing import Viewport, frame_head
from mimaface_cli.engines.mesh.motion_plan import MeshMotion, MotionSource, plan_mesh_motion
from mimaface_cli.engines.mesh.mouth_crop import MOUTH
from mimaface_cli.engines.mesh.part_network import open_network
from mimaface_cli.engines.mesh.part_option import LEARNED, part_model_path
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.engines.mesh.renderer import render_photo, render_photo_with_alpha
from mimaface_cli.engines.mesh.shot_mouth import average_neutral_face
from mimaface_cli.engines.mesh.turn_correction import correct_turns
from mimaface_cli.engines.mesh.video_rendering import render_video_motion
from mimaface_cli.engines.sources import PhotoSource, VideoSource
from mimaface_cli.errors import WeightsError
from mimaface_cli.face import face478
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.face.track_turns import make_upright
from mimaface_cli.motion.coefficients import EXPRESSION_DIM
from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.retarget import find_neutral_frame, reference_coefficients, track_coefficients
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import FACE478
from mimaface_cli.motion.transforms import trim_track
from mimaface_cli.weights.locate import locate

_MODELS = ("face_landmarker", "face478", "occlusion")
# Share of the landmarks of a face in the photo at which its head stays still, and from which it moves fully.
_HELD_SHARE = 0.75, 0.98


class MeshEngine:
    """The embedded default engine."""

    name = "mesh"
    options_field: str | None = "mouth"
    space = FACE478

    def readiness(self, query: EngineQuery) -> Readiness:
        """Return that the engine can run: everything that it needs is part of the package.

        Raises:
            InputError: A model file for mouths or eyelids does not exist.
            WeightsError: It is damaged or of another kind.
        """
        open_networks(query.mouth, query.eyes)
        return Readiness(self, "embedded default")

    def assets(self, query: EngineQuery) -> list[str | Path]:
        """Return landmark and face model, the networks for occluders, mouths and eyelids, and, for speech, for lips."""
        return [*_MODELS, *network_assets(query.mouth, query.eyes), *(["speech478"] if query.driver_is_speech else [])]

    def problems(self) -> list[str]:
        """Return the missing models."""
        problems = []
        for name in (*_MODELS, MOUTH.name, EYELID.name):
            try:
                locate(name, download=False)
            except WeightsError as error:
                problems.append(str(error))
        return problems

    def uses_gpu(self) -> bool:
        """Return False: the engine runs on the CPU."""
        return False

    def is_generative(self) -> bool:
        """Return False: the result is a composite of the source's own pixels."""
        return False

    def prepare(self, request: RenderRequest) -> FrameStream:
        """Start rendering a photo or a video."""
        if isinstance(request.source, PhotoSource):
            return _prepare_photo(request.source, request)
        return _prepare_video(request.source, request)


def network_assets(mouth: str, eyes: str) -> list[str | Path]:
    """Return the models that correct the face: registered names or files; mouth and eyes: as in RenderRequest."""
    return [*_part_assets(MOUTH, mouth), *_part_assets(EYELID, eyes)]


def _part_assets(part: FacePart, choice: str) -> list[str | Path]:
    path = part_model_path(choice)
    return [path] if path is not None else [part.name] if choice == LEARNED else []


def plan_portrait_motion(
    portrait: Portrait, track: MotionTrack, options: RetargetOptions, cache: Cache | None = None
) -> MeshMotion:
    """Retarget a face478 track to the face of a portrait, as its calibration measures it.

    Args:
        portrait: The portrait.
        track: Motion of the driver.
        options: Mode, region and strength.
        cache: Where calibrations are stored, or None.
    """
    calibration = calibrate_portrait(portrait, face478.load(), cache)
    return _plan_calibrated_motion(portrait, calibration, track, options)


def _plan_calibrated_motion(
    portrait: Portrait, calibration: PortraitCalibration, track: MotionTrack, options: RetargetOptions
) -> MeshMotion:
    model = face478.load()
    source = MotionSource(portrait.identity, portrait.coefficients, calibration, scores=portrait.scores)
    motion = plan_mesh_motion(model, source, track, options)
    motion = _hold_cut_head(motion, portrait)
    height, width = portrait.image.shape[:2]
    viewport = Viewport(width, height, portrait.to_crop)
    return _frame_motion(motion, model, portrait.identity, portrait.pose, viewport, options)


def _frame_motion(
    motion: MeshMotion,
    model: Face478,
    identity: np.ndarray,
    rest_pose: np.ndarray,
    viewport: Viewport,
    options: RetargetOptions,
) -> MeshMotion:
    """Keep the face in the frame, if the options move the head."""
    if not _drives_pose(options):
        return motion
    coefficients = motion.coefficients
    shape = model.shape(identity, np.zeros(EXPRESSION_DIM))
    pose = frame_head(shape, coefficients.pose, rest_pose, viewport, options.framing)
    return replace(motion, coefficients=replace(coefficients, pose=pose))


def _hold_cut_head(motion: MeshMotion, portrait: Portrait) -> MeshMotion:
    """Reduce the motion of a head whose face the photo's border cuts: a turn would show what the photo lacks."""
    lowest, highest = _HELD_SHARE
    share = np.clip((portrait.visible_share - lowest) / (highest - lowest), 0, 1)
    if share == 1:
        return motion
    coefficients = motion.coefficients
    pose = portrait.pose + share * (coefficients.pose - portrait.pose)
    return replace(motion, coefficients=replace(coefficients, pose=pose))


def _drives_pose(options: RetargetOptions) -> bool:
    return options.region in ("all", "pose")


def _prepare_photo(source: PhotoSource, request: RenderRequest) -> FrameStream:
    portrait, model = source.portrait, face478.load()
    networks = open_networks(request.mouth, request.eyes)
    # Before the track is read: its extraction may still run.
    calibration = calibrate_portrait(portrait, model, request.cache, networks)
    prepared = prepare_photo(portrait, model, request.cache, networks)
    track = make_upright(request.track)
    motion = _plan_calibrated_motion(portrait, calibration, track, request.retarget)
    if request.retarget.region in ("all", "pose"):
        motion = correct_turns(portrait, model, motion, track, request.cache)
    stream = FrameStream(
        render_photo(prepared, model, motion, request.cutout),
        track.pts,
        track.frame_rate,
        repeat(portrait.image),
        notes=list(prepared.layers.notes),
        describe=prepared.networks.describe,
        is_cutout=request.cutout,
        last_duration=track.meta.last_duration,
    )
    if request.needs_person_alpha and not request.cutout:
        pairs = render_photo_with_alpha(prepared, model, motion)
        stream.frames, stream.person_alphas = split_stream(pairs, lambda pair: pair[0], lambda pair: pair[1])
    return stream


def _prepare_video(source: VideoSource, request: RenderRequest) -> FrameStream:
    """Replace the motion of each source frame by the driver's motion at that time."""
    track = make_upright(request.track)
    source_track = _shorten(source.track, track)
    neutral = find_neutral_frame(source_track)
    rest = track_coefficients(source_track, slice(neutral, neutral + 1))
    driver_reference = reference_coefficients(track, request.retarget, rest)
    driver_track = resample_track(track, source_track.pts - source_track.pts[0])
    model = face478.load()
    identity = source_track.identity.astype(np.float64)
    calibration = calibrate_portrait(source.portrait(neutral), model, request.cache)
    is_dub = request.retarget.region == "lips"
    if is_dub:
        calibration = replace(calibration, neutral=average_neutral_face(source, source_track, model))
    motion_source = MotionSource(
        identity,
        track_coefficients(source_track),
        calibration,
        rest,
        speaking_rest=find_speaking_rest(source_track, rest) if is_dub else None,
    )
    motion = plan_mesh_motion(model, motion_source, driver_track, request.retarget, driver_reference)
    if is_dub:
        network = open_network(MOUTH, request.mouth)
        neutral_face = calibration.neutral
        return render_dubbed_video(source, source_track, model, motion, neutral_face, network, request.needs_originals)
    home = np.repeat(rest.pose, len(source_track), 0)
    if _drives_pose(request.retarget):
        home, driven = (
            carry_head(pose, motion_source.coefficients.pose, rest.pose[0]) for pose in (home, motion.coefficients.pose)
        )
        motion = replace(motion, coefficients=replace(motion.coefficients, pose=driven))
    viewport = Viewport(source_track.meta.width, source_track.meta.height, source_track.crop.astype(np.float64))
    motion = _frame_motion(motion, model, identity, home, viewport, request.retarget)
    return render_video_motion(
        source, source_track, model, motion, open_networks(request.mouth, request.eyes), request.needs_originals
    )


def _shorten(source: MotionTrack, driver: MotionTrack) -> MotionTrack:
    """Return the source's track up to the end of the driver; a driver of one frame holds for the whole source."""
    return source if len(driver) == 1 else trim_track(source, 0.0, min(driver.duration, source.duration))
