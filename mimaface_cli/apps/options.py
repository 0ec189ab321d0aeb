"""What a user may ask of `animate`."""

from dataclasses import dataclass, field
from pathlib import Path

from mimaface_cli.engines.diffusion.denoise_settings import Settings
from mimaface_cli.errors import InputError
from mimaface_cli.face.extract_face478 import ExtractOptions
from mimaface_cli.media.encoding import EncodeOptions
from mimaface_cli.media.timecode import Trim
from mimaface_cli.motion.retarget import RetargetOptions
from mimaface_cli.provenance.stamp import ProvenanceOptions

ENGINES = ("auto", "mesh", "diffusion")
OUTPUT_MODES = ("full", "crop")
LONGEST_SIDE = 4096  # what hardware decoders of H.264 take


@dataclass(frozen=True)
class DiffusionOptions:
    """preset: its name, for the report; settings: the preset with what was changed of it. device: auto (CUDA), cuda:N
    or cpu. dtype: auto, fp32, bf16 or fp16. vram: auto, high, low or minimal. compile: let torch compile the layers.
    """

    preset: str = "release"
    settings: Settings = field(default_factory=Settings)
    device: str = "auto"
    dtype: str = "auto"
    vram: str = "auto"
    compile: bool = False


@dataclass(frozen=True)
class AnimateOptions:
    """engine: auto, mesh or diffusion. output_mode: full (the whole photo) or crop (the paper's 512 square). audio:
    "driver", "none" or a file. face, driver_face: whom to animate and whom to follow. smooth, follow_skin: how
    the driver is read (see ExtractOptions). max_size: longest side of the
    result in pixels, 0 for no limit. compare: source, driver and result side by side. pose_from: a track or video whose
    head motion is taken where the driver is a sound. trim: what is taken of the driver, and of a source that moves.
    matte: where a soft alpha of what was changed goes. diffusion: for that engine.
    """

    engine: str = "auto"
    retarget: RetargetOptions = field(default_factory=RetargetOptions)
    face: str = "largest"
    driver_face: str = "largest"
    smooth: float = 1.0
    follow_skin: bool = True
    output_mode: str = "full"
    max_size: int = LONGEST_SIDE
    audio: str = "driver"
    compare: bool = False
    pose_from: Path | None = None
    trim: Trim = field(default_factory=Trim)
    matte: Path | None = None
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    diffusion: DiffusionOptions = field(default_factory=DiffusionOptions)
    provenance: ProvenanceOptions = field(default_factory=ProvenanceOptions, metadata={"told": False})

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InputError(f"--engine {self.engine}: choose {', '.join(ENGINES)}")
        if self.output_mode not in OUTPUT_MODES:
            raise InputError(f"--output-mode {self.output_mode}: choose {' or '.join(OUTPUT_MODES)}")
        if self.max_size < 0 or 0 < self.max_size < 64:
            raise InputError(f"--max-size {self.max_size}: must be 0 (no limit) or at least 64 pixels")
        if self.matte is not None and self.compare:
            raise InputError("--matte: goes with the result alone; leave --compare out")
        if not self.audio:
            raise InputError("--audio: give driver, none or a file")
        ExtractOptions(self.face, self.smooth)
        try:
            ExtractOptions(self.driver_face, self.smooth)
        except InputError as error:
            raise InputError(str(error).replace("--face", "--driver-face", 1)) from error
