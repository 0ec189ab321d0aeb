"""Convolutions of the small network, checked against PyTorch."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from mimaface_cli.engines.mesh.convolution import convolve, join, pack_kernel


def make_layer(inputs: int, outputs: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random values, weights and bias."""
    random = np.random.default_rng(inputs * outputs + height)
    values = random.normal(size=(inputs, height, width)).astype(np.float32)
    kernel = random.normal(size=(outputs, inputs, 3, 3)).astype(np.float32) / np.sqrt(9 * inputs)
    return values, kernel.astype(np.float32), random.normal(size=outputs).astype(np.float32)


def convolve_with_torch(
    values: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int, slope: float | None
) -> np.ndarray:
    result = torch.nn.functional.conv2d(*map(torch.from_numpy, (values[None], kernel, bias)), stride, 1)
    return (result if slope is None else torch.nn.functional.leaky_relu(result, slope))[0].numpy()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("slope", [None, 0.1])
@pytest.mark.parametrize(
    ("inputs", "outputs", "height", "width"),
    [
        (32, 16, 64, 96),
        (16, 12, 64, 96),
        (160, 64, 16, 24),
        (96, 96, 8, 12),
        (3, 5, 7, 11),
        (5, 9, 33, 8),
        (1, 1, 1, 1),
        (2, 3, 2, 1),
        (4, 8, 5, 700),
    ],
)
def test_convolution_equals_pytorch_for_even_odd_and_wide_sizes(
    inputs: int, outputs: int, height: int, width: int, stride: int, slope: float | None
) -> None:
    values, kernel, bias = make_layer(inputs, outputs, height, width)
    expected = convolve_with_torch(values, kernel, bias, stride, slope)
    result = convolve(values, pack_kernel(kernel, stride), bias, stride=stride, slope=slope)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_scratch_memory_of_a_layer_does_not_reach_the_next_one() -> None:
    large = np.full((8, 40, 50), np.inf, np.float32)
    values, kernel, bias = make_layer(6, 7, 9, 13)
    convolve(large, np.ones((8, 8, 3, 3), np.float32), np.zeros(8, np.float32))
    for stride in (1, 2):
        result = convolve(values, kernel, bias, stride=stride)
        np.testing.assert_allclose(result, convolve_with_torch(values, kernel, bias, stride, None), atol=1e-5)


def test_a_transposed_image_is_accepted() -> None:
    values, kernel, bias = make_layer(4, 8, 12, 12)
    turned = values.transpose(0, 2, 1)
    expected = convolve_with_torch(np.ascontiguousarray(turned), kernel, bias, 1, None)
    np.testing.assert_allclose(convolve(turned, kernel, bias), expected, atol=1e-5)


def test_threads_do_not_disturb_each_other() -> None:
    layers = [make_layer(16, 16, 30 + 4 * k, 40) for k in range(4)]
    expected = [convolve(*layer) for layer in layers]
    failures = []

    def repeat(k: int) -> None:
        if any(not np.array_equal(convolve(*layers[k]), expected[k]) for _ in range(50)):
            failures.append(k)

    threads = [threading.Thread(target=repeat, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_kernels_that_do_not_fit_are_refused() -> None:
    values, kernel, bias = make_layer(4, 8, 6, 6)
    with pytest.raises(ValueError, match="stride 2 from 4 to 8"):
        convolve(values, pack_kernel(kernel, 2), bias)
    with pytest.raises(ValueError, match="does not fit"):
        convolve(values[:3], kernel, bias)
    with pytest.raises(ValueError, match="does not fit"):
        convolve(values, kernel, bias[:1])
    with pytest.raises(ValueError, match="3×3"):
        pack_kernel(np.zeros((4, 4, 5, 5), np.float32))


def test_join_repeats_pixels_and_appends_channels() -> None:
    low, _, _ = make_layer(3, 1, 5, 7)
    link, _, _ = make_layer(2, 1, 10, 14)
    result = join(low, link)
    np.testing.assert_array_equal(result[:3], low.repeat(2, 1).repeat(2, 2))
    np.testing.assert_array_equal(result[3:], link)


@pytest.mark.parametrize(("height", "width"), [(16, 24), (64, 96), (2, 2)])
def test_doubled_channels_give_the_same_result_with_fewer_products(height: int, width: int) -> None:
    low, _, _ = make_layer(8, 1, height // 2, width // 2)
    link, _, _ = make_layer(5, 1, height, width)
    values = join(low, link)
    _, kernel, bias = make_layer(13, 9, height, width)
    packed = pack_kernel(kernel)
    expected = convolve(values, packed, bias, slope=0.1)
    np.testing.assert_allclose(convolve(values, packed, bias, slope=0.1, doubled=8), expected, atol=1e-6)
    # Seven products per tile are missing if the channels are not doubled: the option has an effect.
    values[:8] += np.random.default_rng(0).normal(size=(8, height, width)).astype(np.float32)
    assert np.abs(convolve(values, packed, bias, doubled=8) - convolve(values, packed, bias)).max() > 0.01


def test_doubled_channels_need_an_even_size_and_stride_1() -> None:
    values, kernel, bias = make_layer(4, 8, 6, 7)
    with pytest.raises(ValueError, match="no doubled image"):
        convolve(values, kernel, bias, doubled=4)
    with pytest.raises(ValueError, match="no doubled image"):
        convolve(values[..., :6], kernel, bias, stride=2, doubled=4)


def test_convolution_does_not_import_pytorch() -> None:
    program = "import sys, mimaface_cli.engines.mesh.convolution; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_convolution_is_much_faster_than_its_plain_form() -> None:
    values, kernel, bias = make_layer(48, 16, 64, 96)
    packed = pack_kernel(kernel)

    def measure(call: object) -> float:
        times = []
        for _ in range(5):
            start = time.thread_time()
            call()
            times.append(time.thread_time() - start)
        return min(times)

    def convolve_plainly() -> np.ndarray:
        padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
        return np.einsum("ocij,chwij->ohw", kernel, windows)

    convolve(values, packed, bias)
    # Measured: 1.0 ms against 130 ms. Loops that are not compiled to vector instructions take more than 8 ms.
    assert measure(lambda: convolve(values, packed, bias)) < measure(convolve_plainly) / 30
