"""Readers of network weights, face models and manifests."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.hostile.reader import Reader

_UNET_CONFIG = b'{"block_out_channels": [320, 640], "cross_attention_dim": 768, "layers": {"a": [1, 2, 3]}}'
_MANIFEST = (
    b'{"version": 1, "files": {"vae.safetensors": {"size": 12, "mtime_ns": 3, "sha256": "00", "source": "x",'
    b' "source_sha256": "11"}}}'
)
_MODEL_CARD = (
    b'{"space": "face478", "name": "mini", "size": 128, "condition": "textured",'
    b' "settings": {"steps": 8, "guidance": 2.0},'
    b' "scores": {"mesh": {"psnr": 20.0, "ssim": 0.8}, "diffusion": {"psnr": 21.0}}, "about": {"data": "x"}}'
)


def _make_safetensors() -> bytes:
    import torch
    from safetensors.torch import save

    return save({f"layer.{index}.weight": torch.arange(12.0).reshape(3, 4) for index in range(6)}, {"heads": "2"})


def _make_pickle() -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save({"state_dict": {f"layer.{index}.weight": torch.ones(3, 4) for index in range(6)}}, buffer)
    return buffer.getvalue()


def _make_old_pickle() -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(
        {f"layer.{index}.weight": torch.ones(3, 4) for index in range(6)}, buffer, _use_new_zipfile_serialization=False
    )
    return buffer.getvalue()


def _read_network_file(path: Path) -> object:
    from mimaface_cli.weights.checkpoint_files import read_attention_heads, read_network

    read_attention_heads(path)
    return read_network(path, "inception")


def _check_config(path: Path) -> object:
    from mimaface_cli.weights.checkpoint_files import check_unconverted

    return check_unconverted(path, "unet config")


def _make_bfm() -> bytes:
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {"meanshape": np.zeros((1, 30)), "tri": np.ones((4, 3)), "keypoints": np.ones((1, 68))})
    return buffer.getvalue()


def _check_bfm(path: Path) -> object:
    from mimaface_cli.weights.checkpoint_files import check_unconverted

    return check_unconverted(path, "bfm09")


def _read_manifest(path: Path) -> object:
    from mimaface_cli.weights import manifest

    target = path.parent / manifest.FILE_NAME
    if target != path:
        path.replace(target)
    return manifest.read(path.parent)


def _read_lip_model_file(path: Path) -> object:
    from mimaface_cli.speech import lip_model_file

    return lip_model_file._read_lip_model.__wrapped__(path)


def _read_face_model(path: Path) -> object:
    from mimaface_cli.face import face478

    return face478._load.__wrapped__(path)


def _read_occlusion_network(path: Path) -> object:
    from mimaface_cli.face import occlusion_network

    return occlusion_network._load.__wrapped__(path)


def _make_mouth_network() -> bytes:
    from tests.engines.mesh.mouth_models import make_arrays

    buffer = io.BytesIO()
    np.savez(buffer, **make_arrays(channels=(4, 4, 4, 4)))
    return buffer.getvalue()


def _read_mouth_network(path: Path) -> object:
    from mimaface_cli.engines.mesh import part_network
    from mimaface_cli.engines.mesh.mouth_crop import MOUTH

    part_network._read.cache_clear()
    return part_network.load_network(MOUTH, path)


def _make_shipped(name: str) -> Callable[[], bytes]:
    path = Path(__file__).parents[2] / "weights" / name
    return path.read_bytes


def _read_model_card(path: Path) -> object:
    from mimaface_cli.engines.diffusion.card_verdict import judge_scores
    from mimaface_cli.engines.diffusion.denoise_settings import PRESETS
    from mimaface_cli.engines.diffusion.small_checkpoint import resolve_settings
    from mimaface_cli.weights.small_model import read_card

    card = read_card(path.parent)
    judge_scores(card.scores)
    return resolve_settings(card, PRESETS["release"])


WEIGHT_READERS = (
    Reader("safetensors", ".safetensors", _make_safetensors, _read_network_file),
    Reader("pickle", ".pth", _make_pickle, _read_network_file),
    Reader("old pickle", ".pth", _make_old_pickle, _read_network_file),
    Reader("bare pickle", ".pth", lambda: pickle.dumps({"a": [1, 2, "text", 3.5]}), _read_network_file),
    Reader("network config", ".json", lambda: _UNET_CONFIG, _check_config),
    Reader("face model mat", ".mat", _make_bfm, _check_bfm),
    Reader("face478", ".npz", _make_shipped("face478.npz"), _read_face_model),
    Reader("occlusion", ".npz", _make_shipped("occlusion.npz"), _read_occlusion_network),
    Reader("mouth network", ".npz", _make_mouth_network, _read_mouth_network),
    Reader("speech478", ".npz", _make_shipped("speech478.npz"), _read_lip_model_file),
    Reader("manifest", ".json", lambda: _MANIFEST, _read_manifest, ignores_damage=True),
    Reader("model card", ".json", lambda: _MODEL_CARD, _read_model_card, required_name="card.json"),
)
