"""Configuration of a training run: the sections of its TOML file as dataclasses.

Defaults are the paper's values.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from mimaface_cli.errors import InputError

NORM_GROUPS = 8
"""Groups of a small model's group norms."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its schedule: the sections [image.optimizer] and [video.optimizer].

    Attributes:
        steps: Number of optimizer steps.
        batch: Samples per step, over all processes and accumulated micro-batches.
        micro: Samples that one process takes at once; 0 for its whole share of a batch.
        clip_norm: Largest norm of the gradient; 0 disables clipping.
        learning_rate: Learning rate after the warm-up.
        schedule: After the warm-up, "constant" or "cosine" (falls to 2 % at the last step).
        warm_up: Steps in which the learning rate rises linearly.
        weight_decay: Decoupled weight decay.
        ema: Decay of the moving average per step; 0 for none.
    """

    steps: int = 30_000
    batch: int = 32
    micro: int = 0
    clip_norm: float = 1.0
    learning_rate: float = 1e-5
    schedule: str = "constant"
    warm_up: int = 0
    weight_decay: float = 1e-2
    ema: float = 0.9999

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(self.warm_up, 1))
        if self.schedule == "cosine":
            rate *= 0.02 + 0.49 * (1 + math.cos(math.pi * step / self.steps))
        return rate


@dataclass(frozen=True)
class ImageStageConfig:
    """Stage 1, single frames: the section [image].

    Attributes:
        optimizer: AdamW and its schedule.
        token_dropout: Share of samples without condition tokens.
        min_snr: Bound of the min-SNR loss weights; 0 for no weights.
        identity_weight: Weight of the identity contrastive loss; 0 in the release.
        temperature: Temperature of the identity loss; the paper has none, which equals 1.
        bank: Size of the memory bank of negative ID tokens; 0 takes the negatives from the micro-batch instead. Use 0
            for an encoder that learns fast: stale memory-bank entries make all identities look alike.
        clean_condition: Share of samples with the clean target as conditioning latents, as in the release.
    """

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    token_dropout: float = 0.1
    min_snr: float = 0.0
    identity_weight: float = 1.0
    temperature: float = 1.0
    bank: int = 4096
    clean_condition: float = 0.0


@dataclass(frozen=True)
class VideoStageConfig:
    """Stage 2, clips: the section [video].

    A sample has k conditioning frames. k is 0 with probability `none_known`, otherwise uniform over 0 to `clip` // 4,
    or over 1 to `most_known` if that is set.

    Attributes:
        optimizer: AdamW and its schedule.
        clip: Frames per clip.
        known_noise: Standard deviation of the noise on the conditioning latents.
        most_known: Largest number of conditioning frames; 0 for the paper's rule.
        none_known: Probability of a clip without conditioning frames. 1 trains without ICA.
        token_dropout: Share of samples without condition tokens.
        min_snr: Bound of the min-SNR loss weights; 0 for no weights.
        whole_input: Train the UNet's whole first convolution, not only W_cond, as the release does.
        train_tokens: Train the module of the condition tokens as well, as the release does.
        clip_layers: Number of the appearance encoder's last layers to train; the release trains 2.
    """

    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(batch=8))
    clip: int = 12
    known_noise: float = 0.1
    most_known: int = 0
    none_known: float = 0.0
    token_dropout: float = 0.1
    min_snr: float = 0.0
    whole_input: bool = False
    train_tokens: bool = False
    clip_layers: int = 0


@dataclass(frozen=True)
class ValidationConfig:
    """Validation on people that are held out of training: the section [validation].

    Attributes:
        every: Steps between validations, 0 for none. The last step is always validated.
        share: Share of the people to hold out, rounded down. It applies to new runs. If it is too small for one person,
            nobody is held out and there is no validation.
        clips: Number of held-out clips to generate.
        steps: Steps of DPM-Solver++ per clip.
        guidance: Classifier-free guidance scale.
    """

    every: int = 1000
    share: float = 0.05
    clips: int = 4
    steps: int = 10
    guidance: float = 5.0


@dataclass(frozen=True)
class NetworkSize:
    """Size of a small model that trains from scratch: the section [model.size].

    Attributes:
        channels: Channels of the UNet's levels.
        attention: Whether each level attends to the condition tokens.
        layers: Residual blocks per level.
        heads: Attention heads.
        tokens: Width of the condition tokens.
        adapter: Layers of MIA's transformer.
        motion_tokens: Tokens per motion group.
        clip: Width of the appearance encoder.
        clip_layers: Layers of the appearance encoder.
        clip_image: Side of the appearance encoder's input image, in pixels.
        patch: Side of the appearance encoder's patches, in pixels.
        motion_divisor: Width of a level divided by the width of its motion modules.
    """

    channels: tuple[int, ...] = (32, 64, 96)
    attention: tuple[bool, ...] = (False, True, True)
    layers: int = 1
    heads: int = 4
    tokens: int = 64
    adapter: int = 2
    motion_tokens: int = 2
    clip: int = 64
    clip_layers: int = 3
    clip_image: int = 64
    patch: int = 8
    motion_divisor: int = 1

    def __post_init__(self) -> None:
        if len(self.attention) != len(self.channels):
            raise InputError(
                f"model.size.attention: has {len(self.attention)} values. Give one for each of the "
                f"{len(self.channels)} channels."
            )
        if any(count % NORM_GROUPS or count % self.heads for count in self.channels):
            raise InputError(
                f"model.size.channels: are {list(self.channels)}. Choose multiples of {NORM_GROUPS} and of heads "
                f"({self.heads})."
            )
        if self.tokens % self.heads or self.clip % 4 or self.clip_image % self.patch:
            raise InputError(
                "model.size: tokens must be a multiple of heads, clip of 4, and clip_image of patch. Change one."
            )


@dataclass(frozen=True)
class AutoencoderConfig:
    """Size and training of a small model's autoencoder: the section [model.autoencoder].

    Attributes:
        channels: Channels of the levels, from full resolution down. Each level but the last halves the resolution.
        layers: Residual blocks per level.
        latent: Channels of a latent.
        norm_groups: Groups of the group norms.
        attention: Whether the middle block has attention.
        steps: Optimizer steps.
        batch: Images per step.
        rate: Learning rate of AdamW; it falls to 2 % along a cosine.
        kl: Weight of the divergence of the latents from a standard normal distribution.
        edges: Weight of the loss on differences between neighboring pixels, at two scales.
        ema: Decay of the moving average per step.
        seed: Random seed of the weights and of the sampled latents.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    layers: int = 1
    latent: int = 4
    norm_groups: int = 8
    attention: bool = False
    steps: int = 3000
    batch: int = 16
    rate: float = 2e-3
    kl: float = 1e-6
    edges: float = 1.0
    ema: float = 0.995
    seed: int = 0

    def __post_init__(self) -> None:
        if any(count % self.norm_groups for count in self.channels):
            raise InputError(
                f"model.autoencoder.channels: are {list(self.channels)}. Choose multiples of norm_groups "
                f"({self.norm_groups})."
            )

    @property
    def reduction(self) -> int:
        """Image pixels per latent pixel, along each axis."""
        return 2 ** (len(self.channels) - 1)

    def network_config(self, size: int) -> dict[str, Any]:
        """Return the configuration of diffusers' AutoencoderKL for images of size × size pixels.

        Raises:
            InputError: The size is not a multiple of `reduction`.
        """
        if size % self.reduction:
            raise InputError(f"size: is {size}. Choose a multiple of {self.reduction}, for the autoencoder.")
        levels = len(self.channels)
        return {
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": self.latent,
            "block_out_channels": list(self.channels),
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
            "layers_per_block": self.layers,
            "norm_num_groups": self.norm_groups,
            "mid_block_add_attention": self.attention,
            "sample_size": size,
            "scaling_factor": 1.0,
        }


