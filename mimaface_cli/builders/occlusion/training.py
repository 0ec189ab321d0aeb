"""Training of the occlusion network on faces with drawn occluders."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mimaface_cli.builders.occlusion.counterexamples import change_appearance, change_style
from mimaface_cli.builders.occlusion.occluders import draw_occluder
from mimaface_cli.builders.occlusion.training_faces import TrainingData, TrainingFace
from mimaface_cli.face.face_outline import face_axes
from mimaface_cli.face.occlusion_network import LAYERS, SIDE, crop_face, crop_matrix

BATCH = 24
_LEARNING_RATE = 2e-3
_NORM_EPSILON = 1e-5
_OCCLUDED = 0.55  # share of faces with something in front
_OUTSIDE_WEIGHT = 0.3  # weight of pixels outside the face, where photos show unlabeled objects
_FALSE_ALARM_WEIGHT = 2.0  # weight of unoccluded pixels of the face


@dataclass(frozen=True)
class Sample:
    """One example.

    Attributes:
        planes: (6, 64, 64) float32 input of the network.
        target: (64, 64) float32, 1 where an occluder covers the face.
    """

    planes: np.ndarray
    target: np.ndarray


def make_sample(data: TrainingData, rng: np.random.Generator, kind: float | None = None) -> Sample:
    """Make a random example.

    Args:
        data: Faces, textures and hands.
        rng: Random numbers.
        kind: Random number 0 to 1 that decides whether the face is occluded, or None.
    """
    face = data.faces[rng.integers(len(data.faces))]
    if rng.random() < 0.5:
        face = TrainingFace(
            np.ascontiguousarray(face.colors[:, ::-1]), _mirror_points(face.points, face.colors.shape[1]), face.photo
        )
    colors = face.colors.astype(np.float32)
    change_appearance(colors, face, data, rng)
    coverage = np.zeros(colors.shape[:2], np.float32)
    if (rng.random() if kind is None else kind) < _OCCLUDED:
        layer, coverage = draw_occluder(face, data, rng)
        if rng.random() < 0.5:  # the shadow that it casts
            shift = rng.uniform(-6, 6, 2)
            shadow = cv2.warpAffine(coverage, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), coverage.shape[::-1])
            shadow = cv2.GaussianBlur(shadow, (0, 0), rng.uniform(1, 5))
            colors *= (1 - rng.uniform(0.1, 0.5) * shadow)[..., None]
        colors += coverage[..., None] * (layer - colors)
    image = change_style(colors, rng)
    points = _misplace_landmarks(face.points, rng)
    planes, _ = crop_face(image, points)
    matrix = crop_matrix(points)
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    soft = cv2.GaussianBlur(coverage, (0, 0), 0.8)
    target = cv2.warpAffine(soft, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    return Sample(planes, target)


def _mirror_points(points: np.ndarray, width: int) -> np.ndarray:
    """Mirror landmarks; the names of left and right do not matter to the regions of both eyes, lips and face."""
    return np.stack([width - points[:, 0], points[:, 1]], 1)


def _misplace_landmarks(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move landmarks as an occluder does: the whole face a little, mouth and chin more."""
    center, up, height = face_axes(points)
    right = np.array([-up[1], up[0]])
    below = np.maximum(-(points - center) @ up / height, 0)  # 0.5 at the chin
    moved = center + (points - center) * rng.normal(1, 0.03) + rng.normal(0, 0.012, 2) * height
    moved = moved - (below * rng.normal(0, 0.08) * height)[:, None] * up
    return moved + (below * rng.normal(0, 0.06) * height)[:, None] * right


class TrainableNetwork(nn.Module):
    """The network with batch normalization after each layer but the last."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {name: nn.Conv2d(i, o, size, padding=size // 2) for name, i, o, size in LAYERS}
        )
        self.norms = nn.ModuleDict({name: nn.BatchNorm2d(o, _NORM_EPSILON) for name, _, o, _ in LAYERS[:-1]})

    def _layer(self, name: str, values: Tensor) -> Tensor:
        return functional.relu(self.norms[name](self.convolutions[name](values)))

    def forward(self, planes: Tensor) -> Tensor:
        """Return logits (B, 64, 64) for inputs (B, 6, 64, 64)."""
        first = self._layer("down0", planes)
        second = self._layer("down1b", self._layer("down1a", functional.max_pool2d(first, 2)))
        third = self._layer("down2b", self._layer("down2a", functional.max_pool2d(second, 2)))
        values = self._layer("bottom_b", self._layer("bottom_a", functional.max_pool2d(third, 2)))
        for name, link in (("up2", third), ("up1", second), ("up0", first)):
            enlarged = functional.interpolate(values, scale_factor=2, mode="nearest")
            values = self._layer(name, torch.cat([enlarged, link], 1))
        return self.convolutions["head"](values)[:, 0]

    def export(self) -> dict[str, np.ndarray]:
        """Return kernels and biases with the normalization folded in, and the version."""
        arrays = {}
        for name, *_ in LAYERS:
            state = {key: value.detach() for key, value in self.convolutions[name].state_dict().items()}
            weight, bias = state["weight"], state["bias"]
            if name in self.norms:
                norm = {key: value.detach() for key, value in self.norms[name].state_dict().items()}
                factor = norm["weight"] / torch.sqrt(norm["running_var"] + _NORM_EPSILON)
                weight = weight * factor[:, None, None, None]
                bias = norm["bias"] + (bias - norm["running_mean"]) * factor
            arrays[f"{name}.weight"] = weight.numpy().astype(np.float16)
            arrays[f"{name}.bias"] = bias.numpy().astype(np.float32)
        digest = sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values()))
        arrays["version"] = np.array(digest.hexdigest()[:12])
        return arrays


def train_network(
    data: TrainingData, steps: int, seed: int, progress: Callable[[int, float], None]
) -> TrainableNetwork:
    """Train the network.

    Args:
        data: Faces, textures and hands.
        steps: Number of batches.
        seed: Seed of all random numbers.
        progress: Is called with the step and the smoothed loss.

    Returns:
        The exponential average of the network over the steps, in evaluation mode.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = TrainableNetwork()
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    smoothed = 0.0
    for step in range(steps):
        samples = [make_sample(data, rng) for _ in range(BATCH)]
        planes = torch.from_numpy(np.stack([sample.planes for sample in samples]))
        target = torch.from_numpy(np.stack([sample.target for sample in samples]))
        loss = measure_loss(network(planes), planes, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        value = loss.item()
        smoothed = value if step == 0 else 0.98 * smoothed + 0.02 * value
        progress(step + 1, smoothed)
    trained = TrainableNetwork()
    trained.load_state_dict(average.module.state_dict())
    return trained.eval()


def measure_loss(logits: Tensor, planes: Tensor, target: Tensor) -> Tensor:
    """Weighted cross-entropy: false alarms on the face count more, pixels outside it less."""
    inside = planes[:, 3] + 0.5
    weight = _OUTSIDE_WEIGHT + (1 - _OUTSIDE_WEIGHT) * inside
    weight = weight * (1 + (_FALSE_ALARM_WEIGHT - 1) * inside * (1 - target))
    losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (losses * weight).sum() / weight.sum()
