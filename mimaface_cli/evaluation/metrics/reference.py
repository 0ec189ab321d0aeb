"""PSNR, SSIM and LPIPS of results with the driver's frames as ground truth."""

import numpy as np

from mimaface_cli.evaluation.functional.image_quality import SSIM_WINDOW, l1_distance, psnr, ssim
from mimaface_cli.evaluation.metric import COMPARED_SIZE, FRAMES, WHOLE_FRAME, FrameMeanMetric, Method, MetricInfo
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.pair_frames import resize_frame
from mimaface_cli.evaluation.video_pair import FramePair, VideoPair
from mimaface_cli.face.portrait import limited_size

_ASPECT_TOLERANCE = 0.02


class ReferenceFrames:
    """The result's and the driver's frames at one size (feature of a `VideoPair`).

    Attributes:
        problem: Why the frames cannot be compared, or None. The first frame of another aspect ratio ends the
            comparison.
        aspect_problem: The problem if it is the aspect ratio, else None.
    """

    def __init__(self, video: VideoPair) -> None:
        self.problem: str | None = None
        if video.driver_frames.is_empty:
            self.problem = "the driver is a track and has no frames"
        elif not video.pair.same:
            self.problem = "the driver shows another person: there is no ground truth"
        self.aspect_problem: str | None = None
        self._size = video.options.size

    def scale(self, image: np.ndarray, reference: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
        """Return both frames (H×W×3 uint8) at one size, or None if they cannot be compared."""
        if self.problem is not None or reference is None:
            return None
        height, width = image.shape[:2]
        reference_height, reference_width = reference.shape[:2]
        if abs(width / height / (reference_width / reference_height) - 1) > _ASPECT_TOLERANCE:
            shapes = f"{width}x{height} and {reference_width}x{reference_height}"
            self.problem = self.aspect_problem = (
                f"result and driver have different aspect ratios ({shapes}); crop them equally"
            )
            return None
        width, height = limited_size(width, height, self._size)
        return resize_frame(image, width, height), resize_frame(reference, width, height)


def scaled_frames(frame: FramePair) -> tuple[np.ndarray, np.ndarray] | None:
    """Return result and driver at one size (feature of a `FramePair`).

    None if they cannot be compared.
    """
    return frame.video.feature(ReferenceFrames).scale(frame.image, frame.driver_image)


class ReferenceMetric(FrameMeanMetric):
    """Mean over frames of a figure against the driver's frame.

    A subclass implements `compare`.
    """

    def compare(self, image: np.ndarray, reference: np.ndarray) -> float | None:
        """Return the figure of a frame (H×W×3 uint8) against its reference of the same size."""
        raise NotImplementedError

    def frame_value(self, frame: FramePair) -> float | None:
        """Return the figure of one frame."""
        images = frame.feature(scaled_frames)
        return None if images is None else self.compare(*images)

    def empty_reason(self) -> str:
        """Return why no frame was compared."""
        return self.video.feature(ReferenceFrames).problem or super().empty_reason()


class Psnr(ReferenceMetric):
    """Peak signal-to-noise ratio."""

    info = MetricInfo(
        "psnr",
        FRAMES,
        "PSNR",
        "higher",
        2,
        "peak signal-to-noise ratio, mean over frames",
        "dB",
        method=Method("pixels", WHOLE_FRAME, COMPARED_SIZE),
    )

    def compare(self, image: np.ndarray, reference: np.ndarray) -> float | None:
        """Return the PSNR in dB."""
        return psnr(image, reference)


class L1(ReferenceMetric):
    """Mean absolute difference of the pixels."""

    info = MetricInfo(
        "l1",
        FRAMES,
        "L1",
        "lower",
        4,
        "mean absolute difference of the pixels, 0 to 1",
        method=Method("pixels", WHOLE_FRAME, COMPARED_SIZE),
    )

    def compare(self, image: np.ndarray, reference: np.ndarray) -> float | None:
        """Return the mean absolute difference, 0 to 1."""
        return l1_distance(image, reference)


class Ssim(ReferenceMetric):
    """Structural similarity."""

    info = MetricInfo(
        "ssim",
        FRAMES,
        "SSIM",
        "higher",
        4,
        "structural similarity of the luma, 11x11 Gaussian window",
        method=Method("pixels (luma)", WHOLE_FRAME, COMPARED_SIZE),
    )

    def compare(self, image: np.ndarray, reference: np.ndarray) -> float | None:
        """Return the SSIM, or None for frames below the size of its window."""
        return ssim(image, reference) if min(image.shape[:2]) >= SSIM_WINDOW else None


class Lpips(ReferenceMetric):
    """LPIPS distance, version 0.1 on AlexNet."""

    info = MetricInfo(
        "lpips",
        FRAMES,
        "LPIPS",
        "lower",
        4,
        "perceptual distance by AlexNet (version 0.1)",
        network="lpips",
        method=Method("AlexNet (LPIPS 0.1)", WHOLE_FRAME, COMPARED_SIZE),
    )

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        self._network = pretrained.load_network("lpips")

    @classmethod
    def find_problem(cls, video: VideoPair) -> str | None:
        """Return why there is no ground truth, or which weights are missing."""
        return video.feature(ReferenceFrames).problem or super().find_problem(video)

    def frame_value(self, frame: FramePair) -> float | None:
        """Return the distance of one frame, on every `network_step`-th frame."""
        return super().frame_value(frame) if frame.is_network_frame else None

    def compare(self, image: np.ndarray, reference: np.ndarray) -> float | None:
        """Return the LPIPS distance."""
        from mimaface_cli.evaluation.networks.lpips import lpips_distance

        return lpips_distance(self._network, image, reference)
