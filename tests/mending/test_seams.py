import cv2
import numpy as np
import pytest

from composer import repair
from composer.mending.faults import AUTO, find_faults
from composer.mending.levelling import level_seam
from composer.samples import picture


@pytest.fixture(scope="module")
def scene():
    whole = picture("coffee.png").astype(np.float32) / 255
    return np.clip(cv2.resize(whole, (450, 300), interpolation=cv2.INTER_AREA), 0.02, 0.98)


def cut(pixels, gain, flip=False):
    """Darken what is right of a wavy line (below it, if flipped); return the picture and the line."""
    out = (pixels.swapaxes(0, 1) if flip else pixels).copy()
    path = np.round(out.shape[1] * 0.45 + 8 * np.sin(np.arange(out.shape[0]) / 40)).astype(int)
    out[np.arange(out.shape[1]) > path[:, None]] *= np.float32(gain)
    return np.ascontiguousarray(out.swapaxes(0, 1) if flip else out), path


def step(pixels, path, flip=False):
    view, rows = pixels.swapaxes(0, 1) if flip else pixels, np.arange(len(path))
    return float(np.median(np.log(view[rows, path + 1] + 0.055) - np.log(view[rows, path] + 0.055)))


@pytest.mark.parametrize("flip", [False, True])
def test_a_seam_is_found_where_it_is_and_levelled(scene, flip):
    seen, path = cut(scene, 0.75, flip)
    (fault,) = find_faults(seen, None, ("seam",))
    mask = np.zeros(seen.shape[:2], bool)
    mask[fault.rect.y0 : fault.rect.y1, fault.rect.x0 : fault.rect.x1] = fault.mask
    mask = mask.T if flip else mask
    rows = np.arange(len(path))
    assert (mask[rows, path] & mask[rows, path + 1]).mean() > 0.8
    before, after = step(seen, path, flip), step(level_seam(seen, fault), path, flip)
    assert abs(after - step(scene, path, flip)) < 0.15 * abs(before)


@pytest.mark.parametrize("name", ["coffee.png", "chelsea.png", "astronaut.png"])
def test_the_edges_of_a_photograph_are_no_seams(name):
    assert find_faults(picture(name).astype(np.float32) / 255, None, ("seam",)) == []


def test_a_smooth_step_is_no_seam(scene):
    """A shadow's edge is as constant as a seam, but takes several pixels."""
    gain = 1 - 0.25 / (1 + np.exp((200 - np.arange(450)) / 2.0))
    assert find_faults((scene * gain[None, :, None]).astype(np.float32), None, ("seam",)) == []


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_repair_levels_a_seam_that_is_named(scene, kind):
    assert "seam" not in AUTO
    seen, path = cut(scene, 0.75)
    whole = 1 if kind is np.float32 else np.iinfo(kind).max
    codes = (seen * whole).astype(kind) if kind is np.float32 else np.rint(seen * whole).astype(kind)
    mended = repair(codes, faults="seam")
    assert [f.operator for f in mended.faults if f.kind == "seam"] == ["gradients"]
    pixels = np.asarray(mended)
    assert pixels.dtype == kind
    assert abs(step(pixels.astype(np.float32) / whole, path)) < 0.2 * abs(step(seen, path))


def test_a_black_canvas_has_no_seam_at_its_edge(scene):
    canvas = np.zeros((400, 450, 3), np.float32)
    canvas[50:350] = scene
    assert find_faults(canvas, None, ("seam",)) == []
