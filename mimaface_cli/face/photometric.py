"""How far a drawn face is from a picture, pixel by pixel, as normal equations of where its vertices lie: Lucas and
Kanade's method with a mesh. Every pixel of the skin counts, along its gradient and no further, and none of what lies
in the mouth and about the eyes.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy import sparse

from mimaface_cli.face import rasterizer as raster
from mimaface_cli.face import topology
from mimaface_cli.face.kernels import kernel

GRID = 2  # every such row's every such pixel is compared: neighbors err alike and add little
NOISE, LEAST_NOISE = 4.0, 1.5  # of what usually differs, gray levels: even so far apart they err alike
USUAL, LEAST_USUAL = 1.5, 1.5  # of it, gray levels: pixels that differ by more count less (Cauchy's loss)
_THIN = 0.5  # pixels: twice the area of a triangle of which nothing is told
_ROUNDING = 0.41  # gray levels, standard deviation between two pictures of bytes
FEW = 2  # rows and columns of the grid from one to the next of what tells how a picture is lit and what usually differs


@kernel
def _compare(face_index, barycentric, counted, drawn, picture, usual, curvature, slope):
    """Per triangle, of its three corners: curvature T×6×6 and slope T×6 of half the summed squares of picture − drawn,
    whose change is the picture's gradient times the movement. All but the picture are of the grid.
    """
    height, width = face_index.shape
    part = np.empty(6)
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            t = face_index[row, column]
            if t < 0 or not counted[t]:
                continue
            y, x = GRID * row, GRID * column
            across = 0.5 * (float(picture[y, x + 1]) - float(picture[y, x - 1]))
            down = 0.5 * (float(picture[y + 1, x]) - float(picture[y - 1, x]))
            difference = float(picture[y, x]) - float(drawn[row, column])
            weight = 1.0 / (1.0 + (difference / usual) ** 2)
            for corner in range(3):
                part[2 * corner] = across * barycentric[row, column, corner]
                part[2 * corner + 1] = down * barycentric[row, column, corner]
            for i in range(6):
                slope[t, i] += weight * difference * part[i]
                for j in range(i, 6):
                    curvature[t, i, j] += weight * part[i] * part[j]


@kernel
def _gather(triangles, places, curvature, slope, values, sums):
    """Add the triangles' parts up: curvature into the values of a sparse matrix at `places`, slope into sums."""
    for t in range(triangles.shape[0]):
        for i in range(6):
            sums[2 * triangles[t, i // 2] + i % 2] += slope[t, i]
            for j in range(6):
                values[places[t, i, j]] += curvature[t, min(i, j), max(i, j)]


def drawn_over(picture: np.ndarray, reference: np.ndarray, source: np.ndarray) -> np.ndarray:
    """A copy of a picture (S×S uint8) with the reference's pixels at `source` (S×S×2 float32; pixel centers at i) where
    that lies within it.
    """
    beside = {"borderMode": cv2.BORDER_TRANSPARENT, "dst": picture.copy()}
    return cv2.remap(reference, source, None, cv2.INTER_LINEAR, **beside)


def lit_alike(drawn: np.ndarray, picture: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, float]:
    """A drawn picture (S×S uint8) as bright and as contrasty as another, for light fades and cameras adjust; and how
    far, in gray levels, the two usually differ then, rounding aside (a standard deviation, by the median). among:
    which of every FEW'th pixel of every FEW'th row count.
    """
    one, other = (image[::FEW, ::FEW][among].astype(np.float32) for image in (drawn, picture))
    if len(one) < 2:
        return drawn, 0.0
    weight, usual = np.ones_like(one), 9.0
    for _ in range(3):
        total = weight.sum()
        low, high = weight @ one / total, weight @ other / total
        spread = weight @ (one - low) ** 2 + total
        gain = float(np.clip((weight @ ((one - low) * (other - high)) + total) / spread, 0.1, 10))
        off = other - high - gain * (one - low)
        weight = 1.0 / (1.0 + (off / usual) ** 2)
    levels = np.clip((np.arange(256) - low) * gain + high + 0.5, 0, 255).astype(np.uint8)
    beyond_rounding = max(0.0, (1.48 * float(np.median(np.abs(off)))) ** 2 - _ROUNDING**2)
    return cv2.LUT(drawn, levels), beyond_rounding**0.5


@dataclass(frozen=True)
class Surface:
    """A mesh whose vertices' places are told from pictures. triangles: T×3; counted: T, those whose pixels are skin
    that moves with the vertices; places: T×6×6, where a corner's part belongs in a sparse 2V×2V matrix.
    """

    triangles: np.ndarray
    counted: np.ndarray
    places: np.ndarray
    pattern: sparse.csr_array

    @classmethod
    def of(cls, triangles: np.ndarray) -> "Surface":
        """From all triangles of face478 (T×3)."""
        triangles = triangles[~np.isin(triangles, topology.IRIS).any(1)].astype(np.int32)
        beside = np.isin(triangles, topology.OVAL).any(1)  # the outline lies on other skin in each view
        beside |= np.isin(triangles, topology.INNER_LIPS).all(1)
        # A lid that closes shows skin that was folded away, above it too.
        lids = triangles[np.isin(triangles, topology.EYES).any(1)]
        beside |= np.isin(triangles, lids).any(1)
        size = 2 * (int(triangles.max()) + 1)
        corners = (2 * triangles[:, :, None] + np.arange(2)).reshape(-1, 6).astype(np.int64)
        keys, places = np.unique(corners[:, :, None] * size + corners[:, None], return_inverse=True)
        pattern = sparse.csr_array((np.zeros(len(keys)), (keys // size, keys % size)), (size, size))
        return cls(triangles, ~beside, places.reshape(-1, 6, 6), pattern)

    @cached_property
    def free(self) -> np.ndarray:
        """Which vertices (V) are corners of skin."""
        return np.isin(np.arange(self.pattern.shape[0] // 2), self.triangles[self.counted])

    def roughness(self) -> np.ndarray:
        """V×V: the squared differences between vertices and their neighbors in the skin, as a quadratic form."""
        beside = np.zeros((len(self.free), len(self.free)))
        corners = self.triangles[self.counted]
        beside[corners, np.roll(corners, 1, 1)] = beside[corners, np.roll(corners, -1, 1)] = -1
        uneven = beside - np.diag(beside.sum(1))
        return uneven @ uneven

    def stretch(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """How the skin around each vertex is stretched from a picture to another: V×2×2, the derivative of the places
        there (478×2 pixels) by those here, zero where there is no skin.
        """
        corners = self.triangles[self.counted]
        sides, moved = (np.swapaxes(at[corners[:, 1:]] - at[corners[:, :1]], 1, 2) for at in (source, target))
        area = np.abs(np.linalg.det(sides))
        area, sides = np.where(area < _THIN, 0, area), np.where((area < _THIN)[:, None, None], np.eye(2), sides)
        part = np.repeat(moved @ np.linalg.inv(sides) * area[:, None, None], 3, 0)
        total, weight = np.zeros((len(self.free), 2, 2)), np.zeros(len(self.free))
        np.add.at(total, corners.ravel(), part)
        np.add.at(weight, corners.ravel(), np.repeat(area, 3))
        return total / np.where(weight, weight, 1)[:, None, None]

    def compare(
        self, reference: np.ndarray, at: np.ndarray, picture: np.ndarray, pixels: np.ndarray, depth: np.ndarray
    ) -> tuple[sparse.csr_array, np.ndarray]:
        """Curvature 2V×2V and slope 2V, per pixel of place and its square, of half the squared differences (each in
        units of its noise) between a picture and a reference warped onto it. reference, picture: S×S uint8; at,
        pixels: V×2, where the vertices lie in them (pixel centers at i + 0.5); depth: V, > 0.
        """
        shown = picture[::GRID, ::GRID]
        index, weights, _ = raster.rasterize((pixels - 0.5) / GRID + 0.5, depth, self.triangles, *shown.shape[::-1])
        source = raster.interpolate(index, weights, self.triangles, at - 0.5, background=-max(reference.shape))
        drawn = drawn_over(shown, reference, source)
        few = index[::FEW, ::FEW]
        drawn, usual = lit_alike(drawn, shown, (few >= 0) & self.counted[few])
        curvature, slope = np.zeros((len(self.triangles), 6, 6)), np.zeros((len(self.triangles), 6))
        _compare(index, weights, self.counted, drawn, picture, max(LEAST_USUAL, USUAL * usual), curvature, slope)
        values, sums = np.zeros(self.pattern.nnz), np.zeros(self.pattern.shape[0])
        _gather(self.triangles, self.places, curvature, slope, values, sums)
        pattern, noise = self.pattern, max(LEAST_NOISE, NOISE * usual)
        return sparse.csr_array((values / noise**2, pattern.indices, pattern.indptr), pattern.shape), sums / noise**2
