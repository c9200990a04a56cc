"""The primitives on the GPU: CuPy with three short CUDA kernels. Documented in `primitives`.

CuPy is imported where it is used, so that this module can be read by tools on machines without it.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import cv2
import numpy as np

THREADS = 128
# OpenCV 4 rounds coordinates to 1/32 pixel, OpenCV 5 does not: both devices must render one picture
_COORDINATE_STEPS = 32 if int(cv2.__version__.split(".")[0]) < 5 else None

# C type of a sample, and how a float becomes one
_SAMPLES = {
    "uint8": ("unsigned char", "fminf(fmaxf(rintf(value), 0), 255)"),
    "uint16": ("unsigned short", "fminf(fmaxf(rintf(value), 0), 65535)"),
    "float32": ("float", "value"),
}

_REMAP = r"""
__device__ void cubic(float t, float* weights) {
    const float a = -0.75f;
    weights[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    weights[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    weights[2] = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1;
    weights[3] = 1 - weights[0] - weights[1] - weights[2];
}

__device__ void hat(float t, float* weights) {
    weights[0] = weights[3] = 0;
    weights[1] = 1 - t;
    weights[2] = t;
}

__device__ long long within(int i, int count) { return min(max(i, 0), count - 1); }

extern "C" __global__
void remap(const SAMPLE* image, int height, int width, int channels,
           const float* u, const float* v, SAMPLE* out, int linear, int line) {
    int x = blockIdx.y * blockDim.x + threadIdx.x;
    if (x >= line) return;
    long long at = (long long)blockIdx.x * line + x;
    // beyond these bounds every tap is the same edge pixel
    float column = fminf(fmaxf(u[at], -4), width + 3), row = fminf(fmaxf(v[at], -4), height + 3);
    int left = (int)floorf(column) - 1, top = (int)floorf(row) - 1;
    float across[4], down[4];
    if (linear) {
        hat(column - floorf(column), across);
        hat(row - floorf(row), down);
    } else {
        cubic(column - floorf(column), across);
        cubic(row - floorf(row), down);
    }
    for (int c = 0; c < channels; c++) {
        float value = 0;
        for (int i = 0; i < 4; i++) {
            const SAMPLE* start = image + within(top + i, height) * width * channels + c;
            float sum = 0;
            for (int j = 0; j < 4; j++) sum += across[j] * start[within(left + j, width) * channels];
            value += down[i] * sum;
        }
        out[at * channels + c] = (SAMPLE)(STORED);
    }
}
"""

_PYR_DOWN = r"""
__device__ long long mirrored(int i, int count) {
    while (i < 0 || i >= count) i = count == 1 ? 0 : i < 0 ? -i : 2 * count - 2 - i;
    return i;
}

extern "C" __global__
void pyr_down(const float* image, int height, int width, int channels, float* out, int line) {
    int at = blockIdx.y * blockDim.x + threadIdx.x, y = blockIdx.x;
    if (at >= line) return;
    int x = at / channels, c = at % channels;
    const float taps[5] = {1, 4, 6, 4, 1};
    float sum = 0;
    for (int i = 0; i < 5; i++) {
        const float* start = image + mirrored(2 * y + i - 2, height) * width * channels + c;
        for (int j = 0; j < 5; j++)
            sum += taps[i] * taps[j] * start[mirrored(2 * x + j - 2, width) * channels];
    }
    out[(long long)y * line + at] = sum / 256;
}
"""

_PYR_UP = r"""
// OpenCV mirrors at the start and repeats at the end
__device__ long long neighbour(int i, int count) {
    return i < 0 ? min(1, count - 1) : min(i, count - 1);
}

extern "C" __global__
void pyr_up(const float* image, int height, int width, int channels, float* out, int line) {
    int at = blockIdx.y * blockDim.x + threadIdx.x, y = blockIdx.x;
    if (at >= line) return;
    int x = at / channels, c = at % channels;
    const float taps[2][3] = {{1, 6, 1}, {0, 4, 4}};  // at even places, at odd ones
    float sum = 0;
    for (int i = 0; i < 3; i++) {
        const float* start = image + neighbour(y / 2 + i - 1, height) * width * channels + c;
        for (int j = 0; j < 3; j++)
            sum += taps[y % 2][i] * taps[x % 2][j] * start[neighbour(x / 2 + j - 1, width) * channels];
    }
    out[(long long)y * line + at] = sum / 64;
}
"""


@functools.cache
def _kernel(code: str, name: str, sample: str = "float32") -> Any:
    """Return a kernel, compiled when first called; its images hold `sample`s."""
    import cupy

    c_type, stored = _SAMPLES[sample]
    # no fused multiply-add: the same roundings on every GPU
    source = f"#define SAMPLE {c_type}\n#define STORED {stored}\n{code}"
    return cupy.RawKernel(source, name, options=("--fmad=false",))


def _launch(kernel: Any, rows: int, line: int, *arrays_and_sizes: Any) -> None:
    """Run a kernel with a thread for each of `rows` x `line` results."""
    arguments = [np.int32(a) if isinstance(a, int) else a for a in arrays_and_sizes]
    kernel((rows, -(-line // THREADS)), (THREADS,), (*arguments, np.int32(line)))


def remap(image: Any, u: Any, v: Any, linear: bool) -> Any:
    import cupy

    if _COORDINATE_STEPS:
        u, v = (cupy.rint(a * _COORDINATE_STEPS) / _COORDINATE_STEPS for a in (u, v))
    image, u, v = (cupy.ascontiguousarray(a) for a in (image, u, v))
    out = cupy.empty((*u.shape, image.shape[2]), image.dtype)
    _launch(_kernel(_REMAP, "remap", image.dtype.name), *u.shape, image, *image.shape, u, v, out, int(linear))
    return out


def lookup(image: Any, table: Any) -> Any:
    import cupy

    return cupy.asarray(table)[image.astype(cupy.int32), cupy.arange(image.shape[2])]


def choose(mask: Any, image: Any, other: Any) -> Any:
    import cupy

    return cupy.where(mask[:, :, None], image, other)


def split_alpha(image: Any) -> tuple[Any, Any]:
    return image[:, :, :-1], image[:, :, -1]


def weighted(image: Any, weight: Any) -> Any:
    return image * weight[:, :, None]


def pyr_down(image: Any) -> Any:
    shape = (image.shape[0] + 1) // 2, (image.shape[1] + 1) // 2
    return _pyramid(_kernel(_PYR_DOWN, "pyr_down"), image, shape)


def pyr_up(image: Any, shape: tuple[int, int]) -> Any:
    return _pyramid(_kernel(_PYR_UP, "pyr_up"), image, shape)


def _pyramid(kernel: Any, image: Any, shape: tuple[int, int]) -> Any:
    """Make an image of `shape` from the next level above or below it."""
    import cupy

    image = cupy.ascontiguousarray(image)
    channels = math.prod(image.shape[2:])
    out = cupy.empty((*shape, *image.shape[2:]), cupy.float32)
    _launch(kernel, shape[0], shape[1] * channels, image, *image.shape[:2], channels, out)
    return out


def gaussian(image: Any, sigma: float) -> Any:
    import cupy
    from cupyx.scipy.ndimage import correlate1d

    radius = round(3 * sigma)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps = cupy.asarray((taps / taps.sum()).astype(np.float32))
    for axis in (1, 0):
        image = correlate1d(image, taps, axis=axis, mode="mirror")
    return image


def resize(image: Any, shape: tuple[int, int]) -> Any:
    import cupy

    for axis, count in enumerate(shape):
        size = image.shape[axis]
        where = ((np.arange(count) + 0.5) * (size / count) - 0.5).astype(np.float32)
        first = np.floor(where).astype(int)
        share = cupy.asarray(where - first.astype(np.float32))
        share = share.reshape(-1, *(1,) * (image.ndim - 1 - axis))
        low, high = (cupy.asarray(np.clip(k, 0, size - 1)) for k in (first, first + 1))
        image = cupy.take(image, low, axis) * (1 - share) + cupy.take(image, high, axis) * share
    return image


def dct(array: Any, axis: int, inverse: bool = False) -> Any:
    import cupyx.scipy.fft

    transform = cupyx.scipy.fft.idct if inverse else cupyx.scipy.fft.dct
    return transform(array, type=2, axis=axis, norm="ortho")


def dst(array: Any, axis: int, inverse: bool = False) -> Any:
    # CuPy lacks type 1: it is the FFT of the odd extension, and orthonormal it is its own inverse
    import cupy
    import cupyx.scipy.fft

    lines = cupy.moveaxis(array, axis, -1)
    count = lines.shape[-1]
    zero = cupy.zeros_like(lines[..., :1])
    odd = cupy.concatenate([zero, lines, zero, -lines[..., ::-1]], axis=-1)
    found = cupyx.scipy.fft.rfft(odd, axis=-1).imag[..., 1 : count + 1] * (-1 / math.sqrt(2 * (count + 1)))
    return cupy.moveaxis(found, -1, axis)


def fft(array: Any, inverse: bool = False) -> Any:
    import cupyx.scipy.fft

    transform = cupyx.scipy.fft.ifft2 if inverse else cupyx.scipy.fft.fft2
    return transform(array, axes=(0, 1))


def distance_transform(mask: Any) -> Any:
    import cupy
    from cupyx.scipy.ndimage import distance_transform_edt

    if bool(mask.all()):  # a GPU sync; CuPy's algorithm needs a nearest pixel
        return cupy.full(mask.shape, cupy.inf, cupy.float32)
    return distance_transform_edt(mask, float64_distances=False)


def label(mask: Any) -> tuple[Any, int]:
    from cupyx.scipy.ndimage import label as labelled

    labels, count = labelled(mask)
    return labels, int(count)
