"""Every primitive against its definition, on every kind of array."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from composer import backend

Array = NDArray[Any]
Put = Callable[[Array], Any]
RNG_SEED = 7
NAMESPACES = ["numpy", "array_api_strict", pytest.param("cupy", marks=pytest.mark.gpu)]
SHAPES = [(1, 1), (1, 2), (2, 5), (13, 10), (16, 17, 1), (21, 18, 3)]


@pytest.fixture(params=NAMESPACES)
def put(request: pytest.FixtureRequest) -> Put:
    """Turn a NumPy array into one of the namespace under test."""
    asarray: Put = importlib.import_module(request.param).asarray
    return asarray


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(RNG_SEED)


def numpy_of(found: Any, put: Put) -> Array:
    """Return a primitive's result as NumPy, after checking that it stayed among its own kind."""
    assert type(found) is type(put(np.zeros(1)))
    return np.asarray(backend.to_numpy(found))


def over_both_axes(image: Array, down: Array, across: Array) -> Array:
    """Multiply an image's columns and rows by matrices."""
    return np.asarray(np.einsum("yi,xj,ij...->yx...", down, across, image.astype(float)))


def cubic(distance: Array) -> Array:
    """Keys' kernel (1981) with a = -0.75."""
    d, a = np.abs(distance), -0.75
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def hat(distance: Array) -> Array:
    """The kernel of bilinear interpolation."""
    return np.maximum(1 - np.abs(distance), 0)


def sampled(image: Array, u: Array, v: Array, kernel: Callable[[Array], Array] = cubic) -> Array:
    """Sample an image by a kernel, edges repeated."""
    total = np.zeros((*u.shape, image.shape[2]))
    for i in range(-1, 3):
        for j in range(-1, 3):
            y, x = np.floor(v).astype(int) + i, np.floor(u).astype(int) + j
            weight = kernel(v - y) * kernel(u - x)
            pixel = image[np.clip(y, 0, image.shape[0] - 1), np.clip(x, 0, image.shape[1] - 1)]
            total += weight[..., None] * pixel
    return total


def coordinates(rng: np.random.Generator, size: int, step: float) -> Array:
    """Return places in and around an image of `size`, on multiples of `step`."""
    where = rng.uniform(-0.4 * size - 3, 1.4 * size + 3, (23, 31))
    return (np.round(where / step) * step).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_remap(put: Put, rng: np.random.Generator, dtype: str, top: int, channels: int) -> None:
    image = (rng.random((20, 28, channels)) * top).astype(dtype)
    u, v = coordinates(rng, 28, 1 / 32), coordinates(rng, 20, 1 / 32)  # what OpenCV 4 can tell apart
    found = numpy_of(backend.remap(put(image), put(u), put(v)), put)
    assert found.dtype == dtype
    wanted = sampled(image, u, v)
    if dtype == "float32":
        np.testing.assert_allclose(found, wanted, atol=3e-6)
        assert wanted.min() < 0 < 1 < wanted.max()
    else:
        wanted = np.clip(np.round(wanted), 0, top)
        off = np.abs(found - wanted)
        assert off.max() <= 1
        assert (off > 0).mean() < 0.01  # sums that lie halfway between two codes
        assert {0, top} <= set(np.unique(wanted))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_bilinear_remap(put: Put, rng: np.random.Generator, channels: int) -> None:
    nodes = rng.random((20, 28, channels)).astype(np.float32)
    u, v = coordinates(rng, 28, 1 / 32), coordinates(rng, 20, 1 / 32)
    found = numpy_of(backend.remap(put(nodes), put(u), put(v), linear=True), put)
    np.testing.assert_allclose(found, sampled(nodes, u, v, hat), atol=3e-6)


