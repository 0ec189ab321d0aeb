"""A short clip of the tiny model."""

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings

SETTINGS = DenoiseSettings(length=3, overlap=1, steps=2)
