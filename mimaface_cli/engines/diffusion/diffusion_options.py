"""Options of the diffusion engine."""

from dataclasses import dataclass, field

from mimaface_cli.engines.diffusion.denoise_settings import PRESETS, DenoiseSettings
from mimaface_cli.options import check_options, option


@dataclass(frozen=True)
class DiffusionOptions:
    """Options of the diffusion engine.

    Attributes:
        preset: Name of the preset that the settings start from.
        settings: The preset's settings with the user's changes.
        device: "auto" (a GPU where available), "cuda", "cuda:N", "mps", "xpu" or "cpu".
        dtype: Floating-point precision; "auto" follows the preset and the device.
        vram: GPU memory mode.
        compile: Whether torch.compile compiles the networks.
    """

    preset: str = option(
        "release",
        choices=tuple(PRESETS),
        metavar="PRESET",
        help="release: the published settings (25 Euler steps, fp32). balanced, fast: fewer steps, partial guidance, "
        "16-bit precision.",
    )
    settings: DenoiseSettings = field(default_factory=DenoiseSettings)
    device: str = option("auto", metavar="DEVICE", help="auto, cuda, cuda:N, mps, xpu or cpu.")
    dtype: str = option(
        "auto",
        choices=("auto", "fp32", "bf16", "fp16"),
        metavar="DTYPE",
        expert=True,
        help="Floating-point precision: auto (by preset and device), fp32, bf16 or fp16.",
    )
    vram: str = option(
        "auto",
        choices=("auto", "high", "low", "minimal"),
        metavar="MODE",
        help="GPU memory: auto, high, low (6 GB) or minimal.",
    )
    compile: bool = option(False, expert=True, help="Compile the networks: slower start, faster steps.")

    def __post_init__(self) -> None:
        check_options(self)
