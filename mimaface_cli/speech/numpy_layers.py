"""Layers of the embedded networks in NumPy. Arrays are T × C, time first."""

import numpy as np

_EPSILON = 1e-5


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1, dilation: int = 1) -> np.ndarray:
    """Convolve over time without padding.

    Args:
        x: T × I.
        weight: O × I × K.
        bias: O.
        stride: Frames between outputs.
        dilation: Frames between kernel taps.

    Returns:
        ((T - (K - 1) dilation - 1) // stride + 1) × O.
    """
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
    """Convolve over time with zero padding at both ends.

    Output 0 is centered on frame 0.

    Args:
        x: T × I.
        weight: O × I × K with an odd K.
        bias: O.
        stride: Frames between outputs.
        dilation: Frames between kernel taps.

    Returns:
        ceil(T / stride) × O.
    """
    padding = weight.shape[2] // 2 * dilation
    return convolve(np.pad(x, ((padding, padding), (0, 0))), weight, bias, stride, dilation)


def apply_layer_norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Apply layer normalization without a bias to each frame.

    Args:
        x: T × C.
        weight: C.
    """
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + _EPSILON) * weight


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """Apply the Gaussian error linear unit in its tanh approximation."""
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))
