"""Motion extraction in the face478 space: a photo, a video or a folder in, a motion track out.

Memory does not grow with the number of images: frames are stored only until the person's identity and the shot's crop
are known.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mimaface_cli.allocator import release_free_memory
from mimaface_cli.concurrency import prefetch
from mimaface_cli.face import gaze, shading
from mimaface_cli.face.alignment import transform_points, upright_crop
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.fitting import Fitter, FrameFit, fit_identity
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.reference_frame import build_skin_tracker
from mimaface_cli.face.shots import FrameType, track_face
from mimaface_cli.face.skin_color import fit_illumination, fit_texture, sample_colors
from mimaface_cli.face.skin_tracking import REVISION as SKIN_REVISION
from mimaface_cli.face.skin_tracking import FacePatch, FittedFrame, ShotFrame, SkinTracker
from mimaface_cli.motion import smoothing
from mimaface_cli.motion.coefficients import EXPRESSION_DIM, LIGHT_DIM, blendshape_index
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import TrackMeta
from mimaface_cli.progress import ProgressCallback, ignore_progress

EXTRACTOR = "mediapipe+face478"
REVISION = 5  # part of the cache key: increase it when results change, so that older cached tracks are not reused
IDENTITY_FRAMES = 24  # frames from which a person's identity is fitted
# Frames that are buffered before a shot's crop is fixed, without and with skin tracking.
BUFFERED_FRAMES, BUFFERED_SKIN_FRAMES = 250, 75
MAX_PENDING_FITS = 150  # frames that are submitted but not fitted yet; at the limit, face detection waits
RELEASE_INTERVAL = 250  # frames after which free memory is returned, so that it does not grow with the video
# Consecutive frames that one thread fits. Skin tracking starts each fit but the first from the previous frame's.
FITTED_TOGETHER = 8
FIT_STEPS = 3  # Gauss–Newton steps of a frame without skin tracking
_CLOSED_BLINK = 0.55  # eyeBlink coefficient above which the iris is not visible


def extraction_settings(options: ExtractOptions) -> dict[str, Any]:
    """Return the options in the form of tracks and cache keys; skin tracking, if used, appears as its revision."""
    return {"face": options.face, "smooth": options.smooth} | ({"skin": SKIN_REVISION} if options.skin else {})


def extractor_version(model: Face478) -> str:
    """Return the version of extractor and model; a cached track depends on it as well as on input and options."""
    return f"{REVISION}+{model.version}"


def extract_photo(image: np.ndarray, face: Face, model: Face478, options: ExtractOptions, **meta: Any) -> MotionTrack:
    """Fit a face of a photo.

    Args:
        image: (H, W, 3) uint8 RGB.
        face: The face that was detected in the photo.
        model: The face model.
        options: Options; skin tracking is not used.
        **meta: Further fields of the track's metadata, such as `source_hash`.

    Returns:
        A track of one frame.
    """
    with ThreadPoolExecutor(1) as pool:
        builder = _TrackBuilder(model, False, pool)
        builder.add(0.0, image, face, starts_shot=False)
        return builder.finish(options, Fraction(25), meta)


def extract_video(
    frames: Iterable[FrameType],
    frame_rate: Fraction,
    model: Face478,
    options: ExtractOptions,
    name: str = "video",
    progress: ProgressCallback = ignore_progress,
    observe: Callable[[FrameType, Face | None, bool], None] | None = None,
    tracker: FaceTracker | None = None,
    **meta: Any,
) -> MotionTrack:
    """Extract the motion of one person from a video.

    Args:
        frames: Frames with `image` (H, W, 3) uint8 RGB and `pts` in seconds.
        frame_rate: Nominal frames per second.
        model: The face model.
        options: Face selector, smoothing and skin tracking.
        name: Name of the input in error messages.
        progress: Called for each frame.
        observe: Called with each frame, the tracked face in it and whether it starts a shot.
        tracker: Tracker of the selected face, by default a new one. It is closed at the end.
        **meta: Further fields of the track's metadata, such as `source_hash`.

    Returns:
        A track. Frames without the face are interpolated and not `valid`.

    Raises:
        InputError: When there are no frames or none shows the face.
    """
    tracked_frames = prefetch(track_face(frames, options.face, name, tracker))
    # Faces are detected while frames are fitted. The fits multiply small matrices: the threads of BLAS would only spin.
    with closing(tracked_frames), threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        builder = _TrackBuilder(model, options.skin, pool)
        for count, (frame, face, starts_shot) in enumerate(tracked_frames, 1):
            builder.add(frame.pts, frame.image, face, starts_shot)
            if observe is not None:
                observe(frame, face, starts_shot)
            if count % RELEASE_INTERVAL == 0:
                release_free_memory()
            progress("extracting motion", count, None)
        return builder.finish(options, frame_rate, meta)


@dataclass(frozen=True)
class _PendingFrame:
    """A frame that is not fitted yet; `patch` is None without skin tracking."""

    index: int
    face: Face
    colors: np.ndarray
    patch: FacePatch | None


@dataclass(frozen=True)
class _Person:
    """The identity of the tracked person: `albedo` (478, 3), and `normals` (478, 3) of the neutral face."""

    fitter: Fitter
    texture: np.ndarray
    albedo: np.ndarray
    normals: np.ndarray


@dataclass(frozen=True)
class _Shot:
    """Data that the frames of a shot share; `tracker` is None without skin tracking."""

    person: _Person
    crop: np.ndarray
    tracker: SkinTracker | None


@dataclass(frozen=True)
class _FrameCoefficients:
    """The coefficients of a fitted frame."""

    expression: np.ndarray
    illumination: np.ndarray
    pose: np.ndarray
    gaze: np.ndarray


_NO_FACE = _FrameCoefficients(np.zeros(EXPRESSION_DIM), np.zeros(LIGHT_DIM), np.zeros(6), np.zeros(4))


class _TrackBuilder:
    """Builder of a track. A pool fits the added frames as soon as their shot's crop is known.

    Args:
        model: The face model.
        use_skin: Whether to track the skin.
        pool: Threads that fit.
    """

    def __init__(self, model: Face478, use_skin: bool, pool: Executor) -> None:
        self._model = model
        self._use_skin = use_skin
        self._pool = pool
        self._size = (0, 0)
        self._pts: list[float] = []
        self._cuts: list[int] = []
        self._crops: list[np.ndarray] = []
        self._coefficients: list[_FrameCoefficients | None] = []  # None: not fitted yet, or no face
        self._buffer: list[_PendingFrame] = []  # frames of the shot before its crop is fixed
        self._crop: np.ndarray | None = None
        self._apparent_turn = 0.0, 0.0
        self._shot: Future[_Shot] | None = None
        self._person: _Person | None = None
        self._waiting: list[_PendingFrame] = []  # frames that will be fitted together
        self._fits: deque[tuple[list[int], Future[list[_FrameCoefficients]]]] = deque()

    def add(self, pts: float, image: np.ndarray, face: Face | None, starts_shot: bool) -> None:
        """Add the next frame; `face` is None where the person is not visible."""
        if starts_shot:
            self._end_shot()
            self._crop, self._shot = None, None
            self._cuts.append(len(self._pts))
        index = len(self._pts)
        self._size = image.shape[1], image.shape[0]
        self._pts.append(pts)
        self._coefficients.append(None)
        self._crops.append(np.zeros((2, 3)) if self._crop is None else self._crop)
        if face is None:
            self._submit_waiting()
            return
        patch = FacePatch.cut(image, face.points) if self._use_skin else None
        frame = _PendingFrame(index, face, sample_colors(image, face.points), patch)
        if self._shot is not None:
            self._submit_fit(self._at_usual_place(frame))
            self._collect_fits(MAX_PENDING_FITS)
            return
        self._buffer.append(frame)
        if len(self._buffer) >= (BUFFERED_SKIN_FRAMES if self._use_skin else BUFFERED_FRAMES):
            self._fix_crop()

    def _fix_crop(self) -> None:
        """Fix the shot's crop from the buffered frames, and start to fit them."""
        if self._buffer:
            pitch, yaw = np.median([frame.face.apparent_turn for frame in self._buffer], axis=0).tolist()
            self._apparent_turn = pitch, yaw  # of the whole shot: the middle of the landmarks also moves with turns
            frames, self._buffer = [self._at_usual_place(frame) for frame in self._buffer], []
            crop = upright_crop(np.stack([frame.face.points for frame in frames]))
            # Submitted before any fit of the shot, so that fits that wait for it cannot occupy the whole pool.
            self._crop, self._shot = crop, self._pool.submit(self._prepare_shot, frames, crop)
            for frame in frames:
                self._submit_fit(frame)
        if self._crop is not None:
            shot_start = self._cuts[-1] if self._cuts else 0
            for index in range(shot_start, len(self._crops)):
                self._crops[index] = self._crop

    def _at_usual_place(self, frame: _PendingFrame) -> _PendingFrame:
        """Return the frame with the usual place of the shot's face, on which its rotation depends (`Face.head`)."""
        return replace(frame, face=replace(frame.face, apparent_turn=self._apparent_turn))

    def _end_shot(self) -> None:
        self._fix_crop()
        self._submit_waiting()
        self._collect_fits(0)

    def _submit_fit(self, frame: _PendingFrame) -> None:
        """Fit a frame of the shot, in a thread, together with its neighbors."""
        self._waiting.append(frame)
        if len(self._waiting) >= FITTED_TOGETHER:
            self._submit_waiting()

    def _submit_waiting(self) -> None:
        if self._waiting and self._shot is not None:
            frames, self._waiting = self._waiting, []
            self._fits.append(([frame.index for frame in frames], self._pool.submit(_fit_frames, frames, self._shot)))

    def _collect_fits(self, max_pending: int) -> None:
        """Wait until at most `max_pending` submitted frames are unfinished; raise the exceptions of fits."""
        while len(self._fits) * FITTED_TOGETHER > max_pending:
            indices, results = self._fits.popleft()
            for index, result in zip(indices, results.result(), strict=True):
                self._coefficients[index] = result

    def _prepare_shot(self, frames: list[_PendingFrame], crop: np.ndarray) -> _Shot:
        """Build the shot's skin tracker; on the first shot, also fit the person."""
        if self._person is None:
            self._person = _fit_person(self._model, frames, crop)
        shot_frames = [ShotFrame(frame.patch, frame.face) for frame in frames if frame.patch is not None]
        tracker = build_skin_tracker(self._person.fitter, crop, shot_frames) if len(shot_frames) > 1 else None
        return _Shot(self._person, crop, tracker)

    def finish(self, options: ExtractOptions, frame_rate: Fraction, meta: dict[str, Any]) -> MotionTrack:
        """Wait for all fits, fill frames without the face, smooth each shot and return the track."""
        self._end_shot()
        if self._person is None:
            raise RuntimeError("no frame shows the face")  # unreachable: track_face raises InputError earlier
        pts, valid = np.array(self._pts), np.array([row is not None for row in self._coefficients])
        rows = [_NO_FACE if row is None else row for row in self._coefficients]
        rate = 1.0 / max(float(np.median(np.diff(pts))), 1e-3) if len(pts) > 1 else float(frame_rate)

        def by_shot(values: np.ndarray, smooth: Callable[[np.ndarray, slice], np.ndarray]) -> np.ndarray:
            return smoothing.smooth_by_shot(values, valid, pts, self._cuts, smooth)

        def smooth_gaze(values: np.ndarray, shot: slice) -> np.ndarray:
            bridged = bridge_blinks(values, expression[shot], pts[shot])
            return smoothing.smooth_gaze(bridged, rate, options.smooth)

        poses = np.stack([row.pose for row in rows])
        poses[valid, :3] = np.unwrap(poses[valid, :3], axis=0)  # frames without the face are interpolated
        pose = by_shot(poses, lambda values, _: smoothing.smooth_pose(values, rate, options.smooth))
        illumination = by_shot(
            np.stack([row.illumination for row in rows]),
            lambda values, _: smoothing.smooth_illumination(values, rate, options.smooth),
        )
        expression = by_shot(
            np.stack([row.expression for row in rows]),
            lambda values, _: smoothing.smooth_expression(values, rate, options.smooth),
        )
        crop = by_shot(np.stack(self._crops).reshape(len(pts), 6), lambda values, _: values)
        return MotionTrack(
            identity=self._person.fitter.identity,
            texture=self._person.texture,
            expression=expression,
            illumination=illumination,
            pose=pose,
            gaze=by_shot(np.stack([row.gaze for row in rows]), smooth_gaze),
            crop=crop.reshape(-1, 2, 3),
            pts=pts,
            valid=valid,
            meta=TrackMeta(
                space="face478",
                extractor=EXTRACTOR,
                extractor_version=extractor_version(self._model),
                frame_rate=frame_rate,
                width=self._size[0],
                height=self._size[1],
                options=extraction_settings(options),
                cuts=tuple(cut for cut in self._cuts if cut > 0),
                **meta,
            ),
        )


