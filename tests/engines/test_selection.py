"""Which engine runs, and the reason that is reported."""

import pytest

from mimaface_cli.engines.base import EngineQuery
from mimaface_cli.engines.diffusion import engine as diffusion_engine
from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.selection import Selection, may_use_gpu, select_engine
from mimaface_cli.errors import InputError, WeightsError


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path))


@pytest.fixture
def cuda(monkeypatch):
    monkeypatch.setattr(diffusion_engine, "has_accelerator", lambda: True)


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(diffusion_engine, "has_accelerator", lambda: False)


def select(name: str, device: str = "auto", **query) -> Selection:
    return select_engine(name, EngineQuery(diffusion=DiffusionOptions(device=device), **query))


def engine_and_space(*arguments, **query) -> tuple[str, str]:
    engine = select(*arguments, **query).engine
    return engine.name, engine.space


def test_mesh_runs_wherever_it_is_requested(no_weights):
    assert engine_and_space("mesh") == ("mesh", "face478")
    assert engine_and_space("mesh", source_is_video=True) == ("mesh", "face478")


def test_auto_without_weights_selects_mesh_and_gives_the_reason(no_weights, cuda):
    assert engine_and_space("auto") == ("mesh", "face478")
    assert select("auto").reason == "embedded default: no diffusion weights are installed"


def test_diffusion_without_weights_names_the_missing_files(no_weights, cuda):
    with pytest.raises(WeightsError, match=r"11 files .* Run mimaface weights pull, or set `engine=mesh`") as caught:
        select("diffusion")
    assert caught.value.field == "engine"


def test_auto_with_weights_and_cuda_selects_diffusion(installed_tiny_weights, cuda):
    assert engine_and_space("auto") == ("diffusion", "bfm09") == engine_and_space("diffusion")
    assert select("auto").reason == "its weights and a GPU are present"
    assert may_use_gpu("auto") and may_use_gpu("diffusion") and not may_use_gpu("mesh")


def test_auto_selects_mesh_for_a_video_source(installed_tiny_weights, cuda):
    assert engine_and_space("auto", source_is_video=True) == ("mesh", "face478")
    with pytest.raises(InputError, match=r"animates a photo, not a video"):
        select("diffusion", source_is_video=True)


def test_auto_follows_the_space_of_a_track(installed_tiny_weights, cuda):
    assert engine_and_space("auto", track_space="face478") == ("mesh", "face478")
    assert engine_and_space("auto", track_space="bfm09") == ("diffusion", "bfm09")
    assert engine_and_space("auto", "cpu", track_space="bfm09") == ("diffusion", "bfm09")
    assert select("auto", track_space="bfm09").reason == "the track is in its space"


def test_auto_on_the_cpu_selects_mesh(installed_tiny_weights, cuda):
    assert engine_and_space("auto", "cpu") == ("mesh", "face478")


def test_diffusion_without_cuda_runs_only_on_request_of_the_cpu(installed_tiny_weights, no_cuda):
    assert engine_and_space("auto")[0] == "mesh" and "no GPU" in select("auto").reason
    with pytest.raises(WeightsError, match=r"no GPU. Set `device=cpu` to run on the CPU"):
        select("diffusion")
    assert engine_and_space("diffusion", "cpu")[0] == "diffusion"


def test_auto_selects_mesh_for_speech_without_sadtalker(installed_tiny_weights, cuda):
    assert engine_and_space("auto", driver_is_speech=True)[0] == "mesh"
    assert "SadTalker" in select("auto", driver_is_speech=True).reason
    assert engine_and_space("diffusion", driver_is_speech=True)[0] == "diffusion"


def test_track_of_an_engine_that_cannot_run_is_refused_with_its_problem(no_weights):
    with pytest.raises(InputError, match=r"^t.npz: is in the bfm09 space, .* 11 files .*"):
        select("auto", track_space="bfm09", driver_name="t.npz")


def test_unknown_engine_lists_the_known_ones():
    with pytest.raises(InputError, match=r"^engine: unknown engine 'nerf'. Choose diffusion, mesh or auto"):
        select("nerf")
