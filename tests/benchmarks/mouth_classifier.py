"""Realism part of the mouth benchmark: a small classifier that tells real mouths from rendered ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from mimaface_cli.face import topology
from tests.benchmarks.mouth_measures import warp_crop

CROP = (96, 64)  # width, height in pixels
CROP_EYES = 87.0  # distance of the eyes in a crop, pixels: the mouth is half as wide as the crop
FOLDS = 4  # of people
STEPS, BATCH, LEARNING_RATE = 400, 32, 2e-3
MIN_PEOPLE = 4


@dataclass(frozen=True)
class MouthCrops:
    """Crops of real and of rendered mouths.

    Attributes:
        images: (N, 64, 96, 3) uint8.
        is_real: (N,) bool.
        people: (N,) names.
        is_open: (N,) bool, whether the true mouth is open.
    """

    images: np.ndarray
    is_real: np.ndarray
    people: np.ndarray
    is_open: np.ndarray


def crop_mouth(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the upright crop (64, 96, 3) of a mouth, scaled by the distance of the eyes.

    Args:
        image: (H, W, 3) uint8.
        points: (478, 2) landmarks of the image.
    """
    first, second = points[33], points[263]
    length = np.linalg.norm(second - first)
    direction = (second - first) / length
    matrix = CROP_EYES / length * np.array([direction, [-direction[1], direction[0]]])
    lips = [topology.UPPER_LIP, topology.LOWER_LIP, topology.RIGHT_MOUTH_CORNER, topology.LEFT_MOUTH_CORNER]
    offset = np.array(CROP) / 2 - matrix @ points[lips].mean(0)
    return warp_crop(image, np.column_stack([matrix, offset]), CROP)


def classify(crops: MouthCrops) -> dict[str, float]:
    """Train a classifier on some people, test it on the others, and repeat until everybody was tested once.

    Returns:
        "accuracy" and "AUC" (area under the ROC curve) of all crops, and "open accuracy" and "open AUC" of those with
        an open mouth; "crops" and "people", the numbers of both. 0.5 means that real and rendered mouths look alike.
        Empty for fewer than MIN_PEOPLE people.
    """
    names = sorted(set(crops.people))
    if len(names) < MIN_PEOPLE:
        return {}
    scores = np.zeros(len(crops.people))
    for train, test in split_people(crops.people):
        network = _train(crops.images[train], crops.is_real[train])
        with torch.inference_mode():
            scores[test] = torch.cat([network(_to_tensor(crops.images[part]))[:, 0]
                                      for part in np.array_split(test, 1 + len(test) // 256)])  # fmt: skip
    values = {"crops": float(len(scores)), "people": float(len(names))}
    for prefix, chosen in (("", np.ones(len(scores), bool)), ("open ", crops.is_open)):
        is_real, chosen_scores = crops.is_real[chosen], scores[chosen]
        if is_real.any() and not is_real.all():
            values[prefix + "accuracy"] = float(((chosen_scores > 0) == is_real).mean())
            values[prefix + "AUC"] = area_under_curve(chosen_scores, is_real)
    return values


def split_people(people: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices for training and for testing; no person is in both."""
    names = np.random.default_rng(0).permutation(np.unique(people))
    for fold in range(FOLDS):
        is_test = np.isin(people, names[fold::FOLDS])
        yield np.flatnonzero(~is_test), np.flatnonzero(is_test)


def area_under_curve(scores: np.ndarray, is_positive: np.ndarray) -> float:
    """Return the probability that a positive has a higher score than a negative; ties count half.

    Args:
        scores: (N,).
        is_positive: (N,) bool.
    """
    differences = scores[is_positive][:, None] - scores[~is_positive]
    return float((differences > 0).mean() + (differences == 0).mean() / 2)


def _build_network() -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for after in (16, 32, 48, 64):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(before, 1))


def _to_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _train(images: np.ndarray, is_real: np.ndarray) -> nn.Sequential:
    """Train a network whose output is positive for real mouths."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        network = _build_network()
        optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, STEPS)
        real, rendered = np.flatnonzero(is_real), np.flatnonzero(~is_real)
        for _ in range(STEPS):
            chosen = np.concatenate([rng.choice(real, BATCH // 2), rng.choice(rendered, BATCH // 2)])
            batch = _to_tensor(np.stack([augment(images[k], rng) for k in chosen]))
            target = torch.from_numpy(is_real[chosen]).float()
            loss = nn.functional.binary_cross_entropy_with_logits(network(batch)[:, 0], target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    torch.set_num_threads(threads)
    return network.eval()


def augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a crop, mirrored at random, shifted by up to 3 pixels, with another brightness and contrast."""
    if rng.random() < 0.5:
        image = image[:, ::-1]
    shift = np.array([[1.0, 0, rng.integers(-3, 4)], [0, 1, rng.integers(-3, 4)]])  # whole pixels do not blur
    moved = cv2.warpAffine(np.ascontiguousarray(image), shift, CROP, borderMode=cv2.BORDER_REPLICATE)
    changed = (moved.astype(np.float32) - 128) * rng.uniform(0.85, 1.18) + 128 + rng.uniform(-15, 15)
    return np.clip(changed, 0, 255).astype(np.uint8)
