"""Alpha matting, on synthetic layers with known opacity and on the example portrait."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from mimaface_cli.face.closed_form_matting import solve_alpha
from mimaface_cli.face.color_lines import ColorLines, apply_lines
from mimaface_cli.face.face_outline import draw_face_hull
from mimaface_cli.face.matting import build_trimap, matte_frame, matte_person
from mimaface_cli.face.segmentation import segment_by_head

GREEN, MAGENTA = np.array([40, 200, 60.0]), np.array([255, 0, 255.0])


@dataclass(frozen=True)
class Layers:
    """A hairy disc over a background.

    Attributes:
        image: (H, W, 3) uint8, the composite.
        alpha: (H, W) true opacity.
        foreground: (H, W, 3) true colors of the disc.
        confidence: (H, W) float32, a coarse mask without the hair.
    """

    image: np.ndarray
    alpha: np.ndarray
    foreground: np.ndarray
    confidence: np.ndarray


def make_layers(size: int, background: np.ndarray = GREEN) -> Layers:
    rng = np.random.default_rng(5)
    fine = 2 * size
    center, radius = fine / 2, fine / 4
    alpha = np.zeros((fine, fine), np.uint8)
    cv2.circle(alpha, (fine // 2, fine // 2), fine // 4, (255,), -1)
    for angle in rng.uniform(0, 2 * np.pi, 160):
        start = center + 0.95 * radius * np.array([np.cos(angle), np.sin(angle)])
        tip = center + rng.uniform(1.02, 1.1) * radius * np.array(
            [np.cos(angle + rng.normal(0, 0.06)), np.sin(angle + rng.normal(0, 0.06))]
        )
        cv2.line(alpha, start.astype(int).tolist(), tip.astype(int).tolist(), (255,), max(1, size // 200), cv2.LINE_AA)
    opacity = cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA) / 255.0
    rows, columns = np.mgrid[:size, :size] / size
    shade = 0.8 + 0.3 * rows + 0.05 * np.sin(40 * columns)
    foreground = shade[..., None] * [110, 70, 50.0]
    behind = (0.9 + 0.2 * columns)[..., None] * background
    noise = rng.normal(0, 1.5, (size, size, 3))
    image = opacity[..., None] * foreground + (1 - opacity[..., None]) * behind + noise
    disc = np.hypot(rows - 0.5, columns - 0.5) < 0.26
    confidence = cv2.GaussianBlur(disc.astype(np.float32), (0, 0), size / 100)
    return Layers(np.clip(image, 0, 255).astype(np.uint8), opacity, foreground, confidence)


@pytest.fixture(scope="module")
def layers() -> Layers:
    return make_layers(400)


def compose(foreground: np.ndarray, alpha: np.ndarray, color: np.ndarray) -> np.ndarray:
    return foreground * alpha[..., None] + color * (1 - alpha[..., None])


def band(layers: Layers) -> np.ndarray:
    """Return the mask of the ring in which the hair lies."""
    grown = cv2.dilate((layers.alpha > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
    core = cv2.erode((layers.alpha == 1).astype(np.uint8), np.ones((5, 5), np.uint8))
    return (grown > 0) & (core == 0)


# --- photos


def test_matte_recovers_hair_that_the_mask_misses(layers):
    matte = matte_person(layers.image, layers.confidence)
    ring = band(layers)
    mask_error = np.abs(layers.confidence - layers.alpha)[ring].mean()
    assert np.abs(matte.alpha - layers.alpha)[ring].mean() < min(0.35 * mask_error, 0.06)


def test_matte_of_a_large_photo_is_as_accurate():
    """Larger than the resolution at which alpha is solved."""
    layers = make_layers(900)
    matte = matte_person(layers.image, layers.confidence)
    ring = band(layers)
    assert np.abs(matte.alpha - layers.alpha)[ring].mean() < 0.15
    assert matte.alpha.shape == (900, 900) and matte.foreground.shape == (900, 900, 3)


def test_matte_is_exact_away_from_the_outline(layers):
    matte = matte_person(layers.image, layers.confidence)
    assert matte.alpha.dtype == np.float32
    assert (matte.alpha[170:230, 170:230] == 1).all() and (matte.alpha[:40] == 0).all()
    assert np.array_equal(matte.foreground[170:230, 170:230], layers.image[170:230, 170:230])
    assert np.array_equal(matte.background[:40], layers.image[:40])


def test_foreground_carries_no_background_color(layers):
    matte = matte_person(layers.image, layers.confidence)
    soft = (matte.alpha > 0.15) & (matte.alpha < 0.95)
    assert soft.sum() > 500

    def greenness(colors: np.ndarray) -> float:
        return float((colors[..., 1] - (colors[..., 0] + colors[..., 2]) / 2)[soft].mean())

    image, foreground = layers.image.astype(float), matte.foreground.astype(float)
    assert greenness(image) > 30
    assert abs(greenness(foreground) - greenness(layers.foreground)) < 0.2 * greenness(image)


def test_composite_over_another_background_is_near_the_truth(layers):
    matte = matte_person(layers.image, layers.confidence)
    ring = band(layers)
    truth = compose(layers.foreground, layers.alpha, MAGENTA)
    error = np.abs(compose(matte.foreground.astype(float), matte.alpha, MAGENTA) - truth)[ring].mean()
    naive = np.abs(compose(layers.image.astype(float), layers.confidence, MAGENTA) - truth)[ring].mean()
    assert error < 0.35 * naive


def test_layers_explain_the_photo(layers):
    matte = matte_person(layers.image, layers.confidence)
    opacity = matte.alpha[..., None]
    rebuilt = opacity * matte.foreground + (1 - opacity) * matte.background
    assert np.abs(rebuilt - layers.image).max() < 25
    assert np.abs(rebuilt - layers.image).mean() < 0.5


@pytest.mark.parametrize("background", [np.array([255, 255, 255.0]), np.array([110, 70, 50.0]), np.zeros(3)])
def test_flat_and_similar_backgrounds_give_finite_mattes(background):
    layers = make_layers(200, background)
    layers.image[layers.alpha == 0] = np.clip(background, 0, 255)
    matte = matte_person(layers.image, layers.confidence)
    assert np.isfinite(matte.alpha).all() and matte.alpha.min() >= 0 and matte.alpha.max() <= 1
    assert matte.alpha[:10].max() == 0 and matte.alpha[100, 100] == 1


def test_white_background_leaves_no_specks():
    """Rounding errors of float32 once grew into specks on flat white."""
    layers = make_layers(400, np.array([255, 255, 255.0]))
    layers.image[layers.alpha == 0] = 255
    matte = matte_person(layers.image, layers.confidence)
    empty = cv2.dilate((layers.alpha > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    assert matte.alpha[empty].max() < 0.15


@pytest.mark.parametrize(("level", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_photo_without_an_outline(layers, level, expected):
    matte = matte_person(layers.image, np.full(layers.alpha.shape, level, np.float32))
    assert (matte.alpha == expected).all()
    assert np.array_equal(matte.foreground, layers.image) and np.array_equal(matte.background, layers.image)


@pytest.mark.parametrize("shape", [(1, 1), (2, 30), (30, 2), (9, 7)])
@pytest.mark.parametrize("matte", [matte_person, matte_frame])
def test_tiny_photo_does_not_crash(shape, matte):
    rng = np.random.default_rng(2)
    image = rng.integers(0, 255, (*shape, 3), np.uint8)
    result = matte(image, rng.random(shape, np.float32))
    assert result.alpha.shape == shape and np.isfinite(result.alpha).all()
    assert result.foreground.shape == image.shape and result.foreground.dtype == np.uint8


def test_trimap_is_wide_at_the_hair_and_narrow_at_the_shoulders(portrait_image, portrait_face):
    points = portrait_face.points
    confidence = segment_by_head(portrait_image, points)
    trimap = build_trimap(confidence, points)
    unknown = trimap == 0.5
    chin = int(points[152, 1])
    edges = np.abs(np.diff((confidence > 0.5).astype(int), axis=1)).sum(1)
    rows = np.arange(len(trimap))
    hair = (rows < chin - 20) & (edges > 0)
    body = (rows > chin + 110) & (edges > 0)
    assert hair.any() and body.any()
    assert (unknown.sum(1)[hair] / edges[hair]).mean() > 1.5 * (unknown.sum(1)[body] / edges[body]).mean()


def test_face_is_opaque_even_if_the_mask_is_not(portrait_image, portrait_face):
    points = portrait_face.points
    confidence = segment_by_head(portrait_image, points) * 0.7
    matte = matte_person(portrait_image, confidence, points)
    face = draw_face_hull(points, confidence.shape).astype(np.uint8)
    assert (matte.alpha[cv2.erode(face, np.ones((25, 25), np.uint8)) > 0] == 1).all()


def test_small_hole_of_the_mask_is_filled_and_a_large_one_is_not(layers):
    confidence = layers.confidence.copy()
    confidence[195:205, 195:205] = 0
    assert build_trimap(confidence)[200, 200] == 1
    confidence[140:260, 140:260] = 0
    assert build_trimap(confidence)[200, 200] == 0


# --- the solver


def explicit_laplacian(image: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Return the dense matting Laplacian, window by window, from its definition."""
    height, width = image.shape[:2]
    colors = image.reshape(-1, 3) / 255.0
    laplacian = np.zeros((height * width, height * width))
    for row in range(height):
        for column in range(width):
            rows = np.arange(max(0, row - radius), min(height, row + radius + 1))
            columns = np.arange(max(0, column - radius), min(width, column + radius + 1))
            window = (rows[:, None] * width + columns).ravel()
            centered = colors[window] - colors[window].mean(0)
            covariance = centered.T @ centered / len(window) + epsilon * np.eye(3)
            affinity = (1 + centered @ np.linalg.solve(covariance, centered.T)) / len(window)
            laplacian[np.ix_(window, window)] += np.eye(len(window)) - affinity
    return laplacian


