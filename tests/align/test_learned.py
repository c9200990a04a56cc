"""Features and matchers from a user's ONNX files take the place of SIFT and its matcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data

import composer
from composer.align.features import Features
from composer.align.learned import check_network, find_learned_features, match_learned
from composer.errors import OptionError, WeightsError
from composer.samples import room

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

SIDE, COUNT = 11, 800


def saved(
    path: Path, nodes: list[Any], takes: dict[str, list[Any]], gives: list[str], **constants: Any
) -> str:
    """Write a graph of float32 inputs to a file."""
    make = onnx.helper
    inputs = [make.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in takes.items()]
    outputs = [make.make_empty_tensor_value_info(n) for n in gives]
    values = [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = make.make_graph(nodes, "test", inputs, outputs, values)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return str(path)


def node(kind: str, inputs: str, outputs: str, **options: Any) -> Any:
    return onnx.helper.make_node(kind, inputs.split(), outputs.split(), **options)


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a network that finds the strongest spots of a picture and describes them by what is around."""
    spot = np.full((5, 5), -1 / 24, np.float32)
    spot[2, 2] = 1
    around = np.eye(SIDE * SIDE, dtype=np.float32).reshape(-1, 1, SIDE, SIDE)
    around -= 1 / SIDE**2
    half = SIDE // 2
    nodes = [
        node("ReduceMean", "image", "grey", axes=[1], keepdims=1),
        node("Conv", "grey spot", "response", pads=[2] * 4),
        node("Abs", "response", "strength"),
        node("MaxPool", "strength", "highest", kernel_shape=[5, 5], pads=[2] * 4),
        node("Equal", "strength highest", "peak"),
        node("Where", "peak strength none", "kept"),
        node("Reshape", "kept row", "flat"),
        node("TopK", "flat count", "scores index"),
        node("Shape", "image", "size"),
        node("Gather", "size three", "width"),
        node("Mod", "index width", "x"),
        node("Div", "index width", "y"),
        node("Unsqueeze", "x two", "x3"),
        node("Unsqueeze", "y two", "y3"),
        node("Concat", "x3 y3", "keypoints", axis=2),
        node("Conv", "grey around", "patches", pads=[half] * 4),
        node("Reshape", "patches columns", "each"),
        node("Transpose", "each", "rows", perm=[0, 2, 1]),
        node("Squeeze", "index first", "chosen"),
        node("Gather", "rows chosen", "descriptors", axis=1),
    ]
    return saved(
        tmp_path_factory.mktemp("networks") / "finder.onnx", nodes, {"image": [1, 3, "h", "w"]},
        ["keypoints", "scores", "descriptors"], spot=spot[None, None], around=around,
        none=np.float32(-1), row=np.array([1, -1]), count=np.array([COUNT]), three=np.array(3),
        two=np.array([2]), columns=np.array([1, SIDE * SIDE, -1]), first=np.array([0]),
    )  # fmt: skip


def matching(path: Path, pairs: bool) -> str:
    """Write a network that gives each feature its likest, where it is like it; pairs, or -1 for none."""
    nodes = [
        node("Transpose", "desc1", "columns", perm=[0, 2, 1]),
        node("MatMul", "desc0 columns", "alike"),
        node("ArgMax", "alike", "likest", axis=2, keepdims=0),
        node("ReduceMax", "alike", "how", axes=[2], keepdims=0),
        node("Less", "how enough", "strange"),
        node("Where", "strange nobody likest", "likely" if pairs else "matches0"),
        node("ReduceSum", "kpts0", "unused0"),
        node("ReduceSum", "kpts1", "unused1"),
    ]
    if pairs:
        nodes += [
            node("Not", "strange", "sure"),
            node("NonZero", "sure", "places"),
            node("Transpose", "places", "firsts", perm=[1, 0]),
            node("GatherND", "likely firsts", "second"),
            node("Unsqueeze", "second one", "seconds"),
            node("Concat", "firsts seconds", "matches0", axis=1),
        ]
    takes = {
        f"{name}{k}": [1, f"n{k}", size] for k in (0, 1) for name, size in (("kpts", 2), ("desc", SIDE**2))
    }
    return saved(
        path, nodes, takes, ["matches0", "unused0", "unused1"],
        enough=np.float32(0.9), nobody=np.array(-1), one=np.array([1]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> str:
    return matching(tmp_path_factory.mktemp("networks") / "matcher.onnx", pairs=False)


def test_points_lie_where_the_picture_has_them(finder: str) -> None:
    picture = np.zeros((300, 420, 3), np.uint8)
    at = np.array([[40, 50], [200, 220], [350, 100], [2, 2]])
    picture[at[:, 1], at[:, 0]] = 255
    found = find_learned_features(finder, picture, count=3)
    assert sorted(map(tuple, found.points.round(6))) == sorted(map(tuple, at[:3].astype(float)))
    assert np.allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)


def test_a_reduced_photograph_gives_points_of_the_full_one(finder: str) -> None:
    picture = np.zeros((600, 900, 3), np.uint8)
    picture[300:304, 500:504] = 255
    found = find_learned_features(finder, picture, megapixels=0.135, count=1)
    assert np.allclose(found.points, 501.5 - np.array([[0, 200]]), atol=1.1)
    assert found.scale == pytest.approx(0.5)


def test_both_forms_of_matches_are_read(matcher: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(6, SIDE**2)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    order = np.array([3, 0, 5, 1])
    one, other = (
        Features(rng.random((len(d), 2)) * 100, d, np.ones(len(d)), 1.0)
        for d in (descriptors, descriptors[order])
    )
    expected = sorted((int(k), n) for n, k in enumerate(order))
    pairs = matching(tmp_path / "pairs.onnx", pairs=True)
    for network in (matcher, pairs):
        found = match_learned(network, (one, other), ((100, 100), (100, 100)))
        assert sorted(map(tuple, found.tolist())) == expected


def test_a_panorama_by_networks(finder: str, matcher: str) -> None:
    picture = data.coffee()
    photos = [picture[:, x : x + 300] for x in (0, 150, 300)]
    result = composer.stitch(photos, features=finder, matcher=matcher)
    assert [len(p.photos) for p in result.panoramas] == [3]
    assert result.panoramas[0].composition.width == pytest.approx(600, abs=10)


def test_other_networks_are_refused(finder: str, matcher: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a matcher of features takes kpts0"):
        check_network(finder, matcher=True)
    with pytest.raises(WeightsError, match="a finder of features takes one picture"):
        check_network(matcher)
    with pytest.raises(WeightsError, match="no such file"):
        check_network(str(tmp_path / "none.onnx"))
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        check_network(str(tmp_path / "broken.onnx"))
    with pytest.raises(OptionError, match="give features too"):
        composer.stitch(room(), matcher=matcher)
    other = Features(np.zeros((3, 2)), np.ones((3, 7), np.float32), np.ones(3), 1.0)
    with pytest.raises(WeightsError, match="trained for them"):
        match_learned(matcher, (other, other), ((10, 10), (10, 10)))