def test_remap_of_one_pixel_is_that_pixel(put: Put, rng: np.random.Generator) -> None:
    u, v = coordinates(rng, 100, 1 / 32), coordinates(rng, 100, 1 / 32)
    found = backend.remap(put(np.full((1, 1, 3), 0.25, np.float32)), put(u), put(v))
    np.testing.assert_allclose(numpy_of(found, put), 0.25, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_gpu_samples_anywhere_as_the_cpu_does(rng: np.random.Generator, dtype: str, top: int) -> None:
    image = (rng.random((20, 28, 3)) * top).astype(dtype)
    u, v = coordinates(rng, 28, 1e-6), coordinates(rng, 20, 1e-6)
    cuda = [backend.to_device(a, "cuda") for a in (image, u, v)]
    found = backend.to_numpy(backend.remap(*cuda)).astype(float)
    tolerance = 3e-6 if dtype == "float32" else 1
    assert np.abs(found - backend.remap(image, u, v)).max() <= tolerance


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_lookup(put: Put, rng: np.random.Generator, dtype: str, channels: int) -> None:
    top = np.iinfo(dtype).max
    codes = rng.integers(0, top + 1, (6, 5, channels)).astype(dtype)
    table = rng.random((top + 1, channels)).astype(np.float32)
    found = numpy_of(backend.lookup(put(codes), table), put)
    wanted = [[[table[p, c] for c, p in enumerate(pixel)] for pixel in row] for row in codes]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(wanted))


@pytest.mark.parametrize("channels", [1, 3])
def test_choose_and_weighted(put: Put, rng: np.random.Generator, channels: int) -> None:
    image, other = rng.random((2, 6, 5, channels), np.float32)
    mask, weight = rng.random((6, 5)) < 0.5, rng.random((6, 5), np.float32)
    chosen = numpy_of(backend.choose(put(mask), put(image), put(other)), put)
    np.testing.assert_array_equal(chosen, np.where(mask[:, :, None], image, other))
    found = numpy_of(backend.weighted(put(image), put(weight)), put)
    np.testing.assert_array_equal(found, image * weight[:, :, None])


@pytest.mark.parametrize("channels", [1, 3])
def test_split_alpha(put: Put, rng: np.random.Generator, channels: int) -> None:
    image = rng.integers(0, 65536, (6, 5, channels + 1)).astype(np.uint16)
    colours, alpha = (numpy_of(part, put) for part in backend.split_alpha(put(image)))
    np.testing.assert_array_equal(colours, image[:, :, :-1])
    np.testing.assert_array_equal(alpha, image[:, :, -1])


@pytest.mark.parametrize("shape", SHAPES)
def test_pyr_down(put: Put, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    image = rng.random(shape).astype(np.float32)
    wanted = image.astype(float)
    for axis in (0, 1):
        wanted = scipy.ndimage.correlate1d(wanted, np.array([1, 4, 6, 4, 1]) / 16, axis, mode="mirror")
    found = numpy_of(backend.pyr_down(put(image)), put)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted[::2, ::2], atol=1e-6)


