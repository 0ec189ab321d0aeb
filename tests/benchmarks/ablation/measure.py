"""The figures: motion and identity of single pictures under other people's motion, retrieval by ID tokens, and what
happens where clips meet. Rendered people have a true picture for every source and motion, whoever drives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mimaface_cli.builders.rendered_people.appearance import make_person
from mimaface_cli.builders.rendered_people.scene import make_scene, render_person
from mimaface_cli.engines.diffusion import ica
from mimaface_cli.engines.diffusion.denoise import ClipConditions, denoise
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.latents import decode_latents, encode_latents
from mimaface_cli.engines.diffusion.samplers import compute_training_sigmas, create_sampler
from mimaface_cli.evaluation.functional.distribution import Gaussian, frechet_distance
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.head_mesh import render_coefficients
from mimaface_cli.training.denoiser import Denoiser, split_motion
from mimaface_cli.training.losses import prediction_target
from tests.benchmarks.ablation import judges
from tests.benchmarks.ablation.judges import to_tensor
from tests.benchmarks.ablation.people import DRAWN, Clips, close_up, close_up_points

SETTINGS = DenoiseSettings(length=1, overlap=0, sampler="dpm++", steps=12, guidance=1.5)
LEVELS = (100, 300, 500, 700, 900)  # timesteps at which the objective is measured
WINDOW, PARTS = 8, 16  # frames of a window of the video distance, components it is measured in


@dataclass(frozen=True)
class Pairs:
    """P pairs of a source's picture and a stranger's motion: source, truth and render P×S×S×3; motion P×74; values of
    the judge's GROUPS that are true; person P.
    """

    source: np.ndarray
    truth: np.ndarray
    render: np.ndarray
    motion: np.ndarray
    values: np.ndarray
    person: np.ndarray


def make_pairs(model: Face478, clips: Clips, each: int) -> Pairs:
    """Every clip's source under `each` frames of other clips."""
    rows: list[tuple] = []
    for k, (person, take) in enumerate(clips.seeds):
        who, scene = make_person(model, person), make_scene(person * 1009 + take)
        for j in range(each):
            other = (k + 2 + 5 * j) % len(clips)
            motion = clips.motion[other, (7 * j + 3) % clips.frames].astype(np.float64)
            pose, expression, gaze = motion[:6], motion[6:70], motion[70:]
            drawn = render_person(model, who, scene, expression, pose, gaze, DRAWN)
            plain = render_coefficients(model, who.identity, who.texture, scene.illumination, expression, pose, DRAWN)
            values = np.concatenate([expression[:52], pose, gaze, close_up_points(drawn.points[judges.POINTS]).ravel()])
            rows.append((clips.source[k], close_up(drawn.image), close_up(plain), motion, values, person))
    return Pairs(*(np.stack(column) for column in zip(*rows)))


@torch.no_grad()
def generate(
    trained: Denoiser,
    vae: AutoencoderKL,
    prediction: str,
    source: np.ndarray,
    renders: np.ndarray,
    motion: np.ndarray,
    settings: DenoiseSettings,
    chunk: int = 32,
) -> np.ndarray:
    """B×N×S×S×3 pictures from sources B×S×S×3, renders B×N×S×S×3 and motion B×N×74, clip after clip as the engine does:
    the same noise every clip, the last latents of each carried to the next.
    """
    out = []
    for start in range(0, len(source), chunk):
        part = slice(start, start + chunk)
        appearance = trained.encode_appearance(to_tensor(source[part]))
        made, previous = [], None
        for piece in ica.plan_clips(renders.shape[1], settings.length, settings.overlap):
            frames = list(piece.frames)
            drawn = _encode(vae, renders[part][:, frames])
            tokens = trained.mia(appearance, split_motion(torch.from_numpy(motion[part][:, frames]).float()))
            carried = previous[:, :, -piece.carried :] if piece.carried else None
            noise = ica.sample_noise(settings.length, *drawn.shape[-2:], seed=settings.seed).expand_as(drawn)
            condition = ica.build_ica_channels(carried, settings.length, drawn)
            way = create_sampler(settings, prediction)
            conditions = ClipConditions(drawn, condition, tokens)
            steps = denoise(trained.unet, way, noise, conditions, settings, batched=False)
            for previous in steps:  # noqa: B007 - the last one is the clip
                pass
            made.append(previous[:, :, piece.new])
        latents = torch.cat(made, 2)
        out += [np.stack(list(decode_latents(vae, row[None], 16))) for row in latents]
    return np.stack(out)