@dataclass(frozen=True)
class ModelConfig:
    """The networks: the section [model].

    Attributes:
        start: "sd15" starts from Stable Diffusion 1.5, CLIP ViT-L/14 and (stage 2) AnimateDiff v3, which are read from
            the weights folder. "scratch" trains a small model of `size` with its own autoencoder, in the face478 space.
        tokens: "paper" for the paper's condition tokens. "release" for those of the public release: identity features,
            and motion together with the photo's texture and illumination; one set of tokens per clip. They need bfm09
            coefficients and start = "sd15".
        prediction: What the UNet predicts: the noise ("epsilon"), "v", or the clean latents ("sample").
        use_render: False trains a model without the render condition, for the paper's ablation.
        use_motion: False trains a model without motion coefficients, for the paper's ablation.
        size: Size of a model from scratch.
        autoencoder: Autoencoder of a model from scratch.
    """

    start: str = "sd15"
    tokens: str = "paper"
    prediction: str = "epsilon"
    use_render: bool = True
    use_motion: bool = True
    size: NetworkSize = field(default_factory=NetworkSize)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of both stages of a run: the whole TOML file.

    Attributes:
        data: Folder of the prepared data, relative to the file's folder.
        output: Folder of the results, relative to the file's folder.
        recipe: "paper", or "release" for the values of the public release.
        seed: Seed of all randomness.
        size: Side of the face crop, in pixels.
        space: Coefficient space, "bfm09" or "face478".
        workers: Processes that load data.
        precision: "no", "fp16" or "bf16"; empty for the precision of accelerate's configuration.
        gradient_checkpointing: Save GPU memory by computing activations again in the backward pass.
        save_every: Steps between checkpoints.
        keep: Number of latest checkpoints to keep.
        tensorboard: Write TensorBoard event files beside the CSV.
        cache_latents: Encode all frames once, into a file beside the shards, instead of at every step. Useful for small
            models, for which encoding takes a large part of a step.
        about: Origin and license of the data, for the small model's card.
        model: The networks.
        image: Stage 1.
        video: Stage 2.
        validation: Validation on held-out people.
    """

    data: str = "data"
    output: str = "run"
    recipe: str = "paper"
    seed: int = 777
    size: int = 512
    space: str = "bfm09"
    workers: int = 4
    precision: str = ""
    gradient_checkpointing: bool = True
    save_every: int = 1000
    keep: int = 2
    tensorboard: bool = False
    cache_latents: bool = False
    about: str = ""
    model: ModelConfig = field(default_factory=ModelConfig)
    image: ImageStageConfig = field(default_factory=ImageStageConfig)
    video: VideoStageConfig = field(default_factory=VideoStageConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
