"""Measure the resident memory of `weights import`, `weights pull` and a run at full size, with random weights.

    python -m tests.benchmarks.resident_memory FOLDER [--toy] [--dtype fp32 bf16]

FOLDER gets a release with random weights (12 GB), which the local hub serves, and installed copies of it. The anonymous
memory is what a process needs for itself; mapped files are memory that the system can take back at any time.
"""

import argparse
import json
import mmap
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from transformers import CLIPVisionModel

from mimaface_cli.engines.diffusion.clip_encoder import VIT_L_14
from mimaface_cli.engines.diffusion.mia import ReleaseMIA
from mimaface_cli.engines.diffusion.unet import VideoUNet
from mimaface_cli.face.curricularface import CurricularFace
from tests.benchmarks import diffusers_floor
from tests.benchmarks.diffusers_floor import build_random_network
from tests.conftest import ROOT
from tests.goldens.fill import fill
from tests.hub import Hub, serve
from tests.tiny import make_release, make_vae
from tests.tiny.release import save_clip_encoder, save_vae, write_release

PICKLED_VAE = "diffusion_pytorch_model.bin"  # the hub's safetensors file must have the hash of the real one
POLL = 0.02  # seconds between looks at a process
FRAMES = 4


def write_full_release(folder: Path) -> None:
    """Write a release and an autoencoder with random weights at the size of the real ones."""
    config = {**diffusers_floor.FULL, "block_out_channels": list(diffusers_floor.FULL["block_out_channels"])}

    def build(make):
        return build_random_network(make, "cpu", torch.float32)

    parts = {
        "identity": CurricularFace(),
        "tokens": build(lambda: ReleaseMIA(clip_width=VIT_L_14.hidden_size)),
        "image": build(lambda: VideoUNet({**config, "use_motion_module": False})),
        "video": build(lambda: VideoUNet(config)),
    }
    fill(parts["identity"], "identity")
    write_release(folder / "release", parts, config)
    encoder = build(lambda: CLIPVisionModel(VIT_L_14))
    save_clip_encoder(folder / "release/checkpoints/video/vision_encoder", encoder, VIT_L_14.to_dict())
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    vae_config = {**diffusers_floor.FULL_VAE, **blocks, "latent_channels": 4}
    vae_config["block_out_channels"] = list(vae_config["block_out_channels"])
    save_vae(folder / "sd-vae-ft-mse", build(lambda: AutoencoderKL(**vae_config)), vae_config)
    pickle_vae(folder)


def pickle_vae(folder: Path) -> None:
    """Write the autoencoder as a pickle, which the hub serves."""
    torch.save(load_file(folder / "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"), folder / PICKLED_VAE)


def measure(words: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run a command; return its seconds and the peaks of its memory in GB."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "mimaface_cli", *words], env=environment, cwd=ROOT)
    peaks: dict[str, int] = {}
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        for name, kilobytes in re.findall(r"(RssAnon|RssFile|VmHWM):\s+(\d+)", status):
            peaks[name] = max(peaks.get(name, 0), int(kilobytes))
        time.sleep(POLL)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}")
    names = {"RssAnon": "anonymous", "RssFile": "mapped", "VmHWM": "resident"}
    figures = {names[name]: round(1024 * value / 1e9, 2) for name, value in peaks.items()}
    return {"seconds": round(time.monotonic() - start, 1), **figures}


def fill_hub(hub: Hub, folder: Path) -> None:
    """Serve the release without reading it into memory."""

    def content(path: Path):
        if path.suffix == ".json":
            return path.read_bytes()
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    release = folder / "release"
    paths = [path for path in release.rglob("*") if path.is_file()]
    hub.repos["MIMAFace/MIMAFace"] = {path.relative_to(release).as_posix(): content(path) for path in paths}
    hub.repos["stabilityai/sd-vae-ft-mse"] = {
        "config.json": content(folder / "sd-vae-ft-mse/config.json"),
        PICKLED_VAE: content(folder / PICKLED_VAE),
    }


def main(arguments: list[str] | None = None) -> None:
    """Print a JSON line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--toy", action="store_true", help="weights of a thousandth of the size")
    parser.add_argument("--dtype", nargs="*", default=["fp32", "bf16"], help="precisions of the run")
    options = parser.parse_args(arguments)
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / PICKLED_VAE).exists():
        if options.toy:
            make_release(folder / "release")
            make_vae(folder / "sd-vae-ft-mse")
            pickle_vae(folder)
        else:
            write_full_release(folder)

    base = {name: value for name, value in os.environ.items() if not name.startswith("MIMAFACE")}
    base |= {"MIMAFACE_CACHE_DIR": str(folder / "cache"), "MIMAFACE_WEIGHTS_DIR": str(folder / "weights")}

    def show(name: str, words: list[str], environment: dict[str, str]) -> None:
        print(json.dumps({"name": name, **measure(words, environment)}), flush=True)

    show("import", ["weights", "import", str(folder / "release"), "mimaface", "-q"], base)
    show("import vae", ["weights", "import", str(folder / "sd-vae-ft-mse"), "vae", "-q"], base)
    with serve() as hub:
        fill_hub(hub, folder)
        pulled = base | hub.environment(folder) | {"MIMAFACE_WEIGHTS_DIR": str(folder / "pulled")}
        show("pull", ["weights", "pull", "mimaface", "vae", "-y", "-q"], pulled)
    run = ["animate", "examples/portrait.jpg", "examples/driver.mp4", "--engine", "diffusion", "--device", "cpu", "-q"]
    run += ["--steps", "1", "--clip-length", str(FRAMES), "--overlap", "1", "--no-cache"]
    run += ["--guidance", "1", "--duration", f"{FRAMES / 25}"]
    for dtype in options.dtype:
        words = [*run, "--dtype", dtype, "--overwrite", "-o", str(folder / f"{dtype}.mp4")]
        show(f"run {dtype}", words, base)


if __name__ == "__main__":
    main()
