"""Random weights for the metric networks, installed as `weights pull` installs them."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from mimaface_cli.weights import manifest


def randomize_batch_norms(model: nn.Module) -> nn.Module:
    """Give the batch norms statistics and scales that change their input; return the model in evaluation mode."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.8, 1.5)
    return model.eval()


def install_weights(folder: Path, path: str, content: dict[str, torch.Tensor] | bytes) -> None:
    """Write a weights file with its manifest entry."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        target.write_bytes(content)
    else:
        save_file(content, target)
    info, digest = target.stat(), manifest.sha256_of(target)
    manifest.record(folder, path, manifest.ManifestEntry(info.st_size, info.st_mtime_ns, digest, "test", digest))
