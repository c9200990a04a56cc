"""Local alignment: meshes that bring layers together where cameras in one place cannot.

Photographs from places apart show near and far things shifted against each other, and no camera that
only turns can undo that. Where two layers overlap their difference is measured as dense optical flow
(Kroeger et al., ECCV 2016). Each photo then gets a coarse mesh of displacements; all meshes are solved for
together, so that neighbours meet half-way, bend as little as possible (Zaragoza et al., CVPR 2013, and
Li et al., TMM 2018, pursue the same end) and return to the cameras' place away from the overlaps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from threading import Thread
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.projection import photo_map
from composer.align.warp import shared_rect, window_of
from composer.records import Composition, Layer, Rect, Tile

Array = NDArray[Any]

__all__ = ["Shift", "find_shift", "prepare", "solve_meshes"]

SPACING = 0.09  # between nodes, as a share of a photo's longer side
GRID = 6  # cells between samples of the flow
SAMPLES = 250  # of them an overlap has, about
FARTHEST = 0.05  # of a photo's diagonal: what has moved farther moved by itself
AGREE = 1.0  # cells by which flow there and flow back may differ
SIMILAR = 0.12  # largest difference in brightness of what the flow takes for the same
TEXTURE = 0.015  # slope of brightness (0..1 a cell) below which there is nothing to hold on to
STIFF, SLOPE, HOME = 4.0, 0.08, 0.008  # what bending, stretching and leaving the cameras' place cost
LOOSE = 1.5  # cells: residuals beyond this count ever less
ROUNDS = 2
DENSE = 1500  # unknowns up to which the equations are an array: SciPy takes time to import
FINER = 8  # nodes stored for one solved for: OpenCV interpolates in steps of 1/32 node


@dataclass(frozen=True)
class Shift:
    """Places that two layers show apart: (N, 2) photo pixels in each, half-way between the two.

    `apart` (N, 2) is where layer j shows them less where layer i does, in cells of the reduced canvas;
    `jacobian_i`, `jacobian_j` (N, 2, 2) tell how many photo pixels one cell is. Positions in the photos
    are those before any mesh. Each place stands for `worth` like it.
    """

    i: int
    j: int
    points_i: Array
    points_j: Array
    apart: Array
    jacobian_i: Array
    jacobian_j: Array
    worth: float = 1.0


def find_shift(composition: Composition, i: int, j: int, tiles: tuple[Tile, Tile]) -> Shift | None:
    """Measure how far apart two layers show the same things.

    Parameters
    ----------
    composition : Composition
        Reduced to the resolution that the tiles were warped at.
    i, j : int
        The layers.
    tiles : (Tile, Tile)
        Both warped whole, their exposure corrected, compact.

    Returns
    -------
    Shift, or None where there is too little to see.
    """
    window = _shared(composition, tiles)
    if window is None or min(window.width, window.height) < 16:
        return None
    a, b = (window_of(t, window, composition) for t in tiles)
    both = a.valid & b.valid
    grey_a, grey_b = _grey(a.image, both), _grey(b.image, both)
    there, back = _flow(grey_a, grey_b, 1), _flow(grey_b, grey_a, 2)
    rows, columns = _believable(both, (grey_a, grey_b), (there, back))
    thin = max(1, len(rows) // SAMPLES)
    rows, columns = rows[::thin], columns[::thin]
    apart = there[rows, columns]
    layers = composition.layers[i], composition.layers[j]
    farthest = [FARTHEST * np.hypot(*_cells(la, composition)) for la in layers]
    near = np.hypot(*apart.T) < min(farthest)
    if near.sum() < 12:
        return None
    apart = apart[near]
    middle = np.stack([columns[near], rows[near]], 1) + apart / 2
    (points_i, jacobian_i), (points_j, jacobian_j) = (_seen(composition, la, window, middle) for la in layers)
    return Shift(i, j, points_i, points_j, apart, jacobian_i, jacobian_j, float(thin))


def _shared(composition: Composition, tiles: tuple[Tile, Tile]) -> Rect | None:
    """Return the smallest window that holds all that both layers see; None where there is nothing."""
    window = shared_rect(tiles[0].rect, tiles[1].rect, composition)
    if window is None:
        return None
    a, b = (window_of(t, window, composition) for t in tiles)
    x, y, width, height = cv2.boundingRect((a.valid & b.valid).astype(np.uint8))
    return Rect(window.x0 + x, window.y0 + y, window.x0 + x + width, window.y0 + y + height)


def _cells(layer: Layer, composition: Composition) -> tuple[float, float]:
    """Return a photo's width and height in canvas pixels, about."""
    factor = composition.scale / layer.camera.focal_px
    return layer.photo.width * factor, layer.photo.height * factor


