"""Compiled loop of SSIM: one pass over the image, with a few rows in memory."""

import numpy as np

from mimaface_cli.face.kernels import kernel

TAPS = 11  # width of the window; the sums below are written out for it, so that they run in vector registers


@kernel
def mean_ssim(x: np.ndarray, y: np.ndarray, window: np.ndarray, center: float, c1: float, c2: float) -> float:
    """Return the mean SSIM of two H×W uint8 images over all places where the window fits.

    Args:
        x: Image.
        y: Reference.
        window: (6,) float32: the first half of the symmetric separable window and its middle; the whole sums to 1.
        center: Gray level that is subtracted first. It keeps the squares small, so that float32 is precise enough.
        c1: Constant of the luminance term.
        c2: Constant of the structure term.
    """
    height, width = x.shape
    columns = width - TAPS + 1
    shift, one, two = np.float32(center), np.float32(c1), np.float32(c2)
    middle = shift * shift
    rows = np.empty((TAPS, 4 * width), np.float32)  # the last rows: x, y, x² + y² and x·y, one after another
    sums = np.empty(4 * width, np.float32)
    means = np.empty(4 * width, np.float32)
    totals = np.zeros(columns)  # of each column: a sum over a row would not run in vector registers
    for bottom in range(height):
        row, row_x, row_y = rows[bottom % TAPS], x[bottom], y[bottom]
        for k in range(width):
            a, b = np.float32(row_x[k]) - shift, np.float32(row_y[k]) - shift
            row[k], row[width + k], row[2 * width + k], row[3 * width + k] = a, b, a * a + b * b, a * b
        if bottom < TAPS - 1:
            continue
        _sum_rows(rows, (bottom + 1) % TAPS, window, sums)
        _sum_neighbors(sums, window, means)
        for k in range(columns):
            a, b = means[k], means[width + k]
            product, squares = a * b, a * a + b * b
            offset = shift * (a + b) + middle  # turns the products of centered means into those of the means
            structure = (np.float32(2) * (means[3 * width + k] - product) + two) / (
                means[2 * width + k] - squares + two
            )
            luminance = (np.float32(2) * (product + offset) + one) / (squares + np.float32(2) * offset + one)
            totals[k] += structure * luminance
    return totals.sum() / ((height - TAPS + 1) * columns)


@kernel
def _sum_rows(rows: np.ndarray, top: int, window: np.ndarray, sums: np.ndarray) -> None:
    """Sum the rows of a ring buffer (TAPS, N), from row `top` on, with the weights of the window."""
    r0, r1, r2, r3 = rows[top], rows[(top + 1) % 11], rows[(top + 2) % 11], rows[(top + 3) % 11]
    r4, r5, r6 = rows[(top + 4) % 11], rows[(top + 5) % 11], rows[(top + 6) % 11]
    r7, r8, r9, r10 = rows[(top + 7) % 11], rows[(top + 8) % 11], rows[(top + 9) % 11], rows[(top + 10) % 11]
    w0, w1, w2, w3, w4, w5 = window[0], window[1], window[2], window[3], window[4], window[5]
    for k in range(len(sums)):
        outer = w0 * (r0[k] + r10[k]) + w1 * (r1[k] + r9[k]) + w2 * (r2[k] + r8[k])
        sums[k] = outer + w3 * (r3[k] + r7[k]) + w4 * (r4[k] + r6[k]) + w5 * r5[k]


@kernel
def _sum_neighbors(sums: np.ndarray, window: np.ndarray, means: np.ndarray) -> None:
    """Sum TAPS neighbors of a row (N) with the weights of the window; the last TAPS - 1 places are not written."""
    w0, w1, w2, w3, w4, w5 = window[0], window[1], window[2], window[3], window[4], window[5]
    for k in range(len(sums) - 10):
        outer = w0 * (sums[k] + sums[k + 10]) + w1 * (sums[k + 1] + sums[k + 9]) + w2 * (sums[k + 2] + sums[k + 8])
        means[k] = outer + w3 * (sums[k + 3] + sums[k + 7]) + w4 * (sums[k + 4] + sums[k + 6]) + w5 * sums[k + 5]
