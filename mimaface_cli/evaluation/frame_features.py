"""What is measured on the pixels while a result is read: each frame beside the driver's picture of its moment."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mimaface_cli.apps.drivers import is_track
from mimaface_cli.apps.sources import opaque
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.functional import image_quality as image
from mimaface_cli.evaluation.functional import temporal
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.networks.face_embedding import (
    CurricularEmbedder,
    DlibEmbedder,
    cosine_similarity,
    dlib_missing,
    five_points,
)
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.face.landmarks import Face, find_faces, select_face
from mimaface_cli.face.portrait import limited_size
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import Frame, probe, read_frames
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion.track import MotionTrack

if TYPE_CHECKING:
    from mimaface_cli.evaluation.measure import Measured

LOOKS, LEAST_APART, MOST_APART = 8, 0.5, 2.0  # at who it is: that many, but so many seconds apart; it is slow
CLIP = 16  # frames of a clip for FVD, as in the field
MOST_FEATURES = 2000  # of one result for FID: memory stays flat
_FACE_SIDE = 64
_SHAPE_SLACK = 0.02


@dataclass
class Features:
    """What FID and FVD are made of, N×D each: of the result's frames and clips, of the driver's."""

    pictures: list[np.ndarray] = field(default_factory=list)
    real_pictures: list[np.ndarray] = field(default_factory=list)
    clips: list[np.ndarray] = field(default_factory=list)
    real_clips: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class Portrait:
    """The source's picture (H×W×3 uint8) and the landmarks of the face in it (478×2)."""

    image: np.ndarray
    points: np.ndarray


def source_portrait(pair: Pair, choice: str) -> Portrait:
    """The source's face. Raises InputError where it cannot be read or shows none."""
    where = f"{pair.where}: " if pair.where else ""
    if is_track(pair.source) or pair.source.is_dir():
        raise InputError(f"{where}{pair.source}: the source is a photo or a video")
    picture = source_picture(pair)
    face = select_face(find_faces(picture), choice)
    if face is None:
        raise InputError(f"{where}{pair.source}: frame {pair.source_frame} shows no such face; choose another source")
    return Portrait(picture, face.points)


def source_picture(pair: Pair) -> np.ndarray:
    """The source's picture, H×W×3 uint8. Raises InputError."""
    if probe(pair.source).kind == "image":
        return opaque(read_image(pair.source))
    frames = read_frames(pair.source, max_frames=pair.source_frame + 1)
    last: Frame | None = None
    try:
        for last in frames:
            pass
    finally:
        frames.close()
    if last is None or last.index != pair.source_frame:
        where = f"{pair.where}: " if pair.where else ""
        count = 0 if last is None else last.index + 1
        raise InputError(f"{where}{pair.source}: has no frame {pair.source_frame}, only {count}; choose another")
    return last.image


class DriverPictures:
    """The driver's pictures by time; None where it has none (a track)."""

    def __init__(self, pair: Pair):
        self._frames: Iterator[Frame] | None = None
        self.shown: Frame | None = None
        self._next: Frame | None = None
        self._start = 0.0
        if not is_track(pair.driver):
            self._frames = read_frames(pair.driver)
            for frame in self._frames:
                if frame.index >= pair.start:
                    self.shown, self._start = frame, frame.pts
                    break
            self._next = next(self._frames, None)

    def at(self, seconds: float) -> np.ndarray | None:
        """The picture nearest to a time from the span's start; times must not fall."""
        if self.shown is None:
            return None
        time = seconds + self._start
        while self._next is not None and abs(self._next.pts - time) <= abs(self.shown.pts - time) + 1e-9:
            self.shown, self._next = self._next, next(self._frames, None)
        return self.shown.image

    def close(self) -> None:
        if self._frames is not None:
            self._frames.close()


