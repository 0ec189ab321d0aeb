"""Base classes of metrics and their descriptions.

A metric turns frames or whole videos into a figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.video_pair import FramePair, VideoPair

FRAMES, MOTION, IDENTITY = "Frames against the driver (same identity)", "Motion", "Identity"
TEMPORAL, REALISM = "Consistency over time", "Realism of the whole set"
SPEED = "Speed of the engine"
Series = Sequence[float | None] | np.ndarray
"""Values of a curve, one per frame; None or NaN where there is no value."""
WHOLE_FRAME, ALIGNED_FACE = "whole frame", "face, aligned by landmarks"
COMPARED_SIZE = "{size}"
"""Resolution of figures that are measured at the `size` of the options."""
_ARROWS = {"higher": "↑", "lower": "↓", "zero": "→ 0", "": ""}


@dataclass(frozen=True)
class Method:
    """How a figure is measured. Figures of different methods must not be compared.

    Attributes:
        extractor: Network or estimator that the figure depends on; "pixels" if it depends on none.
        crop: Part of the frame that is measured.
        resolution: Size at which it is measured; COMPARED_SIZE stands for the `size` of the options.
    """

    extractor: str = "not stated"
    crop: str = "not stated"
    resolution: str = "not stated"

    def at_size(self, size: int) -> "Method":
        """Return the method of a run with the given `size` (longest side in pixels, 0 for the original size)."""
        text = f"longest side at most {size} px" if size else "original size"
        return replace(self, resolution=self.resolution.replace(COMPARED_SIZE, text))

    def __str__(self) -> str:
        return f"{self.extractor}; {self.crop}; {self.resolution}"


FACE478_METHOD = Method("MediaPipe + face478", "tracked face", "landmarker input")
"""Method of figures of the embedded estimator's coefficients and landmarks."""
BFM09_METHOD = Method("D3DFR (bfm09)", ALIGNED_FACE, "256x256")
"""Method of figures of the coefficients that the paper uses."""


@dataclass(frozen=True)
class MetricInfo:
    """Description of a metric.

    Attributes:
        name: Key of the figure in JSON and CSV.
        group: Heading under which tables list it.
        label: Name in tables.
        better: Which values are better; "" if neither high nor low values are.
        decimals: Digits after the decimal point in tables.
        description: Noun phrase that explains the figure.
        unit: Unit of the figure, or "".
        network: Pretrained network that the metric needs (a key of `pretrained.NETWORK_FILES`), or None.
        method: Extractor, crop and resolution.
    """

    name: str
    group: str
    label: str
    better: Literal["higher", "lower", "zero", ""]
    decimals: int
    description: str
    unit: str = ""
    network: str | None = None
    method: Method = Method()

    @property
    def arrow(self) -> str:
        """The better direction as an arrow."""
        return _ARROWS[self.better]

    def format(self, value: float) -> str:
        """Return a value with its unit."""
        unit = f" {self.unit}" if self.unit not in ("", "%", "°") else self.unit
        return f"{value:.{self.decimals}f}{unit}"


class Metric:
    """One figure of one result. Every result gets a new object.

    A subclass sets `info` and implements `result`, which may use the whole video. It implements `update` if it needs
    the frames. Work that several metrics share belongs in a feature: a function of a `FramePair` or a `VideoPair`
    that metrics call through `frame.feature(function)` or `video.feature(function)`.

    Attributes:
        info: Description of the metric.
        video: The result and its driver.
        reason: Why `result` returned None.
        notes: Sentences for the user about this result.
    """

    info: ClassVar[MetricInfo]

    def __init__(self, video: VideoPair) -> None:
        self.video = video
        self.reason = ""
        self.notes: list[str] = []

    @classmethod
    def find_problem(cls, video: VideoPair) -> str | None:
        """Return why the metric cannot run on a result, or None.

        It is called before the metric is created.
        """
        return None if cls.info.network is None else pretrained.missing_weights(cls.info.network)

    @classmethod
    def method(cls) -> Method:
        """Return how the figure is measured with the networks that are installed now."""
        return cls.info.method

    def update(self, frame: FramePair) -> None:
        """Process the next frame of the result."""

    def result(self) -> float | None:
        """Return the figure after the last frame, or None with `reason` set."""
        raise NotImplementedError

    def series(self) -> Mapping[str, Series]:
        """Return curves by name."""
        return {}

    def unavailable(self, reason: str) -> float | None:
        """Set `reason` and return None, for use as `return self.unavailable("...")`."""
        self.reason = reason
        return None


class FrameMeanMetric(Metric):
    """Mean of a figure over frames. A subclass implements `frame_value`."""

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        self.values: list[float | None] = []

    def frame_value(self, frame: FramePair) -> float | None:
        """Return the figure of one frame, or None if it has none."""
        raise NotImplementedError

    def empty_reason(self) -> str:
        """Return why no frame has a figure."""
        return "no frame could be compared"

    def update(self, frame: FramePair) -> None:
        """Append the frame's figure."""
        self.values.append(self.frame_value(frame))

    def result(self) -> float | None:
        """Return the mean over the frames that have a figure."""
        values = [value for value in self.values if value is not None]
        return float(np.mean(values)) if values else self.unavailable(self.empty_reason())

    def series(self) -> Mapping[str, Series]:
        """Return the figures of all frames."""
        return {self.info.name: self.values}


class FeatureCollector:
    """Network features of one result for a `SetMetric`. A subclass implements `update`.

    Attributes:
        features: Vectors (D) by name, the same number for the result and for the driver.
    """

    def __init__(self, video: VideoPair) -> None:
        self.video = video
        self.features: dict[str, list[np.ndarray]] = {}

    def update(self, frame: FramePair) -> None:
        """Process the next frame of the result."""
        raise NotImplementedError

    def finish(self) -> None:
        """Process the whole result, after its last frame; `video.track` is complete."""


class SetMetric:
    """One figure of all results together. Every evaluation gets a new object.

    Attributes:
        info: Description of the metric.
        collector: Class that collects the features of one result.
        feature_names: Names of the result's and of the driver's features that the collector returns.
        reason: Why `result` returned None.
        notes: Sentences for the user about the figure.
    """

    info: ClassVar[MetricInfo]
    collector: ClassVar[type[FeatureCollector]]
    feature_names: ClassVar[tuple[str, str]]

    def __init__(self) -> None:
        self.reason = ""
        self.notes: list[str] = []

    @classmethod
    def find_problem(cls) -> str | None:
        """Return why the metric cannot run, or None."""
        return None if cls.info.network is None else pretrained.missing_weights(cls.info.network)

    @classmethod
    def method(cls) -> Method:
        """Return how the figure is measured."""
        return cls.info.method

    @property
    def count(self) -> int:
        """Samples on which the figure is based."""
        raise NotImplementedError

    def update(self, features: Mapping[str, list[np.ndarray]]) -> None:
        """Add the features of one result."""
        raise NotImplementedError

    def result(self) -> float | None:
        """Return the figure after the last result, or None with `reason` set."""
        raise NotImplementedError

    def unavailable(self, reason: str) -> float | None:
        """Set `reason` and return None, for use as `return self.unavailable("...")`."""
        self.reason = reason
        return None
