"""A new engine takes one module and one registration."""

from itertools import repeat

import numpy as np
import pytest

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.engines.base import EngineQuery, FrameStream, Readiness, RenderRequest
from mimaface_cli.engines.registry import register_engine, unregister_engine
from mimaface_cli.errors import InputError
from mimaface_cli.media.encode_options import EncodeOptions
from tests.conftest import FRAMES, read_video


class ToyEngine:
    """Fills each frame with a gray level that counts the frames."""

    name = "toy"
    options_field = None
    space = "face478"

    def readiness(self, query: EngineQuery) -> Readiness:
        return Readiness(self)

    def assets(self, query: EngineQuery) -> list:
        return []

    def problems(self) -> list[str]:
        return []

    def uses_gpu(self) -> bool:
        return False

    def is_generative(self) -> bool:
        return True

    def prepare(self, request: RenderRequest) -> FrameStream:
        image = request.source.portrait.image
        frames = (np.full_like(image, 10 * k) for k in range(len(request.track)))
        return FrameStream(
            frames, request.track.pts, request.track.frame_rate, repeat(image), describe=lambda: {"a": 1}
        )


@pytest.fixture
def toy():
    register_engine("toy", ToyEngine)
    yield
    unregister_engine("toy")


def test_registered_engine_renders_a_run(toy, sample, tmp_path):
    options = AnimateOptions(engine="toy", encode=EncodeOptions(codec="ffv1"))
    result = animate(sample.portrait, sample.track, tmp_path / "out.mkv", options)
    assert (result.engine, result.engine_reason, result.engine_settings) == ("toy", "requested", {"a": 1})
    frames, _ = read_video(tmp_path / "out.mkv")
    assert len(frames) == FRAMES and [round(frame.mean() / 10) for frame in frames] == list(range(FRAMES))


def test_registered_engine_is_listed_by_doctor(toy):
    from mimaface_cli.apps.doctor import examine

    assert examine()["engines"]["toy"] == {"ready": True, "missing": []}


def test_engine_name_cannot_be_registered_twice(toy):
    with pytest.raises(ValueError, match=r"registered already"):
        register_engine("toy", ToyEngine)


def test_options_refuse_an_engine_that_is_not_registered():
    with pytest.raises(InputError, match=r"^engine: unknown engine 'toy'"):
        AnimateOptions(engine="toy")
