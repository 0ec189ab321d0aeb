"""SadTalker's head motion network: a conditional VAE whose decoder turns sound, a pose style and noise into motion."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mimaface_cli.errors import InputError
from mimaface_cli.speech.wav2lip_encoder import WIDTHS, audio_encoder

POSE = 6  # angles x, y, z (rad), translation x, y, z
# Parts of the trained network that only training uses.
TRAINING_PREFIXES = ("netG.encoder.", "netD_motion.")


@dataclass(frozen=True)
class PoseConfig:
    """Sizes of the network. frames: what one run of the decoder makes, a multiple of 8; layers end in frames × 6."""

    styles: int = 46
    frames: int = 32
    audio: int = 6
    latent: int = 64
    layers: tuple[int, ...] = (128, 192)
    filters: tuple[int, int, int, int] = (32, 64, 128, 256)
    widths: tuple[int, ...] = WIDTHS


class ResidualConv(nn.Module):
    """Pre-activation residual unit (B, C, frames, 6) with a convolution for a shortcut."""

    def __init__(self, channels: int, width: int, stride: tuple[int, int] | int = 1):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, width, 3, stride, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1),
        )
        self.conv_skip = nn.Sequential(nn.Conv2d(channels, width, 3, stride, 1), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_block(x) + self.conv_skip(x)


class Upsample(nn.Module):
    """Twice the frames."""

    def __init__(self, channels: int):
        super().__init__()
        self.upsample = nn.ConvTranspose2d(channels, channels, (2, 1), (2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.upsample(x)


class ResUnet(nn.Module):
    """(B, 1, frames, 6) -> the same shape in (0, 1); only the frames are down- and upsampled, three times."""

    def __init__(self, filters: tuple[int, int, int, int]):
        super().__init__()
        a, b, c, d = filters
        halve = (2, 1)
        self.input_layer = nn.Sequential(
            nn.Conv2d(1, a, 3, 1, 1), nn.BatchNorm2d(a), nn.ReLU(), nn.Conv2d(a, a, 3, 1, 1)
        )
        self.input_skip = nn.Sequential(nn.Conv2d(1, a, 3, 1, 1))
        self.residual_conv_1 = ResidualConv(a, b, halve)
        self.residual_conv_2 = ResidualConv(b, c, halve)
        self.bridge = ResidualConv(c, d, halve)
        self.upsample_1 = Upsample(d)
        self.up_residual_conv1 = ResidualConv(d + c, c)
        self.upsample_2 = Upsample(c)
        self.up_residual_conv2 = ResidualConv(c + b, b)
        self.upsample_3 = Upsample(b)
        self.up_residual_conv3 = ResidualConv(b + a, a)
        self.output_layer = nn.Sequential(nn.Conv2d(a, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        full = self.input_layer(x) + self.input_skip(x)
        half = self.residual_conv_1(full)
        quarter = self.residual_conv_2(half)
        x = self.upsample_1(self.bridge(quarter))
        x = self.upsample_2(self.up_residual_conv1(torch.cat([x, quarter], 1)))
        x = self.upsample_3(self.up_residual_conv2(torch.cat([x, half], 1)))
        return self.output_layer(self.up_residual_conv3(torch.cat([x, full], 1)))


class Decoder(nn.Module):
    """Features (B, frames, audio), noise (B, latent), styles (B,), reference pose (B, 6) -> motion (B, frames, 6)."""

    def __init__(self, config: PoseConfig):
        super().__init__()
        self.frames = config.frames
        self.classbias = nn.Parameter(torch.zeros(config.styles, config.latent))
        self.linear_audio = nn.Linear(config.widths[-1], config.audio)
        self.MLP = nn.Sequential()
        size = POSE + config.latent + config.frames * config.audio
        for i, width in enumerate(config.layers):
            self.MLP.add_module(f"L{i}", nn.Linear(size, width))
            self.MLP.add_module(f"A{i}", nn.Sigmoid() if i == len(config.layers) - 1 else nn.ReLU())
            size = width
        self.resunet = ResUnet(config.filters)
        self.pose_linear = nn.Linear(POSE, POSE)

    def forward(self, features: Tensor, noise: Tensor, styles: Tensor, reference: Tensor) -> Tensor:
        known = torch.cat([reference, noise + self.classbias[styles], features.flatten(1)], 1)
        rough = self.MLP(known).unflatten(1, (1, self.frames, POSE))
        return self.pose_linear(self.resunet(rough)[:, 0])


class Audio2Pose(nn.Module):
    """The parts that make motion: `features` of the sound, then `motion` of the whole clip."""

    def __init__(self, config: PoseConfig = PoseConfig()):
        super().__init__()
        self.config = config
        self.audio_encoder = nn.ModuleDict({"audio_encoder": audio_encoder(config.widths)})
        self.netG = nn.ModuleDict({"decoder": Decoder(config)})

    def features(self, windows: Tensor) -> Tensor:
        """Mel windows (T, 80, 16) -> what the decoder hears of each frame (T, audio)."""
        return self.netG["decoder"].linear_audio(self.audio_encoder["audio_encoder"](windows[:, None]))

    def check_style(self, style: int) -> None:
        """Raise InputError for a style that the network does not have."""
        if not 0 <= style < self.config.styles:
            raise InputError(f"pose style {style}: there are the styles 0 to {self.config.styles - 1}")

    def motion(self, features: Tensor, reference: Tensor, noise: Tensor, style: int) -> Tensor:
        """Features of all frames (T, audio), reference pose (6,), noise as of `sample_noise` -> pose change (T, 6).

        Frame 0 is the reference itself; the others are made in chunks of `config.frames`. The last chunk ends with the
        clip and so overlaps the one before, or, in a short clip, begins with its first features repeated.
        Raises InputError (see `check_style`).
        """
        size, frames = self.config.frames, len(features) - 1
        self.check_style(style)
        if len(noise) != count_chunks(frames + 1, size):
            raise ValueError(f"{len(noise)} rows of noise for {count_chunks(frames + 1, size)} chunks")
        moved, pieces = features[1:], [features.new_zeros(1, POSE)]
        for start, z in zip(range(0, frames, size), noise):
            chunk = moved[max(0, min(start, frames - size)) :][:size]
            chunk = torch.cat([chunk[:1].expand(size - len(chunk), -1), chunk])
            styles = torch.tensor([style], device=features.device)
            made = self.netG["decoder"](chunk[None], z[None], styles, reference[None])[0]
            pieces.append(made[-min(size, frames - start) :])
        return torch.cat(pieces)


def count_chunks(frames: int, size: int) -> int:
    """Decoder runs for a clip of so many frames."""
    return -(-max(frames - 1, 0) // size)


def sample_noise(frames: int, seed: int, config: PoseConfig = PoseConfig()) -> Tensor:
    """The decoder's noise for a clip, (chunks, latent): what the released program draws after torch.manual_seed."""
    generator = torch.Generator().manual_seed(seed)
    # One draw per chunk: a single larger one gives other numbers.
    rows = [torch.randn(1, config.latent, generator=generator) for _ in range(count_chunks(frames, config.frames))]
    return torch.cat(rows) if rows else torch.empty(0, config.latent)
