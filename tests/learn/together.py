"""What each of the processes does that torchrun starts for test_processes.py."""

from __future__ import annotations

import sys
from pathlib import Path

from composer.learn.loop import Session, train
from composer.learn.processes import rank
from tests.learn.test_loop import Colour, Recipe


class Steady(Colour):
    dropout = 0.0  # drawn by the number of samples: two processes cannot equal one


if __name__ == "__main__":
    folder, count, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    told: list[object] = []
    model = Steady(Recipe(steps=count, batch=batch), spoil=lambda step: step == 2 and rank() == 1)
    train(model, Session(folder, observe=told.append))
