"""What a model in training makes of people it is never trained on: a sheet of pictures, figures and a loss, every so often.

Nothing of the training is touched by it: it draws from generators of its own, keeps no gradients, and is given the moving
average in place of the weights.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image as Picture
from torch import Tensor

from mimaface_cli.engines.diffusion import clip_encoder, ica, latents
from mimaface_cli.engines.diffusion.denoise import denoise
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.samplers import create_sampler
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.functional.image_quality import psnr, ssim
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.files import atomic_path, output_error, remove_partial_files
from mimaface_cli.training.config import Config
from mimaface_cli.training.losses import denoising_loss, prediction_target
from mimaface_cli.training.samples import Footage, to_range, token_inputs
from mimaface_cli.training.shards import StoredClip
from mimaface_cli.training.trainables import Denoiser, clip_pixels

PEOPLE = "validation.json"  # in a run's output: whom it is never trained on
CURVE, SHEETS = "validation.csv", "validation"  # in a stage's folder: figures, and a folder of pictures
TIMESTEPS = (100, 300, 500, 700, 900)  # at which the loss is measured
SINGLE = 3  # frames of a clip that stage 1 is shown
SIDE = 256  # pixels of a picture on the sheet at most
COLUMNS = ("photo", "render", "truth", "result")


@dataclass(frozen=True)
class Look:
    """One validation. sheet: (H, W, 3) uint8, rows of photo, render, truth and result."""

    step: int
    figures: dict[str, float]
    sheet: np.ndarray


def split_people(config: Config, footage: Footage) -> tuple[Footage, Footage]:
    """What is trained on, and the people left out: those that the output names, or, where a run begins, a share by the seed.

    Raises InputError where the output's list is damaged, or nobody would be left to train on.
    """
    names = {number: clip.identity for clip, number in zip(footage.clips, footage.person.tolist())}
    path, output = Path(config.output) / PEOPLE, Path(config.output)
    if path.exists():
        out = _read_people(path)
    elif any(output.glob("*/step-*.pt")):  # begun without: it has seen everybody
        out = set()
    else:
        count = int(config.validation.share * len(names) + 1e-9) if config.validation.every else 0
        order = np.random.default_rng((config.seed, 2)).permutation(sorted(names.values()))
        out = set(order[:count].tolist())
    held = np.array([names[number] in out for number in footage.person.tolist()])
    if held.all():
        raise InputError(
            f"{config.data}: all its people are left out for validation; prepare more, or lower validation.share"
        )
    return _where(footage, ~held), _where(footage, held)


def _where(footage: Footage, chosen: np.ndarray) -> Footage:
    """The clips for which the mask is true; people keep their numbers."""
    return replace(
        footage, clips=[c for c, taken in zip(footage.clips, chosen) if taken], person=footage.person[chosen]
    )


def keep_people(config: Config, held: Footage) -> None:
    """Note in the output whom this run is never trained on, if it is not there yet. Raises OutputError."""
    path = Path(config.output) / PEOPLE
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path.parent, error) from error
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"people": sorted({clip.identity for clip in held.clips})}, indent=1), "utf-8")


def _read_people(path: Path) -> set[str]:
    try:
        people = json.loads(path.read_text("utf-8"))["people"]
        if not isinstance(people, list) or not all(isinstance(name, str) for name in people):
            raise ValueError("no list of names")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: does not tell whom this run leaves out ({error}); choose another output") from error
    return set(people)


class Validator:
    """Makes the same clips of the people left out, with the same noise, whenever it is called.

    length: frames that the network takes at once, 1 in stage 1. context: what the training runs the network under.
    """

    def __init__(
        self,
        config: Config,
        held: Footage,
        length: int,
        vae: AutoencoderKL,
        alphas: Tensor,
        context: Callable[[], AbstractContextManager],
    ):
        settings, self.prediction = config.validation, config.model.prediction
        self.vae, self.alphas, self.context, self.every = vae, alphas, context, settings.every
        self.clips, self.features = _choose(held, settings.clips, config.seed), held.features
        self.single = length == 1
        video = config.video
        overlap = 0 if self.single or video.none_known == 1 else video.most_known or length // 4
        frames = SINGLE if self.single else length
        self.settings = DenoiseSettings(
            length=frames,
            overlap=overlap,
            sampler="dpm++",
            steps=settings.steps,
            guidance=settings.guidance,
            seed=config.seed,
        )

    def due(self, step: int, last: int) -> bool:
        return bool(self.clips) and (step % self.every == 0 or step == last)

    @torch.no_grad()
    def look(self, network: Denoiser, step: int) -> Look:
        """The clips as `network` makes them now; it is left in the mode it came in."""
        modes = [(module, module.training) for module in network.modules()]
        network.eval()
        try:
            found = [self._look_at(network, clip) for clip in self.clips]
        finally:
            for module, mode in modes:
                module.training = mode
        figures = {key: float(np.mean([value for one, _ in found for value in one[key]])) for key in found[0][0]}
        return Look(step, figures, _draw([row for _, rows in found for row in rows]))

    def _look_at(
        self, network: Denoiser, clip: StoredClip
    ) -> tuple[dict[str, list[float]], list[tuple[np.ndarray, ...]]]:
        """The figures of a clip's frames, and some of these as rows of the sheet."""
        device, length = self.vae.device, self.settings.length
        if self.single:
            numbers = np.linspace(0, clip.count - 1, length).round().astype(int).tolist()
        else:  # two clips that share frames, or as much of them as there is
            numbers = list(range(min(clip.count, 2 * length - self.settings.overlap)))
        photo, truths, renders = clip.photo(), [clip.frame(k) for k in numbers], [clip.render(k) for k in numbers]
        target, render = (latents.encode_latents(self.vae, _tensor(pictures)) for pictures in (truths, renders))
        seen = _tensor([photo]).to(device)
        given = {key: value[None].to(device) for key, value in token_inputs(clip, numbers, self.features).items()}
        with self.context():
            loss = self._loss(network, target[:, :, :length], render[:, :, :length], seen, **given)
            made = self._make(network, render, seen, **given)
        results = list(latents.decode_latents(self.vae, made.float()))
        figures = {"denoise": [loss]}
        figures["psnr"] = [psnr(result, truth) for result, truth in zip(results, truths)]
        figures["ssim"] = [ssim(result, truth) for result, truth in zip(results, truths)]
        if pretrained.missing_weights("lpips") is None:
            from mimaface_cli.evaluation.networks.lpips import lpips_distance

            model = pretrained.load_network("lpips")
            figures["lpips"] = [lpips_distance(model, result, truth) for result, truth in zip(results, truths)]
        chosen = np.linspace(0, len(numbers) - 1, SINGLE).round().astype(int)
        rows = [(photo, renders[k], truths[k], results[k]) for k in chosen]
        return figures, rows

    def _loss(
        self,
        network: Denoiser,
        target: Tensor,
        render: Tensor,
        photo: Tensor,
        motion: Tensor,
        identity: Tensor | None = None,
    ) -> float:
        """The prediction's mean squared error over TIMESTEPS, nothing given but the render: (1, 4, F, h, w) latents."""
        motion = motion[:, : target.shape[2]]
        noise = ica.sample_noise(*target.shape[2:], seed=self.settings.seed + 1).to(target)
        conditions = torch.cat([render, ica.build_ica_channels(None, target.shape[2], render)], 1)
        total = 0.0
        for number in TIMESTEPS:
            alpha, timestep = self.alphas[number], torch.tensor([number], device=target.device)
            noisy = alpha.sqrt() * target + (1 - alpha).sqrt() * noise
            predicted, _ = network(
                noisy, conditions, timestep, photo[None], motion, torch.ones_like(alpha)[None], identity
            )
            wanted = prediction_target(self.prediction, target, noise, alpha[None])
            total += float(denoising_loss(predicted, wanted, alpha[None]))
        return total / len(TIMESTEPS)

    def _make(
        self, network: Denoiser, render: Tensor, photo: Tensor, motion: Tensor, identity: Tensor | None = None
    ) -> Tensor:
        """The latents (1, 4, N, h, w) of a whole clip from its render's, as the engine makes them, ICA included."""
        settings, parts, last = self.settings, [], None
        seen = clip_encoder.encode_image_tokens(network.clip, clip_pixels(photo, network.clip.config.image_size))
        for clip in ica.plan_clips(render.shape[2], settings.length, settings.overlap):
            frames, carried = list(clip.frames), last[:, :, -clip.carried :] if clip.carried else None
            drawn, tokens = render[:, :, frames], network.tokens(seen, motion[:, frames], identity)
            noise = ica.sample_noise(settings.length, *render.shape[-2:], seed=settings.seed)
            condition = ica.build_ica_channels(carried, settings.length, drawn)
            *_, last = denoise(
                network.unet, create_sampler(settings, self.prediction), noise, drawn, condition, tokens, settings
            )
            parts.append(last[:, :, clip.new])
        return torch.cat(parts, 2)


