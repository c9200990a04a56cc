"""The detector: learns, its tiles equal the whole, and torch and onnxruntime say the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

import composer
from composer.errors import WeightsError
from composer.learn.detecting import HALO, TILE, detecting_of, fault_map, load_detector, mask_of, planes_of

torch = pytest.importorskip("torch")
from composer.learn.detector import PLANES, Detector, dice  # noqa: E402
from composer.learn.detector_training import (  # noqa: E402
    Detection,
    Recipe,
    auroc,
    by_heart,
    faults_of,
    seen_of,
)  # fmt: skip
from composer.learn.exporting import write_network  # noqa: E402
from composer.learn.loop import Session, train  # noqa: E402
from composer.learn.photographs import Split  # noqa: E402
from composer.learn.simulator import simulate  # noqa: E402
from composer.learn.weights import write_weights  # noqa: E402

PHOTO = skimage.data.astronaut()
SPLIT = Split.of([np.ascontiguousarray(np.rot90(PHOTO, k)) for k in range(4)] + [PHOTO[::-1], PHOTO[:, ::-1]])


def lively() -> Detector:
    torch.manual_seed(1)
    net = Detector(8).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    return net


def test_the_network_looks_no_further_than_the_halo() -> None:
    seen = torch.rand(1, PLANES, 256, 256, requires_grad=True)
    lively()(seen)[0, 0, 127, 127].backward()
    reached = torch.nonzero(seen.grad.abs().sum((0, 1)))
    assert int((reached - 127).abs().max()) <= HALO


def test_tiles_equal_the_whole() -> None:
    rng, run = np.random.default_rng(0), detecting_of(lively())
    height, width = TILE + 40, 200
    planes = rng.random((PLANES, height, width)).astype(np.float32)
    tiled = fault_map(run, planes, lambda work, tiles: [work(tile) for tile in tiles])
    padded = np.zeros((PLANES, 2 * TILE + 2 * HALO, TILE + 2 * HALO), np.float32)
    padded[:, HALO : HALO + height, HALO : HALO + width] = planes
    whole = run(padded)[HALO : HALO + height, HALO : HALO + width]
    np.testing.assert_allclose(tiled, whole, atol=2e-5)


def test_torch_and_onnxruntime_agree(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "d.safetensors"
    about, shape = {"kind": "detector", "width": "8"}, (PLANES, 64, 80)
    write_network(path, lively(), about, outputs=("logits",), shape=shape, align=8)
    planes = np.random.default_rng(0).random((PLANES, 96, 64)).astype(np.float32)
    one, other = (load_detector(str(path), how)(planes) for how in ("torch", "onnx"))
    assert one.shape == (96, 64)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_without_a_runtime_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"composer-cv\[onnx\]"):
        load_detector("elsewhere")


def test_what_is_wrong_is_inside_the_mask_and_nothing_in_clean_composites() -> None:
    for seed in range(4):
        spoiled = simulate(PHOTO, np.random.default_rng(seed), 96, kind="exposure", operator="hard")
        near = cv2.dilate(spoiled.mask, np.ones((5, 5), np.uint8)) > 0
        assert faults_of(spoiled).any()
        assert not faults_of(spoiled)[~near].any()
        clean = simulate(PHOTO, np.random.default_rng(seed), 96, kind="clean", operator="hard")
        assert not faults_of(clean).any()


def test_the_other_view_can_be_kept_back() -> None:
    sample = simulate(PHOTO, np.random.default_rng(0), 64, kind="exposure")
    assert not seen_of(sample, alone=True)[4:].any()
    assert seen_of(sample, alone=False)[7].all()
    assert np.array_equal(seen_of(sample, alone=True)[:4], seen_of(sample, alone=False)[:4])


def test_one_batch_is_learnt_by_heart(tmp_path: Path) -> None:
    found = train(Detection(by_heart(Recipe(steps=60, width=12)), SPLIT), Session(tmp_path, overfit=True))
    assert found["share_left"] < 0.6


def test_a_run_leaves_weights_and_what_they_are_good_for(tmp_path: Path) -> None:
    found = train(Detection(Recipe(steps=1, batch=1, size=64, width=12), SPLIT), Session(tmp_path))
    assert 0 <= found["auroc_pixels_alone"] <= 1
    assert found["false_area_photos_with_other"] <= found["false_area_worst_photo_with_other"]
    assert {p.name for p in tmp_path.iterdir()} == {
        "checkpoint.safetensors", "detector.safetensors", "detector.onnx", "card.md", "grid.png", "log.jsonl",
    }  # fmt: skip
    assert load_detector(str(tmp_path / "detector.safetensors"))(np.zeros((8, 32, 48), np.float32)).shape == (
        32,
        48,
    )


def test_figures_of_the_curve() -> None:
    wanted = np.array([False, False, True, True])
    assert auroc(np.array([0.1, 0.2, 0.3, 0.4]), wanted) == 1
    assert auroc(np.array([0.4, 0.3, 0.2, 0.1]), wanted) == 0
    assert auroc(np.ones(4), wanted) == 0.5
    same = torch.tensor([[[[9.0, -9.0]]]])
    assert float(dice(same, torch.tensor([[[[1.0, 0.0]]]]))) < 0.01


def test_the_mask_surrounds_what_was_found() -> None:
    likely = np.zeros((80, 100), np.float32)
    likely[40, 50] = 0.9
    valid = np.ones((80, 100), bool)
    valid[:, 55:] = False
    mask = mask_of(likely, valid)
    assert mask[40, 50] > 0.8
    assert mask[40, 44] > 0.3
    assert not mask[:, 55:].any()
    assert not mask[:15].any()
    assert not mask_of(likely * 0.5, valid).any()


def test_planes_hide_what_is_not_valid() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 20, 20, 3)).astype(np.float32)
    valid = rng.random((20, 20)) < 0.5
    seen = planes_of(one, valid, other, ~valid)
    assert not seen[:4, ~valid].any()
    assert not seen[4:, valid].any()
    assert not planes_of(one, valid)[4:].any()


def test_refine_looks_where_a_detector_points(tmp_path: Path) -> None:
    path, about = tmp_path / "d.safetensors", {"kind": "detector", "width": "8"}
    net, whole = Detector(8), np.ones((128, 128), bool)
    torch.nn.init.zeros_(net.head.weight)
    sample = simulate(PHOTO, np.random.default_rng(3), 128, kind="exposure", operator="hard")
    one, other = (np.rint(p * 255).astype(np.uint8) for p in (sample.composite, sample.other))
    found = {}
    for name, likely in (("nowhere", -9.0), ("everywhere", 9.0)):
        torch.nn.init.constant_(net.head.bias, likely)
        write_weights(path, {n: v.half().numpy() for n, v in net.state_dict().items()}, about)
        load_detector.cache_clear()
        found[name] = composer.refine(one, other=other, detector=path).image
    assert np.array_equal(found["nowhere"], one)
    assert np.array_equal(found["everywhere"], composer.refine(one, whole, other=other).image)