def _grey(image: Array, both: Array) -> Array:
    """Return the brightness of a compact image, flat where not both layers are."""
    grey = cv2.transform(image, np.full((1, image.shape[2]), 1 / image.shape[2], np.float32))
    level = cv2.mean(grey, both.astype(np.uint8))[0]
    return np.where(both, grey, np.uint8(round(level)))


def _flow(one: Array, other: Array, finest: int) -> Array:
    """Return (h, w, 2) float32: where `other` shows what `one` does, less where `one` does.

    `finest` is how often the images are halved before the last look. Images too small to be halved so often
    are looked at sooner: OpenCV would read beyond its pyramid, which starts where it says `coarsest`.
    """
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    patch, (short, long) = finder.getPatchSize(), sorted(one.shape)
    coarsest = min(int(math.log2(long / (4 * patch)) + 0.5), int(math.log2(short / patch)))
    finder.setFinestScale(max(0, min(finest, coarsest)))
    return np.asarray(finder.calc(one, other, None))


def _believable(both: Array, greys: tuple[Array, Array], flows: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return rows and columns of samples whose flow returns, leads to the same thing, and has hold."""
    there, back = flows
    height, width = both.shape
    inner = cv2.erode(both.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0)
    rows, columns = (k.ravel() for k in np.mgrid[GRID // 2 : height : GRID, GRID // 2 : width : GRID])
    x, y = (columns + there[rows, columns, 0])[None], (rows + there[rows, columns, 1])[None]
    x, y = x.astype(np.float32), y.astype(np.float32)
    returned = cv2.remap(back, x, y, cv2.INTER_LINEAR)[0] + there[rows, columns]
    smooth = [cv2.GaussianBlur(g, (3, 3), 0).astype(np.float32) / 255 for g in greys]
    change = cv2.remap(smooth[1], x, y, cv2.INTER_LINEAR)[0] - smooth[0][rows, columns]
    slopes = [cv2.Sobel(smooth[0], cv2.CV_32F, dx, dy, scale=1 / 8) for dx, dy in ((1, 0), (0, 1))]
    texture = cv2.blur(np.hypot(*slopes), (GRID, GRID))[rows, columns]
    good = (inner[rows, columns] > 0) & (cv2.remap(inner, x, y, cv2.INTER_NEAREST)[0] > 0)
    good &= (np.hypot(*returned.T) < AGREE) & (np.abs(change) < SIMILAR) & (texture > TEXTURE)
    return rows[good], columns[good]


def _seen(composition: Composition, layer: Layer, window: Rect, places: Array) -> tuple[Array, Array]:
    """Return photo positions (N, 2) of places in a window, and how many photo pixels a cell is (N, 2, 2)."""
    x0, y0 = (start + side for start, side in zip(composition.origin, window[:2], strict=True))
    coarse = replace(composition, scale=composition.scale / GRID, origin=(x0 / GRID, y0 / GRID))
    whole = Rect(-1, -1, window.width // GRID + 3, window.height // GRID + 3)  # every GRID-th cell
    u, v, _ = photo_map(np, coarse, replace(layer, mesh=None), whole)
    x, y = (places / GRID + 1).T.astype(np.float32)[:, None]
    slopes = [s / GRID for field in (u, v) for s in np.gradient(field)[::-1]]
    at = [cv2.remap(f, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)[0] for f in (u, v, *slopes)]
    return np.stack(at[:2], 1), np.stack(at[2:], 1).reshape(-1, 2, 2)


def prepare(composition: Composition) -> None:
    """Start to import SciPy on another thread where `solve_meshes` will need it: photos are warped first."""
    if sum(2 * rows * columns for rows, columns in map(_shape, composition.layers)) > DENSE:
        Thread(target=import_module, args=("scipy.sparse.linalg",)).start()


def solve_meshes(composition: Composition, shifts: list[Shift]) -> list[Array]:
    """Solve for the meshes of all layers together, by reweighted least squares.

    Parameters
    ----------
    composition : Composition
        What the shifts were found on; meshes that its layers have already are improved.
    shifts : list of Shift

    Returns
    -------
    list of (rows, columns, 2) float32
        See `Layer.mesh`. Displacements are taken to be small against the distance between nodes.
    """
    layers = composition.layers
    shapes = [_shape(la) for la in layers]
    pixels = [la.camera.focal_px / composition.scale for la in layers]  # a cell; unknowns are cells too
    known = [_start(la, shape) / k for la, shape, k in zip(layers, shapes, pixels, strict=True)]
    starts = np.cumsum([0, *(len(k) for k in known)])
    found = np.concatenate(known)
    equations = [_equations(s, composition, shapes, starts) for s in shifts]
    nodes, shares = (np.concatenate([e[k] for e in equations]) for k in (0, 1))
    wanted = np.concatenate([s.apart.ravel() for s in shifts]) + (shares * found[nodes]).sum(1)
    worth = np.concatenate([np.full(len(s.apart), s.worth) for s in shifts])
    for _ in range(ROUNDS):
        rest = ((shares * found[nodes]).sum(1) - wanted).reshape(-1, 2)
        weight = np.repeat(worth / (1 + (rest**2).sum(1) / LOOSE**2), 2)
        right = np.bincount(nodes.ravel(), (shares * (weight * wanted)[:, None]).ravel(), len(found))
        found = _solved(nodes, shares, weight, shapes, right)
    parts = np.split(found, starts[1:-1])
    return [_finer((d * k).reshape(*n, 2)) for d, k, n in zip(parts, pixels, shapes, strict=True)]


def _solved(nodes: Array, shares: Array, weight: Array, shapes: list[tuple[int, int]], right: Array) -> Array:
    """Solve the normal equations of rows with few unknowns each: dense while they are small."""
    size, stiffness = len(right), [_stiffness(*shape) for shape in shapes]
    starts = np.cumsum([0, *(len(s) for s in stiffness)])
    if size <= DENSE:
        products = (shares * weight[:, None])[:, :, None] * shares[:, None, :]
        at = nodes[:, :, None] * size + nodes[:, None, :]
        normal = np.bincount(at.ravel(), products.ravel(), size * size).reshape(size, size)
        for block, start in zip(stiffness, starts, strict=False):
            normal[start : start + len(block), start : start + len(block)] += block
        return np.linalg.solve(normal, right)
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import splu

    root = np.sqrt(weight)[:, None]
    lines = nodes.shape[1] * np.arange(len(nodes) + 1)
    data = csr_array(((shares * root).ravel(), nodes.ravel(), lines), (len(nodes), size))
    blocks = [csr_array(block) for block in stiffness]
    columns = [b.indices + start for b, start in zip(blocks, starts, strict=False)]
    ends = np.cumsum(np.concatenate([[0], *(np.diff(b.indptr) for b in blocks)]))
    bending = csr_array(
        (np.concatenate([b.data for b in blocks]), np.concatenate(columns), ends), (size, size)
    )
    matrix = (data.T @ data + bending).tocsc()  # what SciPy's block_diag does takes twice as long
    factors = splu(matrix, "MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
    return np.asarray(factors.solve(right))


def _finer(mesh: Array) -> Array:
    """Return a mesh with `FINER` nodes in place of each step, on natural cubic splines."""
    down, across = (_spline(n) for n in mesh.shape[:2])
    return np.asarray(np.einsum("yr,rcd,xc->yxd", down, mesh, across, optimize=True), np.float32)


@cache
def _spline(n: int) -> Array:
    """Return the matrix (FINER (n - 1) + 1, n) that interpolates n values by a natural cubic spline."""
    # second derivatives M: M[k-1] + 4 M[k] + M[k+1] = 6 (f[k-1] - 2 f[k] + f[k+1]), none at the ends
    inner = 4 * np.eye(n - 2) + np.eye(n - 2, k=1) + np.eye(n - 2, k=-1)
    bends = np.zeros((n, n))
    bends[1:-1] = 6 * np.linalg.solve(inner, np.diff(np.eye(n), 2, axis=0))
    at = np.arange(FINER * (n - 1) + 1) / FINER
    left = np.minimum(at.astype(int), n - 2)
    b = (at - left)[:, None]
    a, values = 1 - b, np.eye(n)
    curve = ((a**3 - a) * bends[left] + (b**3 - b) * bends[left + 1]) / 6
    return np.asarray(a * values[left] + b * values[left + 1] + curve)


def _start(layer: Layer, shape: tuple[int, int]) -> Array:
    """Return the mesh a layer has, as a vector; zeros without one."""
    if layer.mesh is None:
        return np.zeros(2 * shape[0] * shape[1])
    return layer.mesh[::FINER, ::FINER].ravel().astype(float)


def _shape(layer: Layer) -> tuple[int, int]:
    """Return the rows and columns of a photo's mesh."""
    spacing = SPACING * max(layer.photo.width, layer.photo.height)
    return max(4, round(layer.photo.height / spacing) + 1), max(4, round(layer.photo.width / spacing) + 1)


def _equations(
    shift: Shift, composition: Composition, shapes: list[tuple[int, int]], starts: Array
) -> tuple[Array, Array]:
    """Return "J_j^-1 D_j - J_i^-1 D_i = apart", both shown at one place: unknowns and factors (2N, 16)."""
    unknowns, factors = [], []
    sides = ((shift.i, shift.points_i, shift.jacobian_i, -1), (shift.j, shift.points_j, shift.jacobian_j, 1))
    for k, points, jacobian, sign in sides:
        layer = composition.layers[k]
        nodes, shares = _bilinear(points, layer, shapes[k])
        inverse = sign * layer.camera.focal_px / composition.scale * np.linalg.inv(jacobian)
        # (N, part of the cell's position, axis of the displacement in the photo, node)
        unknown = starts[k] + 2 * nodes[:, None, None, :] + np.arange(2)[None, None, :, None]
        unknowns.append(np.broadcast_to(unknown, (len(points), 2, 2, 4)).reshape(-1, 8))
        factors.append((inverse[:, :, :, None] * shares[:, None, None, :]).reshape(-1, 8))
    return np.concatenate(unknowns, 1), np.concatenate(factors, 1)


def _bilinear(points: Array, layer: Layer, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return the four nodes (N, 4) around photo positions, and their shares (N, 4)."""
    rows, columns = shape
    x = np.clip((points[:, 0] + 0.5) * ((columns - 1) / layer.photo.width), 0, columns - 1.001)
    y = np.clip((points[:, 1] + 0.5) * ((rows - 1) / layer.photo.height), 0, rows - 1.001)
    left, top = x.astype(int), y.astype(int)
    x, y = x - left, y - top
    first = top * columns + left
    nodes = np.stack([first, first + 1, first + columns, first + columns + 1], 1)
    return nodes, np.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], 1)


@cache
def _stiffness(rows: int, columns: int) -> Array:
    """Return the matrix of what bending, stretching and leaving the cameras' place cost a mesh."""
    down, across = np.eye(rows), np.eye(columns)
    terms = [
        (STIFF, np.kron(down, np.diff(across, 2, axis=0))),
        (STIFF, np.kron(np.diff(down, 2, axis=0), across)),
        (2 * STIFF, np.kron(np.diff(down, axis=0), np.diff(across, axis=0))),
        (SLOPE, np.kron(down, np.diff(across, axis=0))),
        (SLOPE, np.kron(np.diff(down, axis=0), across)),
        (HOME, np.eye(rows * columns)),
    ]
    return np.asarray(np.kron(sum(weight * (t.T @ t) for weight, t in terms), np.eye(2)))