class Watcher:
    """Takes a result's frames in order. seconds: how long it is, where known.

    times (s, from the first), changes (gray levels to the frame before; NaN at a cut), flicker and flicker_face
    (None at cuts and ends) have one value for each frame.
    """

    def __init__(
        self,
        pair: Pair,
        size: int,
        step: int,
        source: Portrait,
        segment: MotionTrack,
        seconds: float | None,
        put: Callable[[str, float | None, str], None],
    ):
        self._size, self._step, self._source, self._segment = size, step, source, segment
        self._pair = pair
        self._driver = DriverPictures(pair)
        self._unequal = self._why_no_truth()
        self.count = self.faces = 0
        self.times: list[float] = []
        self.changes: list[float] = []
        self.flicker: list[float | None] = []
        self.flicker_face: list[float | None] = []
        self._per_frame: dict[str, list[float | None]] = {"psnr": [], "ssim": []}
        self._cells: list[np.ndarray | None] = [None, None]  # of the two frames before
        self._face_cells: list[np.ndarray | None] = [None, None]
        self._identity: dict[str, list[tuple[float, float]]] = {}
        self._apart = min(max((seconds or 0.0) / LOOKS, LEAST_APART), MOST_APART)
        self._next_look = 0.0
        self._open_networks(put)
        self.features = Features()
        self._clip: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])

    def _why_no_truth(self) -> str | None:
        if self._driver.shown is None:
            return "the driver is a track and has no pictures"
        return None if self._pair.same else "another identity than the driver's: there is no true picture"

    def _open_networks(self, put: Callable[[str, float | None, str], None]) -> None:
        """Those whose weights are there; of the others, what they need."""
        self._networks: dict[str, object] = {}
        if problem := pretrained.missing_weights("csim"):
            put("csim", None, problem)
        for name in ("lpips", "fid", "fvd"):
            if name == "lpips" and self._unequal is not None:
                put("lpips", None, self._unequal)
            elif problem := pretrained.missing_weights(name):
                if name == "lpips":
                    put("lpips", None, problem)
            else:
                self._networks[name] = pretrained.load_network(name)
        self._embedders: dict[str, tuple] = {}
        if not pretrained.missing_weights("csim"):
            embed = CurricularEmbedder()
            self._embedders["csim"] = embed, embed(self._source.image, self._source.points), cosine_similarity
        if problem := dlib_missing():
            put("identity_dlib", None, problem)
        else:
            embed = DlibEmbedder()
            distance = lambda a, b: float(np.linalg.norm(a - b))  # noqa: E731
            self._embedders["identity_dlib"] = embed, embed(self._source.image, self._source.points), distance
        self._identity = {name: [] for name in self._embedders}
        if "lpips" in self._networks:
            self._per_frame["lpips"] = []

    def __call__(self, frame: Frame, face: Face | None, cut: bool) -> None:
        self.times.append(frame.pts)
        self._over_time(frame.image, face, cut)
        driver = self._driver.at(frame.pts)
        within = len(self._segment) == 1 or frame.pts < self._segment.duration - 1e-6
        self._against(frame.image, driver if within else None)
        if within and driver is not None:
            self._look(frame.image, driver)
        if face is not None and frame.pts >= self._next_look:
            self._next_look = frame.pts + self._apart
            for name, (embed, source, compare) in self._embedders.items():
                value = compare(embed(frame.image, face.points), source)
                self._identity[name].append((frame.pts, value))
        self.count += 1
        self.faces += face is not None

    def _over_time(self, picture: np.ndarray, face: Face | None, cut: bool) -> None:
        cells = temporal.luma_cells(picture)
        face_cells = None if face is None else temporal.luma_cells(face_crop(picture, face.points))
        if cut:
            self._cells = [None, None]
            self._face_cells = [None, None]
        before = self._cells[1]
        self.changes.append(float("nan") if before is None else temporal.change(before, cells))
        if self.count:
            self.flicker.append(_flicker(*self._cells, cells))
            self.flicker_face.append(_flicker(*self._face_cells, face_cells))
        self._cells = [before, cells]
        self._face_cells = [self._face_cells[1], face_cells]

    def _against(self, picture: np.ndarray, truth: np.ndarray | None) -> None:
        """PSNR, SSIM and LPIPS where the driver's picture is the truth."""
        row: dict[str, float] = {}
        if self._unequal is None and truth is not None:
            if abs(picture.shape[1] / picture.shape[0] / (truth.shape[1] / truth.shape[0]) - 1) > _SHAPE_SLACK:
                shapes = f"{picture.shape[1]}x{picture.shape[0]} and {truth.shape[1]}x{truth.shape[0]}"
                self._unequal = f"result and driver have different shapes ({shapes}); crop them alike"
            else:
                width, height = limited_size(picture.shape[1], picture.shape[0], self._size)
                a, b = resized(picture, width, height), resized(truth, width, height)
                row["psnr"] = image.psnr(a, b)
                if min(width, height) >= 11:
                    row["ssim"] = image.ssim(a, b)
                if "lpips" in self._networks and self.count % self._step == 0:
                    from mimaface_cli.evaluation.networks.lpips import lpips_distance

                    row["lpips"] = lpips_distance(self._networks["lpips"], a, b)
        for name in ("psnr", "ssim", "lpips"):
            if name in self._per_frame:
                self._per_frame[name].append(row.get(name))

    def _look(self, picture: np.ndarray, driver: np.ndarray) -> None:
        """What networks see, for figures of the whole run."""
        looked = self.count % self._step == 0
        if "fid" in self._networks and looked and len(self.features.pictures) < MOST_FEATURES:
            from mimaface_cli.evaluation.networks.inception import picture_features

            self.features.pictures.append(picture_features(self._networks["fid"], picture[None])[0])
            self.features.real_pictures.append(picture_features(self._networks["fid"], driver[None])[0])
        if "fvd" in self._networks:
            from mimaface_cli.evaluation.networks.i3d import SIDE, clip_features

            for clip, shown in zip(self._clip, (picture, driver)):
                clip.append(resized(shown, SIDE, SIDE))
            if len(self._clip[0]) == CLIP:
                own, real = (clip_features(self._networks["fvd"], np.stack(clip)) for clip in self._clip)
                self.features.clips.append(own)
                self.features.real_clips.append(real)
                self._clip = ([], [])

    def done(self, info: MediaInfo) -> bool:
        """Whether the result was read to its end, as far as its header tells."""
        return info.frame_count is None or self.count >= 0.98 * info.frame_count

    def finish(self, out: "Measured") -> None:
        """Put the means over frames."""
        self.flicker.append(None)  # each is known one frame later, the last one never
        self.flicker_face.append(None)
        for name, values in self._per_frame.items():
            known = [value for value in values if value is not None]
            reason = self._unequal or "no frame could be compared"
            out.put(name, float(np.mean(known)) if known else None, reason)
        for name, seen in self._identity.items():
            out.put(name, float(np.mean([v for _, v in seen])) if seen else None, "no face in the result")
        self._drift(out)

    def _drift(self, out: "Measured") -> None:
        name = next(iter(self._identity), None)
        if name is None:
            out.put("identity_drift", None, "needs csim or identity (dlib)")
            return
        times, values = np.array(self._identity[name]).reshape(-1, 2).T
        drift = temporal.drift(values, times)
        sign = -1.0 if name == "csim" else 1.0
        out.put(
            "identity_drift",
            None if drift is None else sign * drift,
            f"shorter than {5 * LEAST_APART:g} s, or too few faces",
        )

    def series(self) -> dict[str, list[float | None]]:
        """One value a frame, None where nothing was measured."""
        out: dict[str, list[float | None]] = dict(self._per_frame)
        out["change"] = self.changes
        out["flicker"], out["flicker_face"] = self.flicker, self.flicker_face
        for name, seen in self._identity.items():
            held: list[float | None] = [None] * self.count
            for time, value in seen:
                held[int(np.searchsorted(self.times, time))] = value
            out[name] = held
        return {name: values for name, values in out.items() if any(v is not None for v in values)}

    def close(self) -> None:
        self._driver.close()


