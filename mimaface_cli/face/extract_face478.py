"""Pixels to coefficients: photo, video or folder in, MotionTrack in the face478 space out. Memory does not grow with
the pictures: landmarks are kept only until a person's identity and a shot's crop are known.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mimaface_cli.concurrency import prefetch
from mimaface_cli.errors import InputError
from mimaface_cli.face import camera, gaze, shading, topology
from mimaface_cli.face import fitting as fit
from mimaface_cli.face import reference_frame as reference
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face478 import VERTICES, Face478
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.shots import follow
from mimaface_cli.face.skin_tracking import REVISION as SKIN_REVISION
from mimaface_cli.face.skin_tracking import Skin, Square
from mimaface_cli.motion import smoothing
from mimaface_cli.motion.coefficients import EXPRESSION_DIM, LIGHT_DIM, TEXTURE_DIM, blendshape_index
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import TrackMeta

EXTRACTOR = "mediapipe+face478"
REVISION = 2  # raise it when the numbers change: cached tracks are then made anew
IDENTITY_FRAMES = 24  # frames that settle a person's identity
BUFFER, SKIN_BUFFER = 250, 75  # frames looked at before a shot's crop is fixed
MOST_FITTING = 150  # frames that are being fitted or wait for it, when finding further faces waits for them


def extraction_settings(options: ExtractOptions) -> dict[str, Any]:
    """Return the options as tracks and cache keys hold them; skin tracking by its revision, where it is used."""
    return {"face": options.face, "smooth": options.smooth} | ({"skin": SKIN_REVISION} if options.skin else {})


def extractor_version(model: Face478) -> str:
    """What a cached track depends on besides its input and options."""
    return f"{REVISION}+{model.version}"


def extract_photo(image: np.ndarray, face: Face, model: Face478, options: ExtractOptions, **meta) -> MotionTrack:
    """A track of one frame from a picture H×W×3 uint8 RGB and the face found in it."""
    with ThreadPoolExecutor(1) as pool:
        shots = _Shots(model, False, pool)
        shots.add(0.0, image, face, cut=False)
        return shots.finish(options, Fraction(25), _size(image), meta)


def extract_video(
    frames: Iterable,
    frame_rate: Fraction,
    model: Face478,
    options: ExtractOptions,
    name: str = "video",
    progress: Callable[[int], None] | None = None,
    observe: Callable[[Any, Face | None, bool], None] | None = None,
    **meta,
) -> MotionTrack:
    """A track from frames with `image` (H×W×3 uint8 RGB) and `pts` (s). meta: further TrackMeta fields. observe: is
    given each frame, the face found in it and whether it starts a shot, for those who look at the picture too.

    Frames without the face are interpolated; `valid` tells which. Raises InputError when no frame shows it.
    """
    size, followed = (0, 0), prefetch(follow(frames, options.face, name))
    # Faces are found beside the fitting, whose products are small: BLAS's threads would spin while they wait.
    with closing(followed), threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        shots = _Shots(model, options.skin, pool)
        for count, (frame, face, is_cut) in enumerate(followed, 1):
            size = _size(frame.image)
            shots.add(frame.pts, frame.image, face, is_cut)
            if observe is not None:
                observe(frame, face, is_cut)
            if progress is not None:
                progress(count)
        return shots.finish(options, frame_rate, size, meta)


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


@dataclass
class _Shots:
    """Collects frames; beside that a pool fits each as soon as its shot's crop is known."""

    model: Face478
    skin: bool
    pool: Executor
    pts: list[float] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rows: list[tuple[np.ndarray, ...] | None] = []  # expression, illumination, pose, gaze; None: no face
        self._crops: list[np.ndarray] = []
        self._waiting: list[tuple[int, Face, np.ndarray, Square | None]] = []
        self._crop: np.ndarray | None = None
        self._fitter: fit.Fitter | None = None
        self._skin: Skin | None = None
        self._known: Future | None = None  # done when the shot's person and skin are known
        self._fitting: deque[Future] = deque()
        self._normals = np.zeros((VERTICES, 3))
        self._albedo = self.model.albedo_mean
        self.texture = np.zeros(TEXTURE_DIM)

    def add(self, pts: float, image: np.ndarray, face: Face | None, cut: bool) -> None:
        if cut:
            self._end_shot()
            self._crop = None
            self.cuts.append(len(self.pts))
        self.pts.append(pts)
        self.valid.append(face is not None)
        self._rows.append(None)
        self._crops.append(np.zeros((2, 3)) if self._crop is None else self._crop)
        if face is None:
            return
        square = Square.around(image, face.points) if self.skin else None
        item = len(self.pts) - 1, face, sample_colors(image, face.points), square
        if self._crop is not None:
            self._start(item)
            self._wait(MOST_FITTING)
            return
        self._waiting.append(item)
        if len(self._waiting) >= (SKIN_BUFFER if self.skin else BUFFER):
            self._settle()

    def _settle(self) -> None:
        """Fix the shot's crop, and begin to fit the frames that waited for it."""
        start = self.cuts[-1] if self.cuts else 0
        if self._waiting:
            self._crop = upright_crop(np.stack([face.points for _, face, *_ in self._waiting]))
            waiting, self._waiting = self._waiting, []
            self._known = self.pool.submit(self._know, waiting)
            for item in waiting:
                self._start(item)
        if self._crop is not None:
            for index in range(start, len(self._crops)):
                self._crops[index] = self._crop

    def _end_shot(self) -> None:
        """Settle what waits, and have all frames fitted."""
        self._settle()
        self._wait(0)

    def _start(self, item: tuple) -> None:
        self._fitting.append(self.pool.submit(self._fit, *item))

    def _wait(self, most: int) -> None:
        """Until at most so many fits are under way; raises what they raised."""
        while len(self._fitting) > most:
            self._fitting.popleft().result()

    def _know(self, waiting: list[tuple]) -> None:
        """What all frames of a shot share: the skin, and the first time the person."""
        if self._fitter is None:
            self._know_person(waiting)
        self._skin = None
        if self.skin and len(waiting) > 1:
            self._skin = reference.settle(self._fitter, self._crop, [(square, face) for _, face, _, square in waiting])

    def _know_person(self, waiting: list[tuple]) -> None:
        chosen = np.linspace(0, len(waiting) - 1, min(IDENTITY_FRAMES, len(waiting))).astype(int)
        faces = [waiting[k][1] for k in chosen]
        points = np.stack([transform_points(self._crop, face.points) for face in faces])
        scores = np.stack([face.scores for face in faces])
        rotations = np.stack([face.rotation for face in faces])
        identity = fit.fit_identity(self.model, points, scores, rotations)
        self._fitter = fit.Fitter(self.model, identity)
        self._normals = shading.vertex_normals(self._fitter.neutral, self.model.triangles)
        colors = np.stack([waiting[k][2] for k in chosen])
        self.texture = fit_texture(self.model, colors, self._normals, rotations)
        self._albedo = self.model.albedo(self.texture)

    def _fit(self, index: int, face: Face, colors: np.ndarray, square: Square | None) -> None:
        self._known.result()  # begun before any fit, so that the pool cannot be full of those that wait for it
        points = transform_points(self._crop, face.points)
        if self._skin is None:
            fitter = self._fitter
            result = fitter.frame(points, face.scores, fitter.first_pose(points, face.rotation), steps=3)
        else:
            fitter = self._skin.fitter
            result = self._skin.fit(square, face)
            points = self._skin.look(square, face, result)
        shape = fitter.shape(result.expression)
        turn = rotation_matrix(result.pose[:3])
        light = fit_light(self._albedo, self._normals @ turn.T, colors)
        self._rows[index] = result.expression, light, result.pose, gaze.gaze_from_iris(points, shape, result.pose)

    def finish(self, options: ExtractOptions, rate: Fraction, size: tuple[int, int], meta: dict) -> MotionTrack:
        self._end_shot()
        pts, valid = np.array(self.pts), np.array([row is not None for row in self._rows])
        widths = (EXPRESSION_DIM, LIGHT_DIM, 6, 4)
        blank = tuple(np.zeros(width) for width in widths)
        rows = [row or blank for row in self._rows]
        expression, light, pose, look = (np.stack([row[part] for row in rows]) for part in range(4))
        per_second = 1.0 / max(float(np.median(np.diff(pts))), 1e-3) if len(pts) > 1 else float(rate)
        by_shot = lambda values, smooth: smoothing.smooth_by_shot(values, valid, pts, self.cuts, smooth)  # noqa: E731
        pose = by_shot(pose, lambda v, _: smoothing.smooth_pose(v, per_second, options.smooth))
        light = by_shot(light, lambda v, _: smoothing.smooth_illumination(v, per_second, options.smooth))
        expression = by_shot(expression, lambda v, _: smoothing.smooth_expression(v, per_second, options.smooth))
        steady = lambda v, shot: hold_through_blinks(v, expression[shot], pts[shot])  # noqa: E731
        look = by_shot(look, lambda v, shot: smoothing.smooth_gaze(steady(v, shot), per_second, options.smooth))
        flat = by_shot(np.stack(self._crops).reshape(len(pts), 6), lambda v, _: v)
        return MotionTrack(
            identity=self._fitter.identity,
            texture=self.texture,
            expression=expression,
            illumination=light,
            pose=pose,
            gaze=look,
            crop=flat.reshape(-1, 2, 3),
            pts=pts,
            valid=valid,
            meta=TrackMeta(
                space="face478",
                extractor=EXTRACTOR,
                extractor_version=extractor_version(self.model),
                frame_rate=rate,
                width=size[0],
                height=size[1],
                options=extraction_settings(options),
                cuts=tuple(cut for cut in self.cuts if cut > 0),
                **meta,
            ),
        )


