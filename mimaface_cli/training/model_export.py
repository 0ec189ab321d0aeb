"""Export of a trained model: a small model's folder, or the release's layout of files."""

import json
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor

from mimaface_cli.engines.diffusion import small_checkpoint
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
from mimaface_cli.files import atomic_path, output_error
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.initialization import NetworkState, describe_network, rebuild_network
from mimaface_cli.training.run_checkpoints import read_stage_result
from mimaface_cli.training.training_data import TrainingData
from mimaface_cli.weights.small_model import ModelCard

MODEL = "model"
"""Folder of the finished model in a run's output."""


def export_model(config: TrainingConfig, data: TrainingData, vae: AutoencoderKL) -> Path:
    """Write the result of stage 2 for the diffusion engine, and return its folder.

    In the face478 space this is a small model's folder, in the bfm09 space the release's layout.

    Args:
        config: The run's configuration.
        data: The training data, which the small model's card describes.
        vae: The autoencoder.

    Raises:
        OutputError: It cannot be written.
    """
    result = read_stage_result(Path(config.output), "video")
    network = rebuild_network(result).eval().requires_grad_(False)
    folder = Path(config.output) / MODEL
    if config.space == "bfm09":
        export_release(folder, network)
    else:
        _export_small_model(folder, network, result, config, data, vae)
    return folder


def _export_small_model(
    folder: Path,
    network: Denoiser,
    result: NetworkState,
    config: TrainingConfig,
    data: TrainingData,
    vae: AutoencoderKL,
) -> None:
    length, conditioning_frames = config.video.clip, config.video.most_known or config.video.clip // 4
    settings: dict[str, Any] = {
        "length": length,
        "overlap": 0 if config.video.none_known == 1 else conditioning_frames,
    }
    if config.model.start == "scratch":  # More steps do not improve a small model.
        settings |= {"sampler": "dpm++", "steps": 20, "guidance": 2.0}
    about = {
        "data": config.about or "not stated",
        "clips": len(data.clips),
        "people": data.people,
        "steps": {"image": config.image.optimizer.steps, "video": config.video.optimizer.steps},
    }
    card = ModelCard("own model", config.size, data.condition, settings=settings, about=about)
    networks = DiffusionNetworks(network.unet, network.mia, vae.cpu(), config.model.prediction)
    small_checkpoint.save_small_model(folder, networks, result.unet_config, network.clip, card)


def export_release(folder: Path, network: Denoiser) -> None:
    """Write a model in the release's layout, which `mimaface weights import` reads.

    checkpoints/image contains the UNet; checkpoints/video contains the motion modules with conv_in, the condition
    tokens and the appearance encoder. All files are safetensors under the release's names. The coefficient, identity
    and face models are not included.

    Args:
        folder: The folder.
        network: The trained network.

    Raises:
        OutputError: It cannot be written.
    """
    config = describe_network(network)
    state = network.unet.state_dict()
    video_state = {key: value for key, value in state.items() if "motion_modules." in key or "conv_in." in key}
    image_state = {key: value for key, value in state.items() if "motion_modules." not in key}
    unet_config = {**config["unet_config"], "use_motion_module": False, "_class_name": "UNet2DConditionModel"}
    image, video = folder / "checkpoints" / "image" / "pretrained_unet", folder / "checkpoints" / "video"
    _write_state(image / "unet.pth", image_state)
    _write_json(image / "config.json", unet_config)
    _write_state(video / "3dunet.pth", video_state)
    _write_state(video / "mim.pth", network.mia.state_dict(), {"heads": str(config["heads"])})
    _write_state(video / "vision_encoder" / "model.safetensors", network.clip.state_dict())
    _write_json(video / "vision_encoder" / "config.json", config["clip_config"])


def _write_state(path: Path, state: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    _create_folder(path.parent)
    tensors = {key: value.cpu().contiguous() for key, value in state.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"format": "pt", **(metadata or {})})


def _write_json(path: Path, values: dict[str, Any]) -> None:
    _create_folder(path.parent)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")


def _create_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