def _flicker(first: np.ndarray | None, middle: np.ndarray | None, last: np.ndarray | None) -> float | None:
    if first is None or middle is None or last is None:
        return None
    return temporal.flicker(first, middle, last)


def face_crop(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face, aligned, as a small square H×W×3 uint8."""
    import cv2

    from mimaface_cli.face.alignment import FACE_TEMPLATE_256, fit_similarity

    matrix = fit_similarity(five_points(points), FACE_TEMPLATE_256) * (_FACE_SIDE / 256)
    step = max(1, int(0.5 / max(float(np.hypot(*matrix[:, 0])), 1e-6)))  # every few pixels of a large face do
    matrix = np.column_stack([matrix[:, :2] * step, matrix[:, 2]])
    small = np.ascontiguousarray(picture[::step, ::step])
    return cv2.warpAffine(
        small, matrix, (_FACE_SIDE, _FACE_SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture at another size, C-contiguous; itself where it has that size."""
    import cv2

    if picture.shape[:2] == (height, width):
        return picture
    if picture.shape[0] >= 2 * height:
        way = cv2.INTER_AREA
    else:  # below half no pixel is passed over, and areas take three times as long
        way = cv2.INTER_LINEAR if picture.shape[0] > height else cv2.INTER_CUBIC
    return cv2.resize(picture, (width, height), interpolation=way)
