"""EfficientNet-Lite0's features: the network sees what is there; sets of pictures compare as they should."""

from __future__ import annotations

import numpy as np
import skimage.data

from tests.learn.published import needs_lite0

pytestmark = needs_lite0


def squares(photo: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return random pieces of a photo, as the network takes them."""
    from composer.learn.features import network_input

    rng = np.random.default_rng(seed)
    places = [
        (int(rng.integers(photo.shape[0] - 64)), int(rng.integers(photo.shape[1] - 64))) for _ in range(count)
    ]
    return np.stack([network_input(photo[y : y + 64, x : x + 64]) for y, x in places])


def test_the_network_knows_a_cat_and_a_cup() -> None:
    from composer.learn.features import network_input, picture_features
    from composer.learn.published import LITE0, read_published

    weights = read_published(LITE0)
    photos = [p.astype(np.float32) / 255 for p in (skimage.data.chelsea(), skimage.data.coffee())]
    features = picture_features(np.stack([network_input(p[:, 60:360]) for p in photos]))
    scores = features @ weights["_fc.weight"].numpy().T + weights["_fc.bias"].numpy()
    assert scores[0].argmax() in (281, 282, 285)  # ImageNet's tabby, tiger cat, Egyptian cat
    assert scores[1].argmax() == 967  # espresso


def test_grey_and_small_pictures_are_taken() -> None:
    from composer.learn.features import network_input

    rng = np.random.default_rng(0)
    grey = network_input(rng.random((40, 300, 1), np.float32))
    assert grey.shape == (3, 224, 224)
    assert np.array_equal(grey[0], grey[2])


def test_noise_is_far_and_more_of_the_same_is_near() -> None:
    from composer.learn.features import network_input, picture_features
    from composer.quality.sets import compared_sets

    photo = skimage.data.coffee().astype(np.float32) / 255
    rng = np.random.default_rng(1)
    first, second = (picture_features(squares(photo, 16, seed)) for seed in (0, 1))
    noise = picture_features(
        np.stack([network_input(rng.random((64, 64, 3), np.float32)) for _ in range(16)])
    )
    near, far = compared_sets(second, first), compared_sets(noise, first)
    assert abs(near["kid"]) < 3 * near["kid_error"]
    assert near["recall"] > 0.5 < near["precision"]
    assert far["kid"] > 10 * far["kid_error"]
    assert far["precision"] == far["coverage"] == 0
