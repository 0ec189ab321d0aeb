"""Estimators of the ablation: one of motion and landmarks, and one of identity, for rendered faces.

Both are trained on people and scenes that no model under test has seen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mimaface_cli.builders.rendered_people.appearance import make_person
from mimaface_cli.builders.rendered_people.random_motion import generate_motion
from mimaface_cli.builders.rendered_people.scene import make_scene, render_person
from mimaface_cli.face import topology
from mimaface_cli.face.face478 import Face478
from mimaface_cli.files import atomic_path
from tests.benchmarks.ablation.people import RENDER_SIZE, SIZE, crop_images, crop_points

# The landmarks to estimate.
POINTS = np.unique(
    np.concatenate([topology.OVAL[::3], topology.LEFT_EYE[::4], topology.RIGHT_EYE[::4], topology.OUTER_LIPS[::3],
                    topology.INNER_LIPS[::5], topology.LEFT_IRIS[:1], topology.RIGHT_IRIS[:1], [4, 1, 152, 105, 334]])
)  # fmt: skip
GROUPS = {"expression": 52, "pose": 6, "gaze": 4, "points": 2 * len(POINTS)}
FIRST_PERSON = 50_000  # first seed of the people for the estimators
PEOPLE, SCENES, FRAMES = 1000, 3, 4  # people, scenes of each person, frames of each scene
FRAME_STEP = 12  # frames of motion between two rendered frames
BATCH = 64

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass
class LabeledImages:
    """N rendered faces with their labels.

    Attributes:
        images: N×S×S×3 uint8 RGB.
        labels: N×sum(GROUPS): expression, pose, gaze, landmarks (in units of the image's side).
        person: N seeds.
    """

    images: np.ndarray
    labels: np.ndarray
    person: np.ndarray


def render_labeled_images(model: Face478, people: range, scenes: int, frames: int) -> LabeledImages:
    """Render cropped frames of people and label them."""
    images, labels, persons = [], [], []
    for seed in people:
        person = make_person(model, seed)
        for take in range(scenes):
            key = seed * 1009 + take
            scene, motion = make_scene(key), generate_motion(key, FRAME_STEP * frames)
            for k in range(0, FRAME_STEP * frames, FRAME_STEP):
                expression, pose, gaze = motion.expression[k], motion.pose[k], motion.gaze[k]
                render = render_person(model, person, scene, expression, pose, gaze, RENDER_SIZE)
                images.append(crop_images(render.image))
                labels.append(make_label(expression, pose, gaze, render.points))
                persons.append(seed)
    return LabeledImages(np.stack(images), np.stack(labels).astype(np.float32), np.array(persons))


def make_label(expression: np.ndarray, pose: np.ndarray, gaze: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Join expression, pose, gaze and landmarks (pixels of the render) in the order of GROUPS."""
    return np.concatenate([expression[:52], pose, gaze, crop_points(points[POINTS]).ravel()])


class FeatureEncoder(nn.Module):
    """Convolutional encoder: images (B, 3, S, S) in [-1, 1] to features (B, 256).

    Args:
        widths: Channels of each level; each level halves the size.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 80, 128)):
        super().__init__()
        layers, last = [], 3
        for width in widths:
            layers += [nn.Conv2d(last, width, 3, 2, 1), nn.BatchNorm2d(width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.SiLU()]
            last = width
        self.layers = nn.Sequential(*layers)
        self.out = nn.LazyLinear(256)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images."""
        return functional.silu(self.out(self.layers(images).flatten(1)))


class MotionEstimator(nn.Module):
    """Estimates GROUPS from an image, normalized; the buffers `mean` and `scale` undo the normalization."""

    def __init__(self) -> None:
        super().__init__()
        size = sum(GROUPS.values())
        self.encoder, self.head = FeatureEncoder(), nn.Linear(256, size)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def forward(self, images: Tensor) -> Tensor:
        """Estimate normalized values (B, sum(GROUPS))."""
        return self.head(self.encoder(images))


class IdentityEncoder(nn.Module):
    """Encodes a face to a unit vector (B, 96) of the person's identity.

    Args:
        people: Classes of the training; the parameter `classes` serves training alone.
    """

    def __init__(self, people: int = PEOPLE):
        super().__init__()
        self.encoder, self.out = FeatureEncoder(), nn.Linear(256, 96)
        self.classes = nn.Parameter(0.1 * torch.randn(people, 96))

    def forward(self, images: Tensor) -> Tensor:
        """Encode images."""
        return functional.normalize(self.out(self.encoder(images)), dim=1)


def to_tensor(images: np.ndarray) -> Tensor:
    """Convert …×S×S×3 uint8 to (…, 3, S, S) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, -3).float() / 127.5 - 1


def load_or_train_estimators(
    model: Face478, folder: Path, epochs: int = 16, log: Callable[[str], None] = print
) -> tuple[MotionEstimator, IdentityEncoder]:
    """Load both estimators from a folder; train and save those that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    motion_estimator, identity_encoder = MotionEstimator(), IdentityEncoder()
    networks = {folder / "motion_estimator.pt": motion_estimator, folder / "identity_encoder.pt": identity_encoder}
    with torch.no_grad():
        for network in networks.values():
            network(torch.zeros(2, 3, SIZE, SIZE))  # sets the size of the lazy layer
    if not all(path.exists() for path in networks):
        log("rendering people for the estimators")
        data = render_labeled_images(model, range(FIRST_PERSON, FIRST_PERSON + PEOPLE), SCENES, FRAMES)
        losses = make_motion_loss(motion_estimator, data), make_identity_loss(data)
        for (path, network), loss in zip(networks.items(), losses, strict=True):
            if not path.exists():
                log(f"training {path.stem}")
                _train(network, data, loss, epochs, log)
                with atomic_path(path) as temporary:
                    torch.save(network.state_dict(), temporary)
    for path, network in networks.items():
        network.load_state_dict(torch.load(path, weights_only=True))
        network.eval().requires_grad_(False)
    return motion_estimator, identity_encoder


def make_motion_loss(estimator: MotionEstimator, data: LabeledImages) -> Loss:
    """Set the estimator's normalization from the labels, and return its loss."""
    labels = torch.from_numpy(data.labels)
    estimator.mean.copy_(labels.mean(0))
    estimator.scale.copy_(labels.std(0).clamp_min(1e-3))
    # Values that never move have no weight; all groups have the same weight.
    is_moving = (labels.std(0) > 1e-3).float()
    weight = torch.cat([part / part.sum() for part in is_moving.split(list(GROUPS.values()))])
    target = (labels - estimator.mean) / estimator.scale

    def loss(network: nn.Module, images: Tensor, index: Tensor) -> Tensor:
        errors = functional.smooth_l1_loss(network(images), target[index], reduction="none", beta=0.5)
        return (errors * weight).sum(1).mean()

    return loss


def make_identity_loss(data: LabeledImages) -> Loss:
    """Return a cross entropy of the people with an additive margin of the cosine."""
    person = torch.from_numpy(data.person - FIRST_PERSON)

    def loss(network: nn.Module, images: Tensor, index: Tensor) -> Tensor:
        logits = network(images) @ functional.normalize(network.classes, dim=1).T
        margin = 0.2 * functional.one_hot(person[index], logits.shape[1])
        return functional.cross_entropy(24 * (logits - margin), person[index])

    return loss


def _augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Add random blur and noise, as a decoder's images have them, and change the brightness."""
    count = len(images)
    blurred = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.rand(count, 1, 1, 1, generator=rng) * (torch.rand(count, 1, 1, 1, generator=rng) < 0.5)
    images = images + share * (blurred - images)
    noise = torch.randn(images.shape, generator=rng) * 0.06 * torch.rand(count, 1, 1, 1, generator=rng)
    gain = 1 + 0.15 * (torch.rand(count, 1, 1, 1, generator=rng) - 0.5)
    return images * gain + noise


def _train(network: nn.Module, data: LabeledImages, loss: Loss, epochs: int, log: Callable[[str], None]) -> None:
    rng = torch.Generator().manual_seed(1)
    steps = epochs * (len(data.images) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.15)
    network.train()
    for step in range(steps):
        index = torch.randint(len(data.images), (BATCH,), generator=rng)
        value = loss(network, _augment(to_tensor(data.images[index.numpy()]), rng), index)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 500 == 0:
            log(f"{step}/{steps}: loss {float(value):.3f}")
    network.eval().requires_grad_(False)


@torch.no_grad()
def estimate_motion(estimator: MotionEstimator, images: np.ndarray) -> dict[str, np.ndarray]:
    """Estimate the values of N×S×S×3 images by group.

    Returns:
        In the units of the labels: expression N×52, pose N×6, gaze N×4, points N×2K in units of the image's side.
    """
    parts = [estimator(to_tensor(part)) * estimator.scale + estimator.mean for part in _split_batches(images)]
    return split_groups(torch.cat(parts).numpy())


@torch.no_grad()
def encode_identity(encoder: IdentityEncoder, images: np.ndarray) -> np.ndarray:
    """Return identity vectors N×96 of N×S×S×3 images."""
    return torch.cat([encoder(to_tensor(part)) for part in _split_batches(images)]).numpy()


@torch.no_grad()
def compute_features(estimator: MotionEstimator, images: np.ndarray) -> np.ndarray:
    """Return the motion estimator's last hidden features N×256."""
    return torch.cat([estimator.encoder(to_tensor(part)) for part in _split_batches(images)]).numpy()


def split_groups(values: np.ndarray) -> dict[str, np.ndarray]:
    """Split …×sum(GROUPS) into its groups."""
    ends = np.cumsum(list(GROUPS.values()))[:-1]
    return dict(zip(GROUPS, np.split(values, ends, axis=-1), strict=True))


def _split_batches(images: np.ndarray, size: int = 128) -> Iterator[np.ndarray]:
    return (images[k : k + size] for k in range(0, len(images), size))
