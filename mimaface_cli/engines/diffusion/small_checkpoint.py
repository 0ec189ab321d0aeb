"""mimaface-mini as networks: read from its folder, written there when trained (see `mimaface_cli.weights.small_model`)."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from transformers import CLIPVisionModel

from mimaface_cli.engines.diffusion import checkpoint, clip_encoder
from mimaface_cli.engines.diffusion.denoise_settings import PRESETS, DenoiseSettings
from mimaface_cli.engines.diffusion.mia import PaperMIA
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.files import atomic_path
from mimaface_cli.weights.small_model import CARD_FILE, SMALL_MODEL_FILES, ModelCard, read_card, write_card


def resolve_settings(card: ModelCard, asked: DenoiseSettings) -> DenoiseSettings:
    """What to run with: the card's settings, unless the user asked for other than the defaults. Raises WeightsError."""
    if asked != PRESETS["release"]:
        return asked
    try:
        return DenoiseSettings(**{**asdict(asked), **card.settings})
    except (TypeError, InputError) as error:
        raise WeightsError(f"{card.name}: its card's settings do not hold ({error}); fetch the model again") from error


def load_small_model(folder: Path) -> tuple[DiffusionNetworks, CLIPVisionModel]:
    """What denoises, and the appearance encoder, on the CPU. Raises WeightsError."""
    paths = {name: folder / name for name in SMALL_MODEL_FILES}
    state, name = checkpoint.read_tensors(paths["unet.safetensors"])
    unet = checkpoint.build_unet(checkpoint.read_json(paths["unet.json"]), state, name)
    tokens = checkpoint.load_mia(paths["mia.safetensors"], unet, paths["unet.safetensors"])
    if not isinstance(tokens, PaperMIA):
        raise WeightsError(
            f"{paths['mia.safetensors']}: mimaface-mini has the paper's condition tokens, not the release's"
        )
    vae = checkpoint.build_vae(
        checkpoint.read_json(paths["vae.json"]), *checkpoint.read_tensors(paths["vae.safetensors"])
    )
    config = checkpoint.read_json(paths["clip.json"])
    encoder = clip_encoder.build_clip_encoder(config, *checkpoint.read_tensors(paths["clip.safetensors"]))
    width = encoder.config.hidden_size
    if width != tokens.clip_width:
        raise WeightsError(f"{paths['clip.safetensors']}: gives tokens of width {width}, mia takes {tokens.clip_width}")
    return DiffusionNetworks(unet, tokens, vae, read_card(folder).prediction), encoder


def save_small_model(
    folder: Path, networks: DiffusionNetworks, unet_config: dict[str, Any], encoder: CLIPVisionModel, card: ModelCard
) -> None:
    """Write the folder, its card last: a folder without one is no model. Raises OutputError."""
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
    vae = {key: value for key, value in networks.vae.config.items() if not key.startswith("_")}
    for name, values in (("unet", unet_config), ("clip", encoder.config.to_diff_dict()), ("vae", vae)):
        with atomic_path(folder / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")
    write_card(folder, replace(card, prediction=networks.prediction))