def upright_crop(points: np.ndarray) -> np.ndarray:
    """One crop for a shot (2×3 affine, no rotation) from K×478×2 landmarks: the face at rest fills the 256 crop as in
    the release's template, so that pose alone carries how the head moves, rolls and nears.
    """
    centerd = points - points.mean(1, keepdims=True)
    spread = float(np.median(np.sqrt((centerd**2).sum(-1).mean(1))))
    scale = 0.2217 * camera.CROP_SIZE / max(spread, 1e-3)
    middle = np.median(points.mean(1), axis=0)
    return np.array(
        [[scale, 0, camera.CROP_SIZE / 2 - scale * middle[0]], [0, scale, camera.CROP_SIZE / 2 - scale * middle[1]]]
    )


def sample_colors(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Colors (478×3) of the pixels under the landmarks."""
    column = np.clip(points[:, 0].astype(int), 0, image.shape[1] - 1)
    row = np.clip(points[:, 1].astype(int), 0, image.shape[0] - 1)
    return image[row, column].astype(np.float64)


def fit_light(albedo: np.ndarray, normals: np.ndarray, colors: np.ndarray, strength: float = 20.0) -> np.ndarray:
    """27 light coefficients that turn an albedo (478×3) under posed normals into observed colors (478×3)."""
    basis = shading.sh_basis(normals)
    light = np.zeros((3, 9))
    for channel in range(3):
        lit = basis * albedo[:, channel : channel + 1] / 255.0
        target = colors[:, channel] / 255.0 - shading.AMBIENT * lit[:, 0]
        light[channel] = np.linalg.solve(lit.T @ lit + strength * np.eye(9) / 10, lit.T @ target)
    return light.ravel()


def fit_texture(model: Face478, colors: np.ndarray, normals: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Texture coefficients (80) from K frames' colors K×478×3, after taking out each frame's light."""
    seen = np.ones(VERTICES, bool)
    seen[topology.IRIS] = False
    albedos = []
    for color, rotation in zip(colors, rotations):
        posed = normals @ rotation.T
        light = fit_light(model.albedo_mean, posed, color)
        lit = shading.shade(np.ones((VERTICES, 3)), posed, light)
        albedos.append(color / np.clip(lit, 0.2, 3.0))
    difference = (np.median(albedos, axis=0) - model.albedo_mean)[seen].ravel()
    basis = model.texture_basis[seen].reshape(-1, TEXTURE_DIM)
    noise = 12.0  # gray levels
    return np.linalg.solve(basis.T @ basis + noise**2 * np.eye(TEXTURE_DIM), basis.T @ difference)


def hold_through_blinks(look: np.ndarray, expression: np.ndarray, pts: np.ndarray) -> np.ndarray:
    """Bridge the gaze over frames where an eye is nearly closed: there the iris is a guess of the landmarker."""
    bridged = np.array(look)
    for column, side in ((0, "Left"), (2, "Right")):
        closed = expression[:, blendshape_index("eyeBlink" + side)] > 0.55
        if 0 < closed.mean() < 0.5:  # an eye that is always narrow tells nothing
            bridged[:, column : column + 2] = smoothing.fill_missing(look[:, column : column + 2], ~closed, pts)
    return bridged
