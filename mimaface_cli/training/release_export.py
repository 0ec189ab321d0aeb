"""A trained model in the release's layout of files, which `mimaface weights import` takes."""

import json
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from mimaface_cli.files import atomic_path, output_error
from mimaface_cli.training.initialization import Denoiser, describe


def write_release(folder: Path, network: Denoiser) -> None:
    """checkpoints/image (UNet) and checkpoints/video (motion modules and conv_in, condition tokens, CLIP), as safetensors
    under the release's names. The coefficient, identity and face models are not part of it. Raises OutputError.
    """
    about = describe(network)
    state = network.unet.state_dict()
    moving = {key: value for key, value in state.items() if "motion_modules." in key or "conv_in." in key}
    still = {key: value for key, value in state.items() if "motion_modules." not in key}
    unet_config = {**about["unet_config"], "use_motion_module": False, "_class_name": "UNet2DConditionModel"}
    image, video = folder / "checkpoints" / "image" / "pretrained_unet", folder / "checkpoints" / "video"
    _write(image / "unet.pth", still)
    _write_json(image / "config.json", unet_config)
    _write(video / "3dunet.pth", moving)
    _write(video / "mim.pth", network.mia.state_dict(), {"heads": str(about["heads"])})
    _write(video / "vision_encoder" / "model.safetensors", network.clip.state_dict())
    _write_json(video / "vision_encoder" / "config.json", about["clip_config"])


def _write(path: Path, state: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    _make_folder(path.parent)
    with atomic_path(path) as temporary:
        save_file(
            {key: value.cpu().contiguous() for key, value in state.items()},
            temporary,
            {"format": "pt", **(metadata or {})},
        )


def _write_json(path: Path, values: dict) -> None:
    _make_folder(path.parent)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
