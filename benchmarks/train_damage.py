"""Train the network that finds scratches and specks (composer/mending/damage.onnx) on photographs.

    python benchmarks/train_damage.py PHOTO... --minutes 60 --onnx damage.onnx
    python benchmarks/train_damage.py PHOTO... --start damage.onnx --seed 1 --minutes 30 --onnx better.onnx

Steps follow the clock, so two runs do not give the same weights. Needs torch and onnx.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
from damaging import sample
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from composer.mending.damage import network_input

Array = NDArray[Any]
State = dict[str, Tensor]

WIDTHS = 24, 32, 48, 56  # channels at a half, a quarter, an eighth and a sixteenth of the resolution
MEASURED = 8  # batches that norms are put back by
SIDE = 208  # px of a picture: beyond 160, so that more of them shows where things end
BATCH = 4
MINED = 0.5  # of the pictures: cut where the network that it starts from sees damage that is not there
HARD = 400  # such places of each photo
RATE = 3e-3  # at the most; a third of it from weights that were trained before
KEPT = 0.998  # of the running mean of weights, a step


def block(given: int, made: int, dilation: int = 1, stride: int = 1) -> nn.Sequential:
    """Convolve, normalise, cut off below zero."""
    convolution = nn.Conv2d(given, made, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(made), nn.ReLU(inplace=True))


class Network(nn.Module):
    """A U-Net on pictures unshuffled by two: 16 planes in, 8 out."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        self.top = nn.Sequential(block(16, a), block(a, a))
        self.mid = nn.Sequential(block(a, b, stride=2), block(b, b), block(b, b, 2))
        self.low = nn.Sequential(block(b, c, stride=2), block(c, c), block(c, c, 2), block(c, c, 4))
        self.deep = nn.Sequential(block(c, d, stride=2), block(d, d), block(d, d, 2))
        self.up0 = nn.ConvTranspose2d(d, c, 2, 2)
        self.up1, self.mid2 = nn.ConvTranspose2d(c, b, 2, 2), block(b, b)
        self.up2, self.top2 = nn.ConvTranspose2d(b, a, 2, 2), block(a, a)
        self.out = nn.Conv2d(a, 8, 3, 1, 1)
        nn.init.constant_(self.out.bias, -4.0)

    def forward(self, seen: Tensor) -> Tensor:
        """Return log-odds."""
        top = self.top(seen)
        mid = self.mid(top)
        low = self.low(mid)
        low = torch.relu(low + self.up0(self.deep(low)))
        mid = self.mid2(torch.relu(mid + self.up1(low)))
        return self.out(self.top2(torch.relu(top + self.up2(mid))))


def loss_of(odds: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return cross-entropy, what is there counting three times, and a share of the overlap's."""
    entropy = functional.binary_cross_entropy_with_logits(odds, truth, reduction="none")
    sure, there = torch.sigmoid(odds) * weight, truth * weight
    shared = 2 * (sure * truth).sum((2, 3)) + 20
    overlap = 1 - shared / (sure.sum((2, 3)) + there.sum((2, 3)) + 20)
    return 4 * (entropy * weight * (1 + 2 * truth)).mean() + 0.15 * overlap.mean()


def hard_places(network: Network, photo: Array, random: np.random.Generator) -> Array:
    """Draw pixels (N, 2) of a photo without damage by how sure the network is that they are damage."""
    height, width = (n - n % 16 for n in photo.shape[:2])
    seen = torch.from_numpy(network_input(photo[:height, :width].astype(np.float32) / 255))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        odds = network.eval()(functional.pixel_unshuffle(seen[None], 2))
    sure = torch.sigmoid(functional.pixel_shuffle(odds.float(), 2)).amax(1)[0].numpy().astype(np.float64)
    drawn = random.choice(sure.size, HARD, p=sure.ravel() / sure.sum())
    return np.stack(np.unravel_index(drawn, sure.shape), 1)


def batch(
    photos: list[Array], hard: list[Array], shares: Array, at: tuple[int, int]
) -> tuple[list[int], list[Tensor]]:
    """Return which photos a step takes, and what is seen of them, the truth and the weights."""
    random = np.random.default_rng(at)
    which = random.choice(len(photos), BATCH, p=shares / shares.sum()).tolist()
    scenes = []
    for k in which:
        mined = len(hard[k]) and random.random() < MINED
        near = tuple(random.choice(hard[k]).tolist()) if mined else None
        scenes.append(sample(photos[k], int(random.integers(1 << 40)), SIDE, near))
    seen = torch.from_numpy(np.stack([network_input(s.pixels) for s in scenes]))
    seen = functional.pixel_unshuffle(seen, 2).contiguous(memory_format=torch.channels_last)
    truth = torch.from_numpy(np.stack([s.truth for s in scenes])).float()
    return which, [seen, truth, torch.from_numpy(np.stack([s.weight for s in scenes]))]


def learn(network: Network, optimizer: torch.optim.Optimizer, scenes: list[Tensor]) -> tuple[float, Array]:
    """Take one step; return the loss, and how much of each scene passed for damage and is none."""
    seen, truth, weight = scenes
    with torch.autocast("cpu", torch.bfloat16):
        made = network(seen)
    odds = functional.pixel_shuffle(made.float(), 2)
    loss = loss_of(odds, truth, weight)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    passed = (torch.sigmoid(odds.detach()) * weight * (1 - truth)).mean((1, 2, 3))
    return float(loss.detach()), passed.numpy()


def train(photos: list[Array], minutes: float, start: Path | None, seed: int) -> State:
    """Train for some minutes, from the weights of a file if given; return the running mean of the weights.

    Photos come the more often the more of what is natural in them has lately passed for damage.
    """
    torch.manual_seed(seed)
    network, rate = Network(), RATE if start is None else RATE / 3
    if start is not None:
        load_onnx(network, start, photos)
    network = network.to(memory_format=torch.channels_last)
    random = np.random.default_rng(seed)
    hard = [hard_places(network, p, random) if start else np.empty((0, 2), int) for p in photos]
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-4)
    mean = {k: v.clone() for k, v in network.state_dict().items()}
    begun, step, losses = time.monotonic(), 0, []
    wrong = np.full(len(photos), 0.01)
    while (over := (time.monotonic() - begun) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100) * max(0.5 * (1 + np.cos(np.pi * over)), 0.01)
        which, scenes = batch(photos, hard, np.sqrt(wrong + 1e-4), (seed, step))
        loss, passed = learn(network, optimizer, scenes)
        for k, share in zip(which, passed, strict=True):
            wrong[k] += 0.2 * (share - wrong[k])
        keep = min(KEPT, (step + 1) / (step + 20))
        for name, value in network.state_dict().items():
            mean[name] = keep * mean[name] + (1 - keep) * value if value.is_floating_point() else value
        step += 1
        losses.append(loss)
        if step % 100 == 0:
            print(step, round(float(np.mean(losses[-100:])), 4), flush=True)
    return mean


