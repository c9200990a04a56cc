"""Two views are found to lie as far apart as they do, and meet where the seam runs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

torch = pytest.importorskip("torch")
meeting = pytest.importorskip("composer.learn.meeting")

PHOTO = cv2.GaussianBlur(skimage.data.coffee()[100:300, 150:350], None, 1) / np.float32(255)


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(picture, 2, 0)[None].astype(np.float32))


def moved(dx: float, dy: float) -> np.ndarray:
    y, x = np.mgrid[:200, :200].astype(np.float32)
    return cv2.remap(PHOTO, x + np.float32(dx), y + np.float32(dy), cv2.INTER_CUBIC)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.4, -0.6), (-3.5, 2.0), (4.5, 4.0)])
def test_displacement_is_found_under_another_exposure(shift: tuple[float, float]) -> None:
    first, second, both = tensor(PHOTO), tensor(moved(*shift) * 0.85), torch.ones(1, 1, 200, 200)
    found = meeting.displacement(first, second, both)[0, :, 20:-20, 20:-20]
    off = np.hypot(*(found.numpy() - np.array(shift)[:, None, None]))
    assert np.median(off) < 0.15
    assert np.percentile(off, 75) < 0.5


@pytest.mark.parametrize(("period", "shift"), [(10, -2.1), (10, 2.5), (9, 1.5), (13, -3.0), (16, 4.0)])
def test_what_repeats_is_not_led_to_its_next_place(period: int, shift: float) -> None:
    first, second = (
        np.repeat(0.5 + 0.08 * np.tanh(3 * np.cos(2 * np.pi * (np.arange(128) + by) / period))[None], 128, 0)
        for by in (0.0, shift)
    )
    views = (tensor(np.repeat(p[:, :, None], 3, 2)) for p in (first, second))
    found = meeting.displacement(*views, torch.ones(1, 1, 128, 128))[0, :, 32:-32, 32:-32].numpy()
    assert np.abs(np.median(found, (1, 2)) - [shift, 0]).max() < 0.1


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
def test_means_are_of_the_pixels_that_are_there(size: int) -> None:
    x = torch.rand(2, 3, 21, 6, generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.avg_pool2d(x, size, 1, size // 2, count_include_pad=False)
    torch.testing.assert_close(meeting.blurred(x, size), wanted, atol=1e-6, rtol=1e-5)


def test_light_is_compared_where_both_are_valid() -> None:
    first, second = tensor(PHOTO), tensor(PHOTO * np.float32([0.8, 0.9, 1.0]))
    both = torch.ones(1, 1, 200, 200)
    both[..., :60] = 0
    second[..., :60] = 0
    found = meeting.brightness(first, second, both)[0, :, 30:-30, 80:-30].mean((1, 2)).numpy()
    np.testing.assert_allclose(found, np.log([0.8, 0.9, 1.0]), atol=0.03)


def test_views_meet_at_the_seam_and_stay_far_from_it() -> None:
    first, second = PHOTO, moved(3, 1) * np.float32(0.9)
    side = np.arange(200) > 99.5
    rgb, other = np.where(side[None, :, None], second, first), np.where(side[None, :, None], first, second)
    seam = np.clip((np.arange(200) - 99.5) / 40, -1, 1)[None].repeat(200, 0)
    everywhere = torch.ones(1, 1, 200, 200)
    a, b, _ = meeting.meeting(
        tensor(rgb), tensor(other), torch.from_numpy(seam)[None, None].float(), everywhere
    )
    a, b = (np.moveaxis(p[0].numpy(), 0, 2) for p in (a, b))
    before = np.abs(first - second)[30:-30, 90:110].mean()
    assert np.abs(a - b)[30:-30, 90:110].mean() < before / 3
    np.testing.assert_allclose(a[:, :50], first[:, :50], atol=1e-3)
    np.testing.assert_allclose(b[:, -50:], second[:, -50:], atol=1e-3)
