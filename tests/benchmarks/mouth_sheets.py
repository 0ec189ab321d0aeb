"""Contact sheets of the mouth benchmark."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.apps.source_loading import load_portrait
from tests.benchmarks.mouth_portraits import SHAPES, make_track, render_track
from tests.benchmarks.mouth_reenactment import Redrawing
from tests.benchmarks.mouth_rendering import ClipView
from tests.benchmarks.quality_measures import MOUTH_OUTLINE, eye_distance, landmark_box

PORTRAIT_SIDE = 1280  # pixels, longest side of the portraits
MOUTH_TILE, FACE_TILE = 420, 480  # pixels; larger mouths and faces are scaled down
LEAST_TILE = 160  # pixels; smaller mouths are enlarged
COLUMNS = 6
TALKING_FRAMES = 16  # consecutive frames of a clip
LARGE_SIDE = 1000  # pixels; clips from this size get a sheet of whole faces
FACE_FRAMES = 3
_LABEL_ROWS = 18  # pixels above a tile


def save_portrait_sheets(path: Path, mouth: str, folder: Path) -> np.ndarray:
    """Write the sheets of mouths and of faces of a portrait in all SHAPES.

    Args:
        path: The photo.
        mouth: How the engine renders the mouth.
        folder: Folder for NAME-mouths.png and NAME-faces.png.

    Returns:
        A row of small mouths for an overview, (H, W, 3) uint8.
    """
    portrait = load_portrait(path).limited(PORTRAIT_SIDE)
    shapes = [shape for shape in SHAPES.values() if shape]
    frames = [portrait.image[..., :3], *render_track(portrait, make_track(portrait, shapes), mouth, PORTRAIT_SIDE)]
    eyes = float(eye_distance(portrait.points[None])[0])
    mouth_points = portrait.points[list(MOUTH_OUTLINE)]
    lowered = np.vstack([mouth_points, mouth_points + np.array([0, 0.3 * eyes])])  # room for an open jaw
    mouths = _cut(frames, landmark_box(lowered, 0.25 * eyes, frames[0].shape), LEAST_TILE, MOUTH_TILE)
    faces = _cut(frames, landmark_box(portrait.points, 0.2 * eyes, frames[0].shape), 0, FACE_TILE)
    for name, tiles in (("mouths", mouths), ("faces", faces)):
        save_sheet(folder / f"{path.stem}-{name}.png", arrange_tiles(tiles, list(SHAPES), COLUMNS))
    return np.hstack([cv2.resize(tile, (LEAST_TILE, LEAST_TILE), interpolation=cv2.INTER_AREA) for tile in mouths])


def save_overview(rows: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write portraits.png, with a row of mouths for each portrait."""
    labeled = [_label(row, name[-40:]) for name, row in rows.items()]
    if labeled:
        save_sheet(folder / "portraits.png", np.vstack(labeled))


def save_clip_sheet(clip: ClipView, results: Mapping[str, Redrawing], folder: Path) -> None:
    """Write NAME-talking.png: the frames in which a clip's mouth moves most, the clip above, the results below.

    Clips from LARGE_SIDE pixels get NAME-face.png as well: the widest, the middle and the most closed of these frames,
    at full size.

    Args:
        clip: The clip.
        results: The clip as it was redrawn, by the name of the mouth.
        folder: Folder for the sheets.
    """
    start = find_talking_start(clip.gaps)
    chosen = range(start, min(start + TALKING_FRAMES, len(clip.frames)))
    shown = [points for k in chosen if (points := clip.points[k]) is not None]
    known = np.vstack([points[list(MOUTH_OUTLINE)] for points in shown])
    eyes = float(eye_distance(np.stack(shown)).mean())
    box = landmark_box(known, 0.25 * eyes, clip.frames[0].shape)
    lines = {"truth": clip.frames} | {name: result.frames for name, result in results.items()}
    blocks = []
    for part in np.array_split(np.array(chosen), 2):
        for name, frames in lines.items():
            tiles = _cut([frames[k] for k in part], box, LEAST_TILE, MOUTH_TILE)
            blocks.append(arrange_tiles(tiles, [f"{name} {k}" for k in part], len(part)))
    width = max(block.shape[1] for block in blocks)
    blocks = [np.pad(block, ((0, 0), (0, width - block.shape[1]), (0, 0))) for block in blocks]
    save_sheet(folder / f"{clip.name}-talking.png", np.vstack(blocks))
    if min(clip.size) >= LARGE_SIDE:
        by_gap = sorted((k for k in chosen if np.isfinite(clip.gaps[k])), key=lambda k: clip.gaps[k])
        spread = [by_gap[k] for k in np.linspace(len(by_gap) - 1, 0, FACE_FRAMES).astype(int)]
        tiles = [frames[k] for frames in lines.values() for k in spread]
        labels = [f"{name} {k}" for name in lines for k in spread]
        save_sheet(folder / f"{clip.name}-face.png", arrange_tiles(tiles, labels, FACE_FRAMES))


def find_talking_start(gaps: Sequence[float] | np.ndarray) -> int:
    """Return the first of the TALKING_FRAMES consecutive frames in which the lip gap varies most.

    Args:
        gaps: Gap in each frame; NaN without a face.
    """
    values = np.asarray(gaps)
    starts = range(max(1, len(values) - TALKING_FRAMES + 1))
    spreads = [values[k : k + TALKING_FRAMES].std() for k in starts]
    return int(np.nanargmax(spreads)) if np.isfinite(spreads).any() else int(np.nanargmax(values))


def _cut(images: list[np.ndarray], box: tuple[slice, slice], least: int, most: int) -> list[np.ndarray]:
    """Return a box of each image, scaled to a width within limits in pixels."""
    height, width = images[0][box].shape[:2]
    scale = min(most, max(least, width)) / width
    size = round(width * scale), round(height * scale)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return [image[box] if scale == 1 else cv2.resize(image[box], size, interpolation=interpolation) for image in images]


def arrange_tiles(tiles: list[np.ndarray], labels: Sequence[str], columns: int) -> np.ndarray:
    """Return tiles of one size in rows, each under its label."""
    labeled = [_label(tile, label) for tile, label in zip(tiles, labels, strict=True)]
    labeled += [np.zeros_like(labeled[0])] * (-len(labeled) % columns)
    return np.vstack([np.hstack(labeled[k : k + columns]) for k in range(0, len(labeled), columns)])


def _label(tile: np.ndarray, text: str) -> np.ndarray:
    padded = np.pad(tile, ((_LABEL_ROWS, 0), (0, 0), (0, 0)))
    return cv2.putText(padded, text, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)


def save_sheet(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR))
