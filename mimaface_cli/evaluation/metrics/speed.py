"""Speed and memory of results that an engine rendered for the evaluation."""

from mimaface_cli.evaluation.metric import SPEED, Method, Metric, MetricInfo
from mimaface_cli.evaluation.performance import Performance, read_performance
from mimaface_cli.evaluation.video_pair import VideoPair

_METHOD = Method("clock of this machine", "whole run", "size of the result")


def render_performance(video: VideoPair) -> Performance | None:
    """Return the stored speed and memory of the result, or None (feature of a `VideoPair`)."""
    return read_performance(video.result)


class SpeedMetric(Metric):
    """Base class of the figures of a rendered result. A subclass implements `value`."""

    @classmethod
    def find_problem(cls, video: VideoPair) -> str | None:
        """Return that the result was not rendered by an evaluation, or None."""
        if video.feature(render_performance) is None:
            return "measured only for results that an evaluation renders"
        return None

    def value(self, performance: Performance) -> float | None:
        """Return the figure, or None with `reason` set."""
        raise NotImplementedError

    def result(self) -> float | None:
        """Return the figure of the stored speed."""
        performance = self.video.feature(render_performance)
        return self.unavailable("the stored speed is gone") if performance is None else self.value(performance)


class RenderRate(SpeedMetric):
    """Frames per second of the whole run."""

    info = MetricInfo(
        "render_fps",
        SPEED,
        "frames per second",
        "higher",
        2,
        "frames of the result by the seconds of the whole run, with start and motion",
        method=_METHOD,
    )

    def value(self, performance: Performance) -> float | None:
        """Return frames per second."""
        return performance.frames / performance.seconds if performance.seconds > 0 else self.unavailable("no time")


class RenderDelay(SpeedMetric):
    """Time to the first frame."""

    info = MetricInfo(
        "render_delay",
        SPEED,
        "delay of the first frame",
        "lower",
        2,
        "seconds from the start of the run to the first rendered frame",
        "s",
        method=_METHOD,
    )

    def value(self, performance: Performance) -> float | None:
        """Return seconds."""
        return performance.first_frame


class RenderMemory(SpeedMetric):
    """Peak memory of the process."""

    info = MetricInfo(
        "render_memory",
        SPEED,
        "peak memory",
        "lower",
        0,
        "largest memory of the process while it rendered; with a GPU, its memory is a second figure",
        "MB",
        method=_METHOD,
    )

    def value(self, performance: Performance) -> float | None:
        """Return MB."""
        return performance.peak_memory or self.unavailable("this system does not tell the memory of a process")


class RenderGpuMemory(SpeedMetric):
    """Peak memory of the GPU."""

    info = MetricInfo(
        "render_gpu_memory",
        SPEED,
        "peak GPU memory",
        "lower",
        0,
        "largest memory of PyTorch on the GPU while it rendered",
        "MB",
        method=_METHOD,
    )

    def value(self, performance: Performance) -> float | None:
        """Return MB."""
        return self.unavailable("no GPU was used") if performance.gpu_memory is None else performance.gpu_memory
