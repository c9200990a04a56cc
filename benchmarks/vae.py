"""Does a variational autoencoder of good pictures tell spoiled ones? Measured beside simpler judges.

    python benchmarks/vae.py FOLDER --minutes 4 --json benchmarks/results/vae.json

Every third photograph is held out, the others are the folder of good pictures: 384 x 384 pixels of each in
six places. A convolutional VAE (Kingma and Welling, 2014; one deviation for all pixels, the best one:
Rybkin et al., 2021) learns their patches of 32 x 32 pixels. Held-out pieces are then spoiled in seven ways,
and every judge says how unlike the folder each is. The figure is the area under the ROC curve, spoiled
against the same pieces as they were: 0.5 is a coin, and below that a judge prefers what is spoiled.

`elbo` is the negative evidence lower bound, mean over patches, in bits a value; `elbo, worst` that of the
worst twentieth of the patches. Simple pictures are likely (Nalisnick et al., 2019), blur and lost blocks with
them: `less complexity` takes the length of the picture as PNG off (Serra et al., ICLR 2020), `both sides` is
the distance from the folder's median, in deviations, as either tail is odd, and `given complexity` the
Mahalanobis distance of three quantiles of the patches' bounds and that length. Peers: NIQE; `features`, the
distance to the nearest neighbour in the folder, EfficientNet-Lite0 (extra `metrics`); `statistics`, the
Mahalanobis distance of eleven numbers: sharpness, fine noise, blockiness, steps of rows and columns, means
and deviations of colours. `statistics and elbo` says whether the VAE adds anything to these.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch  # noqa: TID251 - to train
from machine import facts
from scipy.spatial.distance import cdist
from torch import Tensor, nn  # noqa: TID251

from composer.api.training import reduced_photo
from composer.learn.detector_training import auroc
from composer.learn.features import network_input, picture_features
from composer.learn.published import LITE0, absent
from composer.media.inputs import expand
from composer.quality.niqe import niqe

SIDE, PATCH, PLACES = 384, 32, 6
BATCH, LATENT = 64, 64


class Autoencoder(nn.Module):
    """Patches (N, 3, 32, 32) to 64 numbers and back."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(sizes))
        self.code = nn.Linear(4 * width * 16, 2 * LATENT)
        self.back = nn.Linear(LATENT, 4 * width * 16)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 4, 2, 1) for a, b in zip(sizes[-2::-1], sizes[:0:-1], strict=True)
        )

    def forward(self, patches: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return squared errors summed over each patch, and its divergence from the prior, in nats."""
        x = patches - 0.5
        for layer in self.down:
            x = torch.nn.functional.silu(layer(x))
        mean, spread = self.code(x.flatten(1)).chunk(2, 1)
        x = torch.nn.functional.silu(self.back(mean + noise * torch.exp(spread / 2)))
        x = x.reshape(len(x), -1, 4, 4)
        for k, layer in enumerate(self.up):
            x = layer(x) if k == 2 else torch.nn.functional.silu(layer(x))
        divergence = 0.5 * (mean**2 + torch.exp(spread) - spread - 1).sum(1)
        return ((x + 0.5 - patches) ** 2).flatten(1).sum(1), divergence


def patches_of(piece: Any) -> Any:
    """Return a piece's patches (N, 3, 32, 32) float32."""
    n = SIDE // PATCH
    cut = piece.reshape(n, PATCH, n, PATCH, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cut.reshape(-1, 3, PATCH, PATCH), np.float32) / np.float32(255)


def trained(pieces: list[Any], minutes: float) -> tuple[Autoencoder, float, int]:
    """Return a VAE trained for so many CPU minutes, the deviation of its errors, and its steps."""
    torch.manual_seed(0)
    net, rng = Autoencoder(), np.random.default_rng(0)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    started, steps, progress, usual = time.process_time(), 0, 0.0, 0.02
    while progress < 1:
        batch = np.empty((BATCH, PATCH, PATCH, 3), np.uint8)
        for k in range(BATCH):
            piece = pieces[rng.integers(len(pieces))]
            y, x = rng.integers(0, SIDE - PATCH + 1, 2)
            batch[k] = piece[y : y + PATCH, x : x + PATCH, :]
        seen = torch.from_numpy(batch.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
        wrong, divergence = net(seen, torch.randn(BATCH, LATENT))
        square = wrong.mean() / seen[0].numel()
        usual = 0.99 * usual + 0.01 * float(square.detach())
        loss = 0.5 * seen[0].numel() * torch.log(square + 1e-6) + divergence.mean()
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * progress)))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 100.0)
        optimiser.step()
        steps, progress = steps + 1, (time.process_time() - started) / (60 * minutes)
    return net.eval(), float(np.sqrt(usual)), steps


