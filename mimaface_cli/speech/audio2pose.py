"""SadTalker's head pose network (PoseVAE).

It is a conditional VAE. Its decoder maps audio, a pose style and noise to head motion.

Source: Zhang et al. 2023, "SadTalker: Learning Realistic 3D Motion Coefficients for Stylized Audio-Driven Single Image
Talking Face Animation", section 3.2. Attribute names are those of the release's weights.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mimaface_cli.errors import InputError
from mimaface_cli.speech.speech_options import STYLES
from mimaface_cli.speech.wav2lip_encoder import WIDTHS, build_audio_encoder

POSE = 6  # pose coefficients: angles about x, y, z (rad), translation along x, y, z
TRAINING_PREFIXES = ("netG.encoder.", "netD_motion.")  # parts of the released network that only training uses


@dataclass(frozen=True)
class PoseConfig:
    """Sizes of the pose network.

    Attributes:
        styles: Number of pose styles.
        frames: Frames that one decoder run generates, a multiple of 8.
        audio: Audio features per frame.
        latent: Size of the noise.
        layers: Widths of the decoder's fully connected layers. The last one is frames × 6.
        filters: Channels of the decoder's U-Net.
        widths: Channels of the audio encoder's stages.
    """

    styles: int = STYLES
    frames: int = 32
    audio: int = 6
    latent: int = 64
    layers: tuple[int, ...] = (128, 192)
    filters: tuple[int, int, int, int] = (32, 64, 128, 256)
    widths: tuple[int, ...] = WIDTHS


class ResidualConv(nn.Module):
    """Pre-activation residual unit with a convolution as its shortcut.

    Args:
        channels: Input channels.
        width: Output channels.
        stride: Stride in frames and pose coefficients.
    """

    def __init__(self, channels: int, width: int, stride: tuple[int, int] | int = 1) -> None:
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
        """Map (B, channels, frames, 6) to (B, width, frames / stride, 6)."""
        return self.conv_block(x) + self.conv_skip(x)


class Upsample(nn.Module):
    """Transposed convolution that doubles the number of frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(channels, channels, (2, 1), (2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, frames, 6) to (B, channels, 2 frames, 6)."""
        return self.upsample(x)


class ResUnet(nn.Module):
    """U-Net over frames and pose coefficients.

    Only the frames are downsampled and upsampled, three times.
    """

    def __init__(self, filters: tuple[int, int, int, int]) -> None:
        super().__init__()
        full, half, quarter, eighth = filters  # channels at each number of frames
        half_frames = (2, 1)
        self.input_layer = nn.Sequential(
            nn.Conv2d(1, full, 3, 1, 1), nn.BatchNorm2d(full), nn.ReLU(), nn.Conv2d(full, full, 3, 1, 1)
        )
        self.input_skip = nn.Sequential(nn.Conv2d(1, full, 3, 1, 1))
        self.residual_conv_1 = ResidualConv(full, half, half_frames)
        self.residual_conv_2 = ResidualConv(half, quarter, half_frames)
        self.bridge = ResidualConv(quarter, eighth, half_frames)
        self.upsample_1 = Upsample(eighth)
        self.up_residual_conv1 = ResidualConv(eighth + quarter, quarter)
        self.upsample_2 = Upsample(quarter)
        self.up_residual_conv2 = ResidualConv(quarter + half, half)
        self.upsample_3 = Upsample(half)
        self.up_residual_conv3 = ResidualConv(half + full, full)
        self.output_layer = nn.Sequential(nn.Conv2d(full, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 1, frames, 6) to the same shape with values from 0 to 1."""
        full = self.input_layer(x) + self.input_skip(x)
        half = self.residual_conv_1(full)
        quarter = self.residual_conv_2(half)
        x = self.upsample_1(self.bridge(quarter))
        x = self.upsample_2(self.up_residual_conv1(torch.cat([x, quarter], 1)))
        x = self.upsample_3(self.up_residual_conv2(torch.cat([x, half], 1)))
        return self.output_layer(self.up_residual_conv3(torch.cat([x, full], 1)))


class Decoder(nn.Module):
    """Decoder of the conditional VAE: fully connected layers, then a U-Net."""

    def __init__(self, config: PoseConfig) -> None:
        super().__init__()
        self.frames = config.frames
        self.classbias = nn.Parameter(torch.zeros(config.styles, config.latent))
        self.linear_audio = nn.Linear(config.widths[-1], config.audio)
        self.MLP = nn.Sequential()
        size = POSE + config.latent + config.frames * config.audio
        for index, width in enumerate(config.layers):
            self.MLP.add_module(f"L{index}", nn.Linear(size, width))
            self.MLP.add_module(f"A{index}", nn.Sigmoid() if index == len(config.layers) - 1 else nn.ReLU())
            size = width
        self.resunet = ResUnet(config.filters)
        self.pose_linear = nn.Linear(POSE, POSE)

    def forward(self, features: Tensor, noise: Tensor, styles: Tensor, reference: Tensor) -> Tensor:
        """Generate the motion of one chunk.

        Args:
            features: (B, frames, audio), audio features.
            noise: (B, latent), standard normal noise.
            styles: (B,), pose styles.
            reference: (B, 6), pose of the resting face.

        Returns:
            (B, frames, 6), change from the reference pose.
        """
        inputs = torch.cat([reference, noise + self.classbias[styles], features.flatten(1)], 1)
        coarse = self.MLP(inputs).unflatten(1, (1, self.frames, POSE))
        return self.pose_linear(self.resunet(coarse)[:, 0])


class Audio2Pose(nn.Module):
    """The parts of SadTalker's pose network that inference uses.

    Call `compute_features` for the audio of each frame, then `generate_motion` for the whole clip.

    Args:
        config: Sizes of the network.
    """

    def __init__(self, config: PoseConfig = PoseConfig()) -> None:
        super().__init__()
        self.config = config
        self.audio_encoder = nn.ModuleDict({"audio_encoder": build_audio_encoder(config.widths)})
        self.netG = nn.ModuleDict({"decoder": Decoder(config)})

    @property
    def decoder(self) -> Decoder:
        """The decoder, which the release nests in `netG`."""
        return cast(Decoder, self.netG["decoder"])

    def compute_features(self, windows: Tensor) -> Tensor:
        """Compute the decoder's audio features.

        Args:
            windows: (T, 80, 16), mel windows.

        Returns:
            (T, audio), features of each frame.
        """
        return self.decoder.linear_audio(self.audio_encoder["audio_encoder"](windows[:, None]))

    def check_style(self, style: int) -> None:
        """Raise InputError for a style that the network does not have."""
        if not 0 <= style < self.config.styles:
            raise InputError(
                f"{style} is not a style of this network. Choose one of the styles 0 to {self.config.styles - 1}.",
                field="pose_style",
            )

    def generate_motion(self, features: Tensor, reference: Tensor, noise: Tensor, style: int) -> Tensor:
        """Generate the head motion of a clip.

        Frame 0 has the reference pose. The other frames are generated in chunks of `config.frames`. The last chunk ends
        with the clip and overlaps the previous one. In a clip shorter than a chunk, the first features are repeated
        before the clip.

        Args:
            features: (T, audio), features of all frames.
            reference: (6,), pose of the resting face.
            noise: (chunks, latent), see `sample_noise`.
            style: Pose style.

        Returns:
            (T, 6), change from the reference pose.

        Raises:
            InputError: The network does not have the style.
        """
        size, frames = self.config.frames, len(features) - 1
        self.check_style(style)
        if len(noise) != count_chunks(frames + 1, size):
            raise ValueError(f"{len(noise)} rows of noise for {count_chunks(frames + 1, size)} chunks")
        moving_features = features[1:]
        pieces = [features.new_zeros(1, POSE)]
        for start, chunk_noise in zip(range(0, frames, size), noise, strict=True):
            chunk = moving_features[max(0, min(start, frames - size)) :][:size]
            chunk = torch.cat([chunk[:1].expand(size - len(chunk), -1), chunk])
            styles = torch.tensor([style], device=features.device)
            chunk_motion = self.decoder(chunk[None], chunk_noise[None], styles, reference[None])[0]
            pieces.append(chunk_motion[-min(size, frames - start) :])
        return torch.cat(pieces)


def count_chunks(frames: int, size: int) -> int:
    """Return the number of decoder runs for a clip.

    Args:
        frames: Frames of the clip, including the first one, which is not generated.
        size: Frames of a chunk.
    """
    return -(-max(frames - 1, 0) // size)


def sample_noise(frames: int, seed: int, config: PoseConfig = PoseConfig()) -> Tensor:
    """Sample the decoder's noise as the release does after torch.manual_seed(seed).

    Args:
        frames: Frames of the clip.
        seed: Random seed.
        config: Sizes of the network.

    Returns:
        (chunks, latent), standard normal noise.
    """
    generator = torch.Generator().manual_seed(seed)
    # One call per chunk, as in the release: a single larger call would return different numbers.
    rows = [torch.randn(1, config.latent, generator=generator) for _ in range(count_chunks(frames, config.frames))]
    return torch.cat(rows) if rows else torch.empty(0, config.latent)