def test_box_filters_multiply_with_the_matting_laplacian():
    rng = np.random.default_rng(8)
    image = rng.integers(0, 255, (9, 11, 3), np.uint8)
    values = rng.random((9, 11), np.float32)
    expected = (explicit_laplacian(image, 2, 1e-3) @ values.ravel()).reshape(values.shape)
    assert np.allclose(ColorLines(image, 2, 1e-3).apply_laplacian(values), expected, atol=1e-3)


def test_fitted_lines_reproduce_a_linear_function_at_a_higher_resolution():
    rng = np.random.default_rng(4)
    large = cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(large, (32, 32), interpolation=cv2.INTER_AREA)
    weights = np.array([0.3, 0.5, 0.2])
    values = (small / 255.0 @ weights).astype(np.float32)
    result = apply_lines(ColorLines(small, 2, 1e-6).fit(values), large)
    assert np.abs(result - large / 255.0 @ weights).max() < 0.02


def test_solver_keeps_known_pixels_and_solves_a_step():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 25:] = [200, 180, 160]
    trimap = np.full((40, 60), 0.5, np.float32)
    trimap[:, :10], trimap[:, 50:] = 0, 1
    alpha = solve_alpha(image, trimap, np.full((40, 60), 0.5, np.float32))
    assert (alpha[:, :10] == 0).all() and (alpha[:, 50:] == 1).all()
    assert alpha[:, 10:23].max() < 0.1 and alpha[:, 27:50].min() > 0.9


# --- video


def test_frame_matte_follows_the_outline(layers):
    matte = matte_frame(layers.image, layers.confidence)
    ring = band(layers)
    mask_error = np.abs(layers.confidence - layers.alpha)[ring].mean()
    assert np.abs(matte.alpha - layers.alpha)[ring].mean() < 0.8 * mask_error
    assert (matte.alpha[170:230, 170:230] == 1).all() and (matte.alpha[:60] == 0).all()
    soft = (matte.alpha > 0.15) & (matte.alpha < 0.95)
    image_green = layers.image.astype(float)[soft][:, 1].mean()
    true_green = layers.foreground[soft][:, 1].mean()
    assert abs(matte.foreground[soft][:, 1].mean() - true_green) < 0.6 * abs(image_green - true_green)
