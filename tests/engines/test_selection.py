"""Which engine runs, and why."""

import pytest

from mimaface_cli.engines import selection as engines
from mimaface_cli.engines.selection import choose_engine
from mimaface_cli.errors import InputError, WeightsError


@pytest.fixture
def bare(monkeypatch, tmp_path):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path))


@pytest.fixture
def card(monkeypatch):
    monkeypatch.setattr(engines, "has_cuda", lambda: True)


def named(*words, **more) -> tuple[str, str]:
    engine = choose_engine(*words, **more)
    return engine.name, engine.space


def test_mesh_runs_wherever_it_is_asked_for(bare):
    assert named("mesh") == ("mesh", "face478") == named("mesh", moving=True)


def test_without_weights_the_embedded_engine_runs_and_says_so(bare, card):
    assert named("auto")[0] == "mesh" and "no diffusion weights are installed" in choose_engine("auto").reason
    with pytest.raises(WeightsError, match=r"11 of its files .*run mimaface weights pull, or use --engine mesh"):
        choose_engine("diffusion")


def test_with_weights_and_a_card_diffusion_runs(installed_tiny_weights, card):
    assert named("auto") == ("diffusion", "bfm09") == named("diffusion")
    assert choose_engine("auto").reason == "its weights and a CUDA device are here"
    assert named("auto", moving=True)[0] == "mesh" and named("auto", space="face478")[0] == "mesh"
    assert named("auto", space="bfm09")[0] == "diffusion" and named("auto", "cpu")[0] == "mesh"
    with pytest.raises(InputError, match="animates a photo, not a video"):
        choose_engine("diffusion", moving=True)


def test_with_weights_but_no_card_the_cpu_must_be_asked_for(installed_tiny_weights, monkeypatch):
    monkeypatch.setattr(engines, "has_cuda", lambda: False)
    assert named("auto")[0] == "mesh" and "no CUDA device" in choose_engine("auto").reason
    with pytest.raises(WeightsError, match="no CUDA device here; --device cpu runs it on the CPU"):
        choose_engine("diffusion")
    assert named("diffusion", "cpu")[0] == "diffusion"


def test_a_track_of_the_other_space_needs_the_other_engine(bare):
    with pytest.raises(
        InputError, match="t.npz: is in the bfm09 space, which only .* 11 of its files .*--space face478"
    ):
        choose_engine("auto", space="bfm09", name="t.npz")
