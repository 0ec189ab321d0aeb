"""The networks of a small model: loaded from its folder, saved there by training."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from transformers import CLIPVisionModel

from mimaface_cli.engines.diffusion import checkpoint
from mimaface_cli.engines.diffusion.clip_encoder import build_clip_encoder
from mimaface_cli.engines.diffusion.denoise_settings import PRESETS, DenoiseSettings
from mimaface_cli.engines.diffusion.mia import PaperMIA
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.files import atomic_path
from mimaface_cli.weights.small_model import CARD_FILE, SMALL_MODEL_FILES, ModelCard, read_card, write_card


def resolve_settings(card: ModelCard, requested: DenoiseSettings) -> DenoiseSettings:
    """Return the card's settings, unless the user requested other than the default ones.

    Raises:
        WeightsError: If the card's settings are invalid.
    """
    if requested != PRESETS["release"]:
        return requested
    settings = asdict(requested)
    unknown = sorted(set(card.settings) - set(settings))
    if unknown:
        raise WeightsError(f"{card.name}/{CARD_FILE}: unknown settings: {', '.join(unknown)}. Fetch the model again.")
    for name, value in card.settings.items():
        kinds = (int, float) if isinstance(settings[name], int | float) else type(settings[name])
        if settings[name] is not None and not isinstance(value, kinds):
            raise WeightsError(f"{card.name}/{CARD_FILE}: {name} has the value {value!r}. Fetch the model again.")
    try:
        return DenoiseSettings(**{**settings, **card.settings})
    except (TypeError, InputError) as error:
        raise WeightsError(
            f"{card.name}/{CARD_FILE}: the settings are invalid ({error}). Fetch the model again."
        ) from error


def load_small_model(folder: Path) -> tuple[DiffusionNetworks, CLIPVisionModel]:
    """Load a small model on the CPU.

    Args:
        folder: Folder of the model.

    Returns:
        The networks of the denoising, and the appearance encoder.

    Raises:
        WeightsError: If files are damaged or do not fit together.
    """
    paths = {name: folder / name for name in SMALL_MODEL_FILES}
    state, name = checkpoint.read_tensors(paths["unet.safetensors"])
    unet = checkpoint.build_unet(checkpoint.read_json(paths["unet.json"]), state, name)
    mia = checkpoint.load_mia(paths["mia.safetensors"], unet, paths["unet.safetensors"])
    if not isinstance(mia, PaperMIA):
        raise WeightsError(
            f"{paths['mia.safetensors']}: a small model needs the paper's condition tokens, not the release's. "
            "Fetch the model again."
        )
    vae = checkpoint.build_vae(
        checkpoint.read_json(paths["vae.json"]), *checkpoint.read_tensors(paths["vae.safetensors"])
    )
    config = checkpoint.read_json(paths["clip.json"])
    encoder = build_clip_encoder(config, *checkpoint.read_tensors(paths["clip.safetensors"]))
    width = encoder.config.hidden_size
    if width != mia.clip_width:
        raise WeightsError(
            f"{paths['clip.safetensors']}: its tokens have width {width}, but the condition tokens need "
            f"{mia.clip_width}. Fetch the model again."
        )
    return DiffusionNetworks(unet, mia, vae, read_card(folder).prediction), encoder


def save_small_model(
    folder: Path,
    networks: DiffusionNetworks,
    unet_config: dict[str, Any],
    encoder: CLIPVisionModel,
    card: ModelCard,
) -> None:
    """Save a small model. The card comes last: a folder without one is no model.

    Args:
        folder: Folder of the model; created where needed.
        networks: The networks of the denoising.
        unet_config: Config of the UNet.
        encoder: The appearance encoder.
        card: The model card; its `prediction` is set to that of the networks.

    Raises:
        OutputError: If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD_FILE).unlink(missing_ok=True)
    parts: dict[str, nn.Module] = {"unet": networks.unet, "mia": networks.mia, "clip": encoder, "vae": networks.vae}
    for name, module in parts.items():
        metadata = {"format": "pt"}
        if name == "mia":
            metadata["heads"] = str(networks.mia.heads)
        state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
        with atomic_path(folder / f"{name}.safetensors") as temporary:
            save_file(state, temporary, metadata=metadata)
    vae_config = {key: value for key, value in networks.vae.config.items() if not key.startswith("_")}
    for name, values in (("unet", unet_config), ("clip", encoder.config.to_diff_dict()), ("vae", vae_config)):
        with atomic_path(folder / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")
    write_card(folder, replace(card, prediction=networks.prediction))