def write_look(folder: Path, look: Look) -> None:
    """Add a validation to a stage's folder: its row, and its sheet under the step's name. Raises OutputError."""
    sheet = folder / SHEETS / f"step-{look.step:08d}.png"
    try:
        sheet.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise output_error(sheet.parent, error) from error
    with atomic_path(sheet) as temporary:
        Picture.fromarray(look.sheet).save(temporary)
    row = {"step": str(look.step), **{key: f"{value:.7g}" for key, value in look.figures.items()}}
    _write_rows(folder / CURVE, [*_read_rows(folder / CURVE), row])


def forget_after(folder: Path, step: int) -> None:
    """Remove the validations after a step, which a run that goes on from there makes again."""
    remove_partial_files(folder / CURVE)
    if (folder / CURVE).exists():
        _write_rows(folder / CURVE, [row for row in _read_rows(folder / CURVE) if int(row["step"]) <= step])
    for path in (folder / SHEETS).glob("*step-*.png"):
        number = re.fullmatch(r"step-(\d{8,})\.png", path.name)
        if number is None or int(number[1]) > step:
            path.unlink()


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """All of the CSV, whole or not at all; a figure that some rows lack is empty there."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _choose(held: Footage, count: int, seed: int) -> list[StoredClip]:
    """Some clips, the same for a seed, of as many people as there are."""
    order = np.random.default_rng((seed, 3)).permutation(len(held.clips)).tolist()
    met: Counter[int] = Counter()
    turns = []
    for k in order:
        turns.append(met[held.person[k]])
        met[held.person[k]] += 1
    return [held.clips[k] for _, k in sorted(zip(turns, order), key=lambda pair: pair[0])][:count]


def _tensor(pictures: list[np.ndarray]) -> Tensor:
    """S × S × 3 uint8 to (F, 3, S, S) in [-1, 1]."""
    return to_range(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))


def _draw(rows: list[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Rows of square pictures under a line that names the columns."""
    side = min(SIDE, rows[0][0].shape[0])
    small = [[cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in row] for row in rows]
    title = np.full((16, side * len(COLUMNS), 3), 255, np.uint8)
    for k, name in enumerate(COLUMNS):
        cv2.putText(title, name, (k * side + 3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([title, *(np.hstack(row) for row in small)])