def _encode(vae: AutoencoderKL, pictures: np.ndarray) -> Tensor:
    found = encode_latents(vae, to_tensor(pictures).flatten(0, 1), 32)[0]
    return found.unflatten(1, pictures.shape[:2]).transpose(0, 1)


def picture_figures(judge: judges.Judge, knower: judges.Knower, pairs: Pairs, made: np.ndarray) -> dict[str, float]:
    """Mean distances of what a judge reads in P pictures from what is true, identity similarity to the source, PSNR."""
    seen, true = judges.read(judge, made), judges.split(pairs.values)
    figures = {
        name: float(np.linalg.norm(seen[name] - true[name], axis=1).mean()) for name in ("expression", "pose", "gaze")
    }
    points = (seen["points"] - true["points"]).reshape(len(made), -1, 2) * made.shape[1]
    figures["landmarks_px"] = float(np.linalg.norm(points, axis=2).mean())
    figures["identity"] = float((judges.know(knower, made) * judges.know(knower, pairs.source)).sum(1).mean())
    error = ((made.astype(np.float32) - pairs.truth) ** 2).mean((1, 2, 3))
    figures["psnr"] = float((10 * np.log10(255**2 / np.maximum(error, 1e-4))).mean())
    return figures


def limits(judge: judges.Judge, knower: judges.Knower, vae: AutoencoderKL, pairs: Pairs) -> dict[str, dict[str, float]]:
    """floor: the true pictures (the judges' own errors); autoencoder: the same after it; mean_face: a judge that always
    answers the average; stranger: identity of another person's picture; paste: the source itself, unmoved.
    """
    coded = np.stack([next(decode_latents(vae, _encode(vae, picture[None, None]))) for picture in pairs.truth])
    out = {name: picture_figures(judge, knower, pairs, made) for name, made in
           (("true_picture", pairs.truth), ("autoencoder", coded), ("source_unmoved", pairs.source))}  # fmt: skip
    true, middle = judges.split(pairs.values), judges.split(judge.middle.numpy())
    out["average_guess"] = {
        name: float(np.linalg.norm(middle[name] - true[name], axis=1).mean()) for name in ("expression", "pose", "gaze")
    }
    known = judges.know(knower, pairs.truth)
    apart = pairs.person[:, None] != pairs.person[None]
    out["stranger"] = {"identity": float((known @ known.T)[apart].mean())}
    return out


@torch.no_grad()
def retrieval(trained: Denoiser, clips: Clips) -> dict[str, float]:
    """Top-1 of the class token: each person's frames of one take looked up among everybody's source of the other."""
    person, take = np.array(clips.seeds).T

    def tokens(pictures: np.ndarray) -> Tensor:
        parts = to_tensor(pictures).split(64)
        found = torch.cat([trained.encode_appearance(part)[:, 0] for part in parts])
        return torch.nn.functional.normalize(found, dim=1)

    gallery = tokens(clips.source[take == 1])
    frames = clips.pictures[take == 0][:, ::6]
    found = (tokens(frames.reshape(-1, *frames.shape[2:])) @ gallery.T).argmax(1).numpy()
    asked = np.repeat(person[take == 0], frames.shape[1])
    return {"top1": float((person[take == 1][found] == asked).mean()), "chance": 1 / int((take == 1).sum())}