def bits(net: Autoencoder, deviation: float, piece: Any) -> Any:
    """Return the negative evidence lower bound of every patch in bits a value, values counted in 256ths."""
    with torch.no_grad():
        seen = torch.from_numpy(patches_of(piece))
        wrong, divergence = net(seen, torch.zeros(len(seen), LATENT))
    size = 3 * PATCH**2
    density = wrong / (2 * deviation**2) + size * np.log(deviation * np.sqrt(2 * np.pi) * 255) + divergence
    return (density / (size * np.log(2))).numpy()


def complexity(piece: Any) -> float:
    """Return the length of a piece as PNG in bits a value."""
    return 8 * len(cv2.imencode(".png", piece, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1]) / piece.size


def statistics(piece: Any) -> Any:
    """Return eleven numbers."""
    values = piece / np.float32(255)
    grey = values.mean(2)
    fine = np.median(np.abs(grey[1:, 1:] - grey[:-1, 1:] - grey[1:, :-1] + grey[:-1, :-1]))
    across, down = np.abs(np.diff(grey, axis=1)).mean(0), np.abs(np.diff(grey, axis=0)).mean(1)
    blocks = [d[7::8].mean() / (d.mean() + 1e-4) for d in (across, down)]
    steps = [d.max() / (np.median(d) + 1e-3) for d in (across, down)]
    logs = np.log([cv2.Laplacian(grey, -1).var() + 1e-6, fine + 1e-3, sum(blocks), *steps])
    return np.concatenate([logs, values.mean((0, 1)), values.std((0, 1))])


