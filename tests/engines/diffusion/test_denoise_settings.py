"""Settings of the denoising and their presets."""

import pytest

from mimaface_cli.engines.diffusion.denoise_settings import PRESETS, DenoiseSettings, build_settings
from mimaface_cli.errors import InputError


def test_presets_are_the_release_and_cheaper_ones():
    release = build_settings("release")
    assert release == DenoiseSettings() == PRESETS["release"]
    assert (release.length, release.overlap, release.steps, release.guidance) == (12, 3, 25, 5.0)
    cost = {name: p.steps * (1 + p.guided[1] - p.guided[0]) / (p.length - p.overlap) for name, p in PRESETS.items()}
    assert cost["release"] > 2 * cost["balanced"] > 4 * cost["fast"]
    assert build_settings("fast", steps=12, seed=None) == DenoiseSettings(**{**vars(PRESETS["fast"]), "steps": 12})
    with pytest.raises(InputError, match=r"preset: unknown preset .best.\. Choose release, balanced, fast"):
        build_settings("best")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("length", 0),
        ("overlap", 12),
        ("sampler", "ddim"),
        ("steps", 0),
        ("guidance", 0.5),
        ("guidance", float("nan")),
        ("guided", (0.5, 0.2)),
        ("token_reuse", 0.0),
        ("deep_reuse", 0),
        ("warm_start", 1.5),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_refused_with_their_field(name, value):
    with pytest.raises(InputError, match=f"^{name}: .*(out of range|unknown value)"):
        DenoiseSettings(**{name: value})