@torch.no_grad()
def noise_error(
    trained: Denoiser, vae: AutoencoderKL, prediction: str, clips: Clips, levels: Sequence[int] = LEVELS
) -> dict[str, float]:
    """The training objective on people left out: mean squared error of what is predicted, by timestep, the noise the
    same for every model. What a model has learned shows here long before its pictures are good.
    """
    pick = np.arange(len(clips)), np.arange(len(clips)) * 7 % clips.frames
    latents, drawn = (_encode(vae, part[pick][:, None]) for part in (clips.pictures, clips.renders))
    tokens = trained.mia(
        trained.encode_appearance(to_tensor(clips.source)), split_motion(torch.from_numpy(clips.motion[pick][:, None]))
    )
    alphas = 1 / (1 + torch.from_numpy(compute_training_sigmas()) ** 2)
    figures = {}
    for level in levels:
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(level))
        noisy = alphas[level].sqrt() * latents + (1 - alphas[level]).sqrt() * noise
        sample = torch.cat([noisy, drawn, ica.build_ica_channels(None, 1, latents)], 1)
        target = prediction_target(prediction, latents, noise, alphas[level].expand(len(latents)))
        error = (trained.unet(sample, float(level), tokens) - target).square().mean()
        figures[f"noise_error_{level}"] = float(error)
    figures["noise_error"] = float(np.mean(list(figures.values())))
    return figures


def video_figures(judge: judges.Judge, made: np.ndarray, real: np.ndarray, borders: Sequence[int]) -> dict[str, float]:
    """Jumps from frame to frame of B×N×S×S×3 videos: at clip borders (frame numbers that start a clip) over those
    within clips, in pixels and landmarks, both relative to the true video's own; and the video distance.
    """
    inside = [k for k in range(1, made.shape[1]) if k not in borders]
    figures = {}
    for name, jumps in (("pixels", _pixel_jumps), ("landmarks", lambda v: _landmark_jumps(judge, v))):
        own, true = jumps(made), jumps(real)
        own_at, own_in = own[:, [k - 1 for k in borders]].mean(), own[:, [k - 1 for k in inside]].mean()
        true_at, true_in = true[:, [k - 1 for k in borders]].mean(), true[:, [k - 1 for k in inside]].mean()
        figures[f"{name}_border_ratio"] = float(own_at / own_in)
        figures[f"{name}_border_ratio_true"] = float(true_at / true_in)
        figures[f"{name}_inside"], figures[f"{name}_inside_true"] = float(own_in), float(true_in)
    figures["video_distance"] = video_distance(judge, made, real)
    error = ((made.astype(np.float32) - real) ** 2).mean((2, 3, 4))
    figures["psnr"] = float((10 * np.log10(255**2 / error)).mean())
    return figures


def video_distance(judge: judges.Judge, made: np.ndarray, real: np.ndarray) -> float:
    """Fréchet distance over windows of WINDOW frames: the judge's features, their mean and mean change in time, in the
    first PARTS principal components of the true videos.
    """
    rows = [_window_features(judge, videos) for videos in (real, made)]
    middle, scale = rows[0].mean(0), rows[0].std(0) + 1e-6
    rows = [(part - middle) / scale for part in rows]
    basis = np.linalg.svd(rows[0], full_matrices=False)[2][:PARTS].T
    both = []
    for part in rows:
        gaussian = Gaussian(basis.shape[1])
        gaussian.add(part @ basis)
        both.append(gaussian)
    return frechet_distance(*both)


def _window_features(judge: judges.Judge, videos: np.ndarray) -> np.ndarray:
    count, frames = videos.shape[:2]
    values = judges.features(judge, videos.reshape(-1, *videos.shape[2:])).reshape(count, frames, -1)
    rows = []
    for first in range(0, frames - WINDOW + 1, WINDOW // 2):
        part = values[:, first : first + WINDOW]
        rows.append(np.concatenate([part.mean(1), np.abs(np.diff(part, axis=1)).mean(1)], 1))
    return np.concatenate(rows)


def _pixel_jumps(videos: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(videos.astype(np.float32), axis=1)).mean((2, 3, 4))


def _landmark_jumps(judge: judges.Judge, videos: np.ndarray) -> np.ndarray:
    count, frames, size = videos.shape[:3]
    points = judges.read(judge, videos.reshape(-1, *videos.shape[2:]))["points"].reshape(count, frames, -1, 2) * size
    return np.linalg.norm(np.diff(points, axis=1), axis=-1).mean(-1)