def _fit_person(model: Face478, frames: list[_PendingFrame], crop: np.ndarray) -> _Person:
    """Fit identity and texture to some of the frames."""
    indices = np.linspace(0, len(frames) - 1, min(IDENTITY_FRAMES, len(frames))).astype(int)
    selected = [frames[index] for index in indices]
    points = np.stack([transform_points(crop, frame.face.points) for frame in selected])
    scores = np.stack([frame.face.scores for frame in selected])
    rotations = np.stack([frame.face.head for frame in selected])
    fitter = Fitter(model, fit_identity(model, points, scores, rotations))
    normals = shading.vertex_normals(fitter.neutral, model.triangles)
    texture = fit_texture(model, np.stack([frame.colors for frame in selected]), normals, rotations)
    return _Person(fitter, texture, model.albedo(texture), normals)


def _fit_frames(frames: list[_PendingFrame], pending_shot: Future[_Shot]) -> list[_FrameCoefficients]:
    """Fit consecutive frames of a shot, as soon as it is prepared."""
    shot = pending_shot.result()
    coefficients = []
    previous = None
    for frame in frames:
        fit, points = _fit_frame(frame, shot, previous)
        if frame.patch is not None:
            previous = FittedFrame(ShotFrame(frame.patch, frame.face), fit)
        coefficients.append(_read_coefficients(frame, shot, fit, points))
    return coefficients


