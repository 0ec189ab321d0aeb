"""Figures and a sheet of the mouth network on people that it never saw."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from mimaface_cli.builders.mouth478.mouth_batches import MouthClip, read_pair
from mimaface_cli.builders.part_torch import PartUNet
from mimaface_cli.builders.part_training import measure_unsteadiness
from mimaface_cli.engines.mesh.face_part import change_window
from mimaface_cli.engines.mesh.mouth_crop import MOUTH

_OPEN = 0.01  # share of the crop from which an opening counts as open
_SHEET_COLUMNS, _SHEET_ROWS = 6, 12


@dataclass(frozen=True)
class MouthFigures:
    """Means over held-out samples with a closed mouth as the photo; PSNR in dB.

    Attributes:
        count: Number of frames.
        crop: PSNR of the whole crop.
        opening: PSNR inside the rendered lips of open mouths.
        sharpness: Gradients around the lips relative to those of the truth.
        unsteadiness: Mean difference of the changes from frame to frame, in levels of 255.
    """

    count: int
    crop: float
    opening: float
    sharpness: float
    unsteadiness: float


def evaluate_network(network: PartUNet, people: list[list[MouthClip]]) -> tuple[MouthFigures, MouthFigures]:
    """Measure the network and the rendered mouths that it changes.

    Args:
        network: The network.
        people: The clips of each held-out person.

    Returns:
        The figures of the network's mouths and of the engine's.
    """
    learned, painted = [], []
    for clip in (clip for clips in people for clip in clips):
        for k in np.flatnonzero(clip.samples.closed[clip.samples.photo]):
            planes, truth, result, flow = _run(network, clip, int(k))
            learned.append(_measure(result, truth, planes[:, 3], flow))
            painted.append(_measure(planes[:, :3], truth, planes[:, 3], flow))
    return _average(learned), _average(painted)


def _run(network: PartUNet, clip: MouthClip, k: int) -> tuple[torch.Tensor, ...]:
    """Return planes (2, 8, 128, 192), truths and results (2, 3, 128, 192), and the flow of a pair."""
    planes, conditions, truths, _, flow = (
        torch.from_numpy(np.ascontiguousarray(part)) for part in read_pair(clip.samples, k)[:5]
    )
    with torch.no_grad():
        change = network(planes, conditions)
    result = (planes[:, :3] + torch.from_numpy(change_window(MOUTH)) * change).clamp(-1, 1)
    return planes, truths, result, flow


def _measure(result: torch.Tensor, truth: torch.Tensor, opening: torch.Tensor, flow: torch.Tensor) -> list[float]:
    """Return mean squared errors of crop and opening (nan if closed), both gradients around the lips, unsteadiness."""
    error = (result - truth).square().mean(1)
    inside = opening > 0.5
    is_open = float(opening.mean()) > _OPEN
    near = functional.max_pool2d(opening[:, None], 17, 1, 8)[:, 0] > 0
    gradients = [float(_gradient(image)[near].mean()) if near.any() else np.nan for image in (result, truth)]
    steady = 127.5 * float(measure_unsteadiness(result, truth, flow[None]))
    return [float(error.mean()), float(error[inside].mean()) if is_open else np.nan, *gradients, steady]


def _gradient(image: torch.Tensor) -> torch.Tensor:
    """Return the squared gradient (N, H, W) of the gray values."""
    gray = image.mean(1)
    across = functional.pad(gray[:, :, 1:] - gray[:, :, :-1], (0, 1))
    down = functional.pad(gray[:, 1:] - gray[:, :-1], (0, 0, 0, 1))
    return across.square() + down.square()


def _average(rows: list[list[float]]) -> MouthFigures:
    values = np.array(rows)
    crop, opening = (-10 * np.log10(values[:, k] / 4) for k in (0, 1))
    sharpness = np.nanmean(values[:, 2]) / np.nanmean(values[:, 3])
    return MouthFigures(
        2 * len(rows),
        float(np.nanmean(crop)),
        float(np.nanmean(opening)),
        float(np.sqrt(sharpness)),
        float(values[:, 4].mean()),
    )


def draw_sheet(network: PartUNet, people: list[list[MouthClip]]) -> np.ndarray:
    """Draw a sheet, (H, W, 3) uint8: photo, engine, network and truth of the widest openings, one below the other."""
    fours = []
    for clips in people:
        for clip in clips:
            samples = clip.samples
            closed = np.flatnonzero(samples.closed[samples.photo])
            if not len(closed):
                continue
            k = int(closed[samples.openings[closed, 0].mean((1, 2)).argmax()])
            planes, truth, result, _ = _run(network, clip, k)
            fours.append([_to_image(image[0]) for image in (planes[:, 4:7], planes[:, :3], result, truth)])
    rows = [np.vstack(four) for four in fours[: _SHEET_COLUMNS * _SHEET_ROWS]]
    blank = np.zeros_like(rows[0])
    rows += [blank] * (-len(rows) % _SHEET_COLUMNS)
    return np.vstack([np.hstack(rows[k : k + _SHEET_COLUMNS]) for k in range(0, len(rows), _SHEET_COLUMNS)])


def _to_image(colors: torch.Tensor) -> np.ndarray:
    return ((colors + 1) * 127.5 + 0.5).clamp(0, 255).byte().permute(1, 2, 0).numpy()
