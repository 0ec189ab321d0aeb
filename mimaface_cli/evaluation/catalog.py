"""The catalog of metrics: the figures of an evaluation, in the order of tables.

To add a metric, write a module with a subclass of `Metric` or `SetMetric` and add a `register_metric` line here, or
call `register_metric` in your program. The figure then appears in JSON, CSV, tables and the HTML report.
"""

from typing import TypeVar

from mimaface_cli.evaluation.metric import Method, Metric, MetricInfo, SetMetric
from mimaface_cli.evaluation.metrics.arcface_similarity import IdSim
from mimaface_cli.evaluation.metrics.clip_borders import BorderJump, BorderPeriod
from mimaface_cli.evaluation.metrics.expression_realism import ExpressionFid, PaperExpressionFid
from mimaface_cli.evaluation.metrics.face_visibility import FaceShare
from mimaface_cli.evaluation.metrics.flicker import FaceFlicker, FrameFlicker
from mimaface_cli.evaluation.metrics.following import (
    BlinkPrecision,
    BlinkRecall,
    ExpressionFollowing,
    LipClosure,
    PoseFollowing,
)
from mimaface_cli.evaluation.metrics.identity import Csim, DlibDistance, IdentityDrift
from mimaface_cli.evaluation.metrics.keypoints import Akd, LipDistance
from mimaface_cli.evaluation.metrics.lip_sync import (
    MouthLag,
    SpeechCorrelation,
    SpeechOffset,
    SyncOffset,
)
from mimaface_cli.evaluation.metrics.motion_transfer import (
    BlendshapeCorrelation,
    ExpressionDistance,
    ExpressionError,
    GazeAngle,
    GazeDistance,
    HeadRotation,
    PaperExpressionDistance,
    PaperExpressionError,
    PaperGazeDistance,
    PaperPoseDistance,
    PaperPoseError,
    PoseDistance,
    PoseError,
)
from mimaface_cli.evaluation.metrics.pixel_stability import BackgroundChange, WarpError
from mimaface_cli.evaluation.metrics.realism import Fid, Fvd
from mimaface_cli.evaluation.metrics.reference import L1, Lpips, Psnr, Ssim
from mimaface_cli.evaluation.metrics.speed import RenderDelay, RenderGpuMemory, RenderMemory, RenderRate
from mimaface_cli.evaluation.metrics.steadiness import Jitter, JitterRatio
from mimaface_cli.evaluation.metrics.syncnet_error import LseC, LseD

AnyMetric = type[Metric] | type[SetMetric]
MetricT = TypeVar("MetricT", bound=AnyMetric)


class MetricCatalog:
    """The registered metrics in the order of tables: by group, then by registration."""

    def __init__(self) -> None:
        self._metrics: dict[str, AnyMetric] = {}

    def register(self, metric: AnyMetric) -> None:
        """Add a metric. Raises ValueError if its name is taken."""
        name = metric.info.name
        if name in self._metrics:
            raise ValueError(f"a metric named {name} is registered already")
        self._metrics[name] = metric

    @property
    def metrics(self) -> list[AnyMetric]:
        """All metrics."""
        groups = list(dict.fromkeys(metric.info.group for metric in self._metrics.values()))
        return sorted(self._metrics.values(), key=lambda metric: groups.index(metric.info.group))

    @property
    def result_metrics(self) -> list[type[Metric]]:
        """The metrics of single results."""
        return [metric for metric in self.metrics if issubclass(metric, Metric)]

    @property
    def set_metrics(self) -> list[type[SetMetric]]:
        """The metrics of all results together."""
        return [metric for metric in self.metrics if issubclass(metric, SetMetric)]

    @property
    def infos(self) -> list[MetricInfo]:
        """The descriptions of all metrics."""
        return [metric.info for metric in self.metrics]

    @property
    def result_infos(self) -> list[MetricInfo]:
        """The descriptions of the metrics of single results."""
        return [metric.info for metric in self.result_metrics]

    def info(self, name: str) -> MetricInfo:
        """Return the description of a metric. Raises KeyError for an unknown name."""
        return self._metrics[name].info

    def method(self, name: str) -> Method:
        """Return how a metric is measured. Raises KeyError for an unknown name."""
        return self._metrics[name].method()


CATALOG = MetricCatalog()
"""The catalog that evaluations use."""


def register_metric(metric: MetricT) -> MetricT:
    """Add a metric to `CATALOG` and return it; also works as a class decorator."""
    CATALOG.register(metric)
    return metric


register_metric(L1)
register_metric(Psnr)
register_metric(Ssim)
register_metric(Lpips)
register_metric(Akd)
register_metric(LipDistance)
register_metric(ExpressionDistance)
register_metric(PoseDistance)
register_metric(GazeDistance)
register_metric(ExpressionError)
register_metric(PoseError)
register_metric(GazeAngle)
register_metric(HeadRotation)
register_metric(PoseFollowing)
register_metric(ExpressionFollowing)
register_metric(LipClosure)
register_metric(BlinkPrecision)
register_metric(BlinkRecall)
register_metric(BlendshapeCorrelation)
register_metric(PaperExpressionDistance)
register_metric(PaperPoseDistance)
register_metric(PaperGazeDistance)
register_metric(PaperExpressionError)
register_metric(PaperPoseError)
register_metric(Csim)
register_metric(IdSim)
register_metric(DlibDistance)
register_metric(IdentityDrift)
register_metric(FaceShare)
register_metric(Jitter)
register_metric(JitterRatio)
register_metric(FrameFlicker)
register_metric(FaceFlicker)
register_metric(WarpError)
register_metric(BackgroundChange)
register_metric(BorderJump)
register_metric(BorderPeriod)
register_metric(MouthLag)
register_metric(SyncOffset)
register_metric(SpeechOffset)
register_metric(SpeechCorrelation)
register_metric(LseC)
register_metric(LseD)
register_metric(Fid)
register_metric(Fvd)
register_metric(PaperExpressionFid)
register_metric(ExpressionFid)
register_metric(RenderRate)
register_metric(RenderDelay)
register_metric(RenderMemory)
register_metric(RenderGpuMemory)
