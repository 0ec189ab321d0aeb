"""Layers of the small networks that hear and speak here, in numpy: T × C arrays, time first."""

import numpy as np

_EPSILON = 1e-5


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1, dilation: int = 1) -> np.ndarray:
    """T × I with weight O × I × K, where all of the kernel meets x: ((T - (K - 1) dilation - 1) // stride + 1) × O."""
    taps = weight.shape[2]
    count = (len(x) - (taps - 1) * dilation - 1) // stride + 1
    result = np.tile(bias, (count, 1))
    for tap in range(taps):
        start = tap * dilation
        result += x[start : start + (count - 1) * stride + 1 : stride] @ weight[:, :, tap].T
    return result


def convolve_centered(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1, dilation: int = 1
) -> np.ndarray:
    """The same with zeros beyond both ends and an odd K: ceil(T / stride) × O, frame 0 centerd on frame 0."""
    side = weight.shape[2] // 2 * dilation
    return convolve(np.pad(x, ((side, side), (0, 0))), weight, bias, stride, dilation)


def norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each frame to mean 0 and variance 1, times the weight."""
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + _EPSILON) * weight