def doubling(size: int, wanted: int) -> Array:
    """Return the matrix that doubles a line: zeros between its pixels, then [1 4 6 4 1] / 8."""
    padded = np.array([min(1, size - 1), *range(size), size - 1])  # mirrored first, repeated last
    spread = np.zeros((2 * size + 4, size))
    spread[np.arange(size + 2) * 2, padded] = 1
    blurred = scipy.ndimage.correlate1d(spread, np.array([1, 4, 6, 4, 1]) / 8, 0, mode="constant")
    return np.asarray(blurred[2 : 2 + wanted])


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_pyr_up(put: Put, rng: np.random.Generator, shape: tuple[int, ...], odd: bool) -> None:
    image = rng.random(shape).astype(np.float32)
    size = 2 * shape[0] - odd, 2 * shape[1] - odd
    found = numpy_of(backend.pyr_up(put(image), size), put)
    assert found.dtype == np.float32
    wanted = over_both_axes(image, doubling(shape[0], size[0]), doubling(shape[1], size[1]))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 0.8, 2.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_gaussian(put: Put, rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> None:
    image = rng.random(shape).astype(np.float32)
    found = numpy_of(backend.gaussian(put(image), sigma), put)
    assert found.dtype == np.float32
    radius = round(3 * sigma)
    wanted = scipy.ndimage.gaussian_filter(
        image.astype(float), sigma, mode="mirror", radius=radius, axes=(0, 1)
    )
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (9, 4), (40, 3), (17, 65)])
@pytest.mark.parametrize("shape", SHAPES)
def test_resize(put: Put, rng: np.random.Generator, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    image = rng.random(shape).astype(np.float32)
    found = numpy_of(backend.resize(put(image), size), put)
    assert found.dtype == np.float32
    places = [(np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip(shape[:2], size, strict=True)]
    planes = image.reshape(*shape[:2], -1)
    grid = np.meshgrid(*places, indexing="ij")
    wanted = [
        scipy.ndimage.map_coordinates(planes[:, :, c], grid, order=1, mode="nearest")
        for c in range(planes.shape[2])
    ]
    np.testing.assert_allclose(found, np.stack(wanted, -1).reshape(found.shape), atol=2e-5)


def cosines(size: int) -> Array:
    """Return the matrix of the orthonormal DCT of type 2."""
    k, n = np.ogrid[:size, :size]
    matrix = np.sqrt(2 / size) * np.cos(np.pi * k * (2 * n + 1) / (2 * size))
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix)


def sines(size: int) -> Array:
    """Return the matrix of the orthonormal DST of type 1."""
    k, n = np.ogrid[1 : size + 1, 1 : size + 1]
    return np.asarray(np.sqrt(2 / (size + 1)) * np.sin(np.pi * k * n / (size + 1)))


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(3, 2), (16, 9), (8, 15, 3)])
@pytest.mark.parametrize(("transform", "matrix"), [(backend.dct, cosines), (backend.dst, sines)])
def test_dct_and_dst(
    put: Put,
    rng: np.random.Generator,
    transform: Callable[..., Any],
    matrix: Callable[[int], Array],
    shape: tuple[int, ...],
    axis: int,
    inverse: bool,
) -> None:
    array = rng.standard_normal(shape).astype(np.float32)
    found = numpy_of(transform(put(array), axis=axis, inverse=inverse), put)
    assert found.dtype == np.float32
    square = matrix(shape[axis]).T if inverse else matrix(shape[axis])
    wanted = np.moveaxis(np.tensordot(square, array, (1, axis)), 0, axis)
    np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (9, 16, 2)])
def test_fft(put: Put, rng: np.random.Generator, shape: tuple[int, ...], inverse: bool) -> None:
    array = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    found = numpy_of(backend.fft(put(array), inverse=inverse), put)
    assert found.dtype == np.complex64
    turns = [np.outer(np.arange(n), np.arange(n)) / n for n in shape[:2]]
    down, across = (np.exp((2j if inverse else -2j) * np.pi * t) for t in turns)
    wanted = np.einsum("yi,xj,ij...->yx...", down, across, array.astype(complex))
    np.testing.assert_allclose(found, wanted / (shape[0] * shape[1] if inverse else 1), atol=5e-5)


@pytest.mark.parametrize("share", [0.5, 0.97])
def test_distance_transform(put: Put, rng: np.random.Generator, share: float) -> None:
    mask = rng.random((19, 33)) < share
    found = numpy_of(backend.distance_transform(put(mask)), put)
    here, there = np.argwhere(np.ones_like(mask)), np.argwhere(~mask)
    wanted = np.linalg.norm(here[:, None] - there, axis=2).min(1).reshape(mask.shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_distance_transform_of_a_full_mask_is_infinite(put: Put) -> None:
    found = numpy_of(backend.distance_transform(put(np.ones((5, 4), bool))), put)
    assert found.dtype == np.float32
    assert np.isposinf(found).all()


def test_label(put: Put, rng: np.random.Generator) -> None:
    mask = rng.random((30, 41)) < 0.6
    labels, count = backend.label(put(mask))
    found = numpy_of(labels, put)
    wanted, wanted_count = scipy.ndimage.label(mask)
    assert found.dtype == np.int32
    assert count == wanted_count
    assert set(np.unique(found)) == set(range(count + 1))
    pairs = np.unique(np.stack([found.ravel(), wanted.ravel()]), axis=1)
    assert pairs.shape[1] == count + 1  # each region has one number, each number one region
    np.testing.assert_array_equal(found > 0, mask)


def test_label_parts_diagonal_neighbours(put: Put) -> None:
    labels, count = backend.label(put(np.eye(3, dtype=bool)))
    assert count == 3
    np.testing.assert_array_equal(np.sort(np.diag(numpy_of(labels, put))), [1, 2, 3])
    assert backend.label(put(np.zeros((2, 2), bool)))[1] == 0