def _fit_frame(frame: _PendingFrame, shot: _Shot, previous: FittedFrame | None) -> tuple[FrameFit, np.ndarray]:
    """Return the fit of a frame and its landmarks (478, 2) in pixels of the crop, with the irises in their places."""
    face = frame.face
    if shot.tracker is None or frame.patch is None:
        points, fitter = transform_points(shot.crop, face.points), shot.person.fitter
        pose = fitter.initial_pose(points, face.rotation)
        return fitter.fit_frame(points, face.scores, pose, steps=FIT_STEPS, head=face.head), points
    shot_frame = ShotFrame(frame.patch, face)
    fit = shot.tracker.fit_frame(shot_frame, previous)
    return fit, shot.tracker.locate_irises(shot_frame, fit)


def _read_coefficients(frame: _PendingFrame, shot: _Shot, fit: FrameFit, points: np.ndarray) -> _FrameCoefficients:
    """Return the coefficients of a fitted frame."""
    person = shot.person
    fitter = person.fitter if shot.tracker is None else shot.tracker.fitter
    rotation = rotation_matrix(fit.pose[:3])
    illumination = fit_illumination(person.albedo, person.normals @ rotation.T, frame.colors)
    gaze_angles = gaze.gaze_from_iris(points, fitter.shape(fit.expression), fit.pose)
    return _FrameCoefficients(fit.expression, illumination, fit.pose, gaze_angles)


def bridge_blinks(gaze_angles: np.ndarray, expression: np.ndarray, pts: np.ndarray) -> np.ndarray:
    """Interpolate the gaze over frames with nearly closed eyes, where the landmark model guesses the iris.

    Args:
        gaze_angles: (N, 4) gaze.
        expression: (N, 64) expression.
        pts: (N,) times in seconds.

    Returns:
        (N, 4) gaze. An eye that is closed in half of the frames or more stays as it is.
    """
    bridged = np.array(gaze_angles)
    for column, side in ((0, "Left"), (2, "Right")):
        eye = slice(column, column + 2)
        is_closed = expression[:, blendshape_index("eyeBlink" + side)] > _CLOSED_BLINK
        if 0 < is_closed.mean() < 0.5:
            bridged[:, eye] = smoothing.fill_missing(gaze_angles[:, eye], ~is_closed, pts)
    return bridged