def load_onnx(network: Network, path: Path, photos: list[Array]) -> None:
    """Give a network the weights that `write_onnx` wrote, with norms that leave what it tells as it is.

    Norms are folded there; each is put back with the mean and the spread of what reaches it here.
    """
    weights = {
        w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in onnx.load(path).graph.initializer
    }
    state = network.state_dict()
    network.load_state_dict(state | {k: v for k, v in weights.items() if k in state})

    def put_back(norm: nn.BatchNorm2d, bias: Tensor) -> Any:
        def measure(norm: nn.BatchNorm2d, given: tuple[Tensor]) -> None:
            norm.running_mean = given[0].mean((0, 2, 3))
            norm.running_var = given[0].var((0, 2, 3))
            norm.weight.copy_(torch.sqrt(norm.running_var + norm.eps))
            norm.bias.copy_(norm.running_mean + bias)

        return norm.register_forward_pre_hook(measure)

    norms = [(k, m) for k, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    hooks = [put_back(m, weights[f"{k.removesuffix('1')}0.bias"]) for k, m in norms]
    none, even = [np.empty((0, 2), int)] * len(photos), np.ones(len(photos))
    scenes = [batch(photos, none, even, (0, n))[1][0] for n in range(MEASURED)]
    with torch.no_grad():
        network.eval()(torch.cat(scenes))
    for hook in hooks:
        hook.remove()


def folded(state: State) -> State:
    """Fold the norms into the convolutions before them."""
    means = [k.removesuffix("running_mean") for k in state if k.endswith("running_mean")]
    out = {k: v for k, v in state.items() if not any(k.startswith(m) for m in means)}
    for norm in means:
        convolution = norm[:-2] + "0."
        gain = state[norm + "weight"] / torch.sqrt(state[norm + "running_var"] + 1e-5)
        out[convolution + "weight"] = state[convolution + "weight"] * gain[:, None, None, None]
        out[convolution + "bias"] = state[norm + "bias"] - state[norm + "running_mean"] * gain
    return out


def write_onnx(state: State, path: Path) -> None:
    """Write the network for any even size."""
    nodes: list[Any] = []
    weights: list[Any] = []

    def add(op: str, inputs: list[str], output: str, **how: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], **how))
        return output

    def weighed(op: str, seen: str, key: str, **how: Any) -> str:
        for part in ("weight", "bias"):
            weights.append(
                numpy_helper.from_array(state[f"{key}.{part}"].contiguous().numpy(), f"{key}.{part}")
            )
        return add(op, [seen, f"{key}.weight", f"{key}.bias"], f"{key}.made", **how)

    def conv(seen: str, key: str, dilation: int = 1, stride: int = 1) -> str:
        shape = {"kernel_shape": [3, 3], "dilations": [dilation] * 2, "strides": [stride] * 2}
        return weighed("Conv", seen, key, pads=[dilation] * 4, **shape)

    def blocks(seen: str, *keys: str, stride: int = 1, dilations: tuple[int, ...] = (1, 1, 2, 4)) -> str:
        for k, key in enumerate(keys):
            made = conv(seen, key, dilations[k], stride if k == 0 else 1)
            seen = add("Relu", [made], f"{key}.kept")
        return seen

    def up(seen: str, beside: str, key: str) -> str:
        made = weighed("ConvTranspose", seen, key, kernel_shape=[2, 2], strides=[2, 2])
        return add("Relu", [add("Add", [beside, made], f"{key}.sum")], f"{key}.kept")

    top = blocks("seen", "top.0.0", "top.1.0")
    mid = blocks(top, "mid.0.0", "mid.1.0", "mid.2.0", stride=2)
    low = blocks(mid, "low.0.0", "low.1.0", "low.2.0", "low.3.0", stride=2)
    deep = blocks(low, "deep.0.0", "deep.1.0", "deep.2.0", stride=2)
    low = up(deep, low, "up0")
    mid = blocks(up(low, mid, "up1"), "mid2.0")
    end = conv(blocks(up(mid, top, "up2"), "top2.0"), "out")
    ports = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, planes, "height", "width"])]
        for name, planes in (("seen", 16), (end, 8))
    ]
    graph = helper.make_graph(nodes, "damage", *ports, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--start", type=Path, help="weights that --onnx wrote, to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--onnx", type=Path, required=True)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    photos = [cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1] for path in sorted(given.photos)]
    write_onnx(folded(train(photos, given.minutes, given.start, given.seed)), given.onnx)


if __name__ == "__main__":
    main()