def spoiled(piece: Any, other: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Return a piece (384, 384, 3) uint8 spoiled in each way."""
    y, x = np.mgrid[:SIDE, :SIDE]
    edge = (x + 12 * np.sin(y / 40 + rng.uniform(0, 6)) > rng.uniform(0.3, 0.7) * SIDE)[:, :, None]
    aside = np.roll(piece, rng.integers(-5, 6, 2), (0, 1))
    where = np.zeros((SIDE, SIDE), np.float32)
    middle = tuple(int(v) for v in rng.uniform(100, 284, 2))
    cv2.ellipse(where, middle, (90, 60), float(rng.uniform(0, 180)), 0, 360, 0.5, -1)
    lost = piece.copy()
    for row in rng.choice(SIDE // 16, 4, replace=False):
        start = int(rng.integers(0, SIDE // 32)) * 16
        run = lost[16 * row : 16 * row + 16, start : start + 192]
        run[...] = run[:1, :1]
    gains = np.exp(rng.choice([-1, 1], 3) * np.array([0.25, 0.1, 0.25]))
    found = {
        "seam": np.where(edge, aside * np.exp(rng.choice([-0.12, 0.12])), piece),
        "ghost": piece + where[:, :, None] * (other.astype(float) - piece),
        "blur": cv2.GaussianBlur(piece, (0, 0), 1.8),
        "colours": piece * gains,
        "noise": piece + rng.normal(0, 10, piece.shape),
        "lost blocks": lost,
        "rows read wrongly": piece[y, (x + int(rng.integers(3, 40)) * y) % SIDE],
    }
    return {name: np.clip(np.rint(p), 0, 255).astype(np.uint8) for name, p in found.items()}


def measures(piece: Any, net: Autoencoder, deviation: float) -> dict[str, Any]:
    """Return all that judges look at, by name."""
    each = bits(net, deviation, piece)
    found = {
        "elbo": np.quantile(each, (0.5, 0.05, 0.95)),
        "mean": each.mean(),
        "png": complexity(piece),
        "niqe": niqe(piece / np.float32(255)) or 0.0,
        "statistics": statistics(piece),
    }
    return found if absent(LITE0) else {**found, "features": features_of(piece)[0]}


def judged(folder: list[dict[str, Any]], pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Return by judge how unlike the folder each piece is; more is worse."""

    def values(name: str, some: list[dict[str, Any]]) -> Any:
        return np.array([np.atleast_1d(p[name]) for p in some])

    def of(*names: str) -> tuple[Any, Any]:
        return tuple(np.hstack([values(n, some) for n in names]) for some in (folder, pieces))

    def two_sided(known: Any, found: Any) -> Any:
        return np.abs(found - np.median(known)) / np.median(np.abs(known - np.median(known)))

    def distance(known: Any, found: Any) -> Any:
        away, inverse = found - known.mean(0), np.linalg.pinv(np.cov(known, rowvar=False))
        return np.einsum("ni,ij,nj->n", away, inverse, away)

    less = [values("mean", some) - values("png", some) for some in (folder, pieces)]
    found = {
        "elbo": values("mean", pieces), "elbo, worst": values("elbo", pieces)[:, 2],
        "elbo, both sides": two_sided(*of("mean")), "elbo less complexity": less[1],
        "elbo less complexity, both sides": two_sided(*less),
        "elbo given complexity": distance(*of("elbo", "png")), "complexity": two_sided(*of("png")),
        "niqe": values("niqe", pieces), "statistics": distance(*of("statistics")),
        "statistics and elbo": distance(*of("statistics", "elbo", "png")),
    }  # fmt: skip
    if "features" in folder[0]:
        found["features"] = cdist(values("features", pieces), values("features", folder)).min(1)
    return {name: np.ravel(v) for name, v in found.items()}


def features_of(piece: Any) -> Any:
    return picture_features(network_input(piece / np.float32(255))[None])


def pieces_of(photos: list[Any], rng: np.random.Generator) -> list[Any]:
    """Cut pieces out of photographs."""
    found = []
    for photo in photos:
        for _ in range(PLACES):
            y, x = (int(rng.integers(0, n - SIDE + 1)) for n in photo.shape[:2])
            found.append(np.ascontiguousarray(photo[y : y + SIDE, x : x + SIDE]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    photos = [p for p in map(reduced_photo, expand([options.folder])) if p is not None]
    photos = [p for p in photos if min(p.shape[:2]) >= SIDE]
    rng = np.random.default_rng(0)
    folder = pieces_of([p for k, p in enumerate(photos) if k % 3 != 2], rng)
    clean = pieces_of(photos[2::3], rng)
    net, deviation, steps = trained(folder, options.minutes)
    known = [measures(p, net, deviation) for p in folder]
    pieces = {"as it was": clean}
    wrong = [spoiled(p, clean[(k + PLACES) % len(clean)], rng) for k, p in enumerate(clean)]
    pieces |= {kind: [w[kind] for w in wrong] for kind in wrong[0]}
    scores = {
        kind: judged(known, [measures(p, net, deviation) for p in some]) for kind, some in pieces.items()
    }
    good, found = scores.pop("as it was"), {}
    labels = np.arange(2 * len(clean)) >= len(clean)
    for judge, usual in good.items():
        areas = {
            kind: round(auroc(np.concatenate([usual, some[judge]]), labels), 3)
            for kind, some in scores.items()
        }
        found[judge] = {**areas, "mean": round(float(np.mean(list(areas.values()))), 3)}
        print(f"{judge:<34}" + "  ".join(f"{kind} {v:.2f}" for kind, v in found[judge].items()), flush=True)
    about = {
        "photographs": len(photos), "pieces": len(folder), "held_out": len(clean), "steps": steps,
        "deviation": round(255 * deviation, 2), "cpu_minutes": options.minutes, "auroc": found,
    }  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "vae", **facts(), **about}, indent=1) + "\n")


if __name__ == "__main__":
    main()
