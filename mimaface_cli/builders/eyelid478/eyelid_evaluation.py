"""Figures and a sheet of the eyelid network on people that it never saw, with the shares of the runtime."""

from dataclasses import dataclass

import numpy as np
import torch

from mimaface_cli.builders.eyelid478.eyelid_batches import CLOSING, EyelidClip, read_pair
from mimaface_cli.builders.part_torch import PartUNet
from mimaface_cli.builders.part_training import measure_unsteadiness
from mimaface_cli.engines.mesh.eyelid_crop import EYELID, read_openings
from mimaface_cli.engines.mesh.face_part import change_window
from mimaface_cli.engines.mesh.learned_eyelid import weigh_closing

CLOSED = 0.25  # openness of a rendered eye, relative to the photo's, below which it counts as closed
CLOSURES = ("closed", "half closed", "open")
_SHEET_COLUMNS, _SHEET_ROWS = 6, 14
_EYE_VIEW = np.s_[..., 12:52, 12:84]  # the lids in the crop, for the sharpness


@dataclass(frozen=True)
class EyelidFigures:
    """Means over held-out frames of one closure.

    Attributes:
        count: Number of frames.
        psnr: PSNR of the crop in dB.
        sharpness: Gradients of the lids relative to those of the truth.
        unsteadiness: Mean difference of the changes from frame to frame, in levels of 255.
    """

    count: int
    psnr: float
    sharpness: float
    unsteadiness: float


# Figures of corrected and of painted eyes by closure.
Figures = dict[str, tuple[EyelidFigures, EyelidFigures]]


def evaluate_eyelids(network: PartUNet, people: list[list[EyelidClip]]) -> Figures:
    """Measure the network and the rendered eyes that it changes; closures without samples are missing.

    Frames are skipped if the rendered eye closes but the clip's eye does not.

    Args:
        network: The network.
        people: The clips of each held-out person.
    """
    rows: dict[str, list[tuple[list[float], list[float]]]] = {closure: [] for closure in CLOSURES}
    for clip in (clip for clips in people for clip in clips):
        for k in (*clip.closing, *clip.open):
            closure = classify_closure(float(clip.samples.openness[k].mean()))
            planes, truths, result, flow = run_pair(network, clip, int(k))
            rows[closure].append((_measure(result, truths, flow), _measure(planes[:, :3], truths, flow)))
    return {
        closure: (_average([row[0] for row in found]), _average([row[1] for row in found]))
        for closure, found in rows.items()
        if found
    }


def classify_closure(openness: float) -> str:
    """Return the closure, one of `CLOSURES`, of an openness relative to the photo's."""
    return CLOSURES[0] if openness < CLOSED else CLOSURES[1] if openness < CLOSING else CLOSURES[2]


def run_pair(network: PartUNet, clip: EyelidClip, k: int) -> tuple[torch.Tensor, ...]:
    """Return planes (2, 8, 64, 96), truths and results (2, 3, 64, 96), and the flow of a pair."""
    planes, conditions, truths, flow = (
        torch.from_numpy(np.ascontiguousarray(part)) for part in read_pair(clip.samples, k)
    )
    with torch.no_grad():
        change = network(planes, conditions)
    shares = torch.tensor([weigh_closing(*read_openings(row)) for row in clip.samples.conditions[k]])
    weight = shares[:, None, None, None] * torch.from_numpy(change_window(EYELID))
    return planes, truths, (planes[:, :3] + weight * change).float().clamp(-1, 1), flow


def _measure(result: torch.Tensor, truths: torch.Tensor, flow: torch.Tensor) -> list[float]:
    """Return PSNR, both gradients, and unsteadiness of a pair."""
    psnr = -10 * (((result - truths).square().mean((1, 2, 3)) / 4).clamp_min(1e-6)).log10().mean()
    gradients = [float(_gradient(image[_EYE_VIEW])) for image in (result, truths)]
    return [float(psnr), *gradients, 127.5 * float(measure_unsteadiness(result, truths, flow[None]))]


def _gradient(image: torch.Tensor) -> torch.Tensor:
    """Return the mean squared gradient of the gray values."""
    gray = image.mean(1)
    return (gray[:, :, 1:] - gray[:, :, :-1]).square().mean() + (gray[:, 1:] - gray[:, :-1]).square().mean()


def _average(rows: list[list[float]]) -> EyelidFigures:
    psnr, gradient, true_gradient, steady = np.mean(rows, 0).tolist()
    return EyelidFigures(2 * len(rows), psnr, float(np.sqrt(gradient / max(true_gradient, 1e-9))), steady)


def draw_sheet(network: PartUNet, people: list[list[EyelidClip]]) -> np.ndarray:
    """Draw a sheet, (H, W, 3) uint8: photo, engine, network and truth of closing eyes, one below the other."""
    fours = []
    for clip in (clip for clips in people for clip in clips):
        order = clip.closing[np.argsort(clip.samples.openness[clip.closing].mean(1))]
        for k in order[[0, len(order) // 2]] if len(order) else ():
            planes, truths, result, _ = run_pair(network, clip, int(k))
            fours.append(np.vstack([_to_image(image[0]) for image in (planes[:, 4:7], planes[:, :3], result, truths)]))
    fours = fours[: _SHEET_COLUMNS * _SHEET_ROWS] or [np.zeros((4 * EYELID.height, EYELID.width, 3), np.uint8)]
    fours += [np.zeros_like(fours[0])] * (-len(fours) % _SHEET_COLUMNS)
    return np.vstack([np.hstack(fours[k : k + _SHEET_COLUMNS]) for k in range(0, len(fours), _SHEET_COLUMNS)])


def _to_image(colors: torch.Tensor) -> np.ndarray:
    return ((colors + 1) * 127.5 + 0.5).clamp(0, 255).byte().permute(1, 2, 0).numpy()
