"""Measured: how much faster the fixed-point sampler is than the sequential one. ``make bench`` prints the table."""

from __future__ import annotations

import os
import statistics
import time
from functools import partial

import pytest
import torch
from torch import Tensor

from inference import fit, load_data
from inference.objectives import NegativeLogLikelihood
from ppl_models.programs import MADE

REPEATS = 5


@pytest.fixture(scope="module")
def trained_made() -> MADE:
    """MADE 1x500 after two passes over binarized MNIST; what it has learned decides how many passes are needed."""
    if not os.environ.get("PPL_DATA"):
        pytest.skip("the benchmark samples from a MADE of binarized MNIST: set PPL_DATA to where that lies")
    torch.manual_seed(0)
    program = MADE(784, (500,), direct=True)
    images = load_data("binarized-mnist").split("train")
    adam = partial(torch.optim.Adam, lr=2e-3)
    fit(NegativeLogLikelihood(program), images, adam, epochs=2, average=0.99, progress=False)
    return program.eval()


def seconds(program: MADE, method: str, noise: Tensor) -> tuple[float, Tensor]:
    start = time.perf_counter()
    images = program.distribution().sample(noise.shape[:1], method=method, noise=noise)
    return time.perf_counter() - start, images


@pytest.mark.bench
@pytest.mark.parametrize("batch", [16, 64])
def test_the_fixed_point_sampler_is_25_times_faster(batch: int, trained_made: MADE) -> None:
    ratios, times = [], []
    for _ in range(REPEATS):
        noise = torch.rand(batch, 784)
        fast, images = seconds(trained_made, "fixed-point", noise)
        slow, same = seconds(trained_made, "sequential", noise)
        assert torch.equal(images, same)
        ratios.append(slow / fast)
        times.append((slow, fast))
    slow, fast = (statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"\nMADE 1x500, 784 pixels, batch {batch}, {torch.get_num_threads()} thread(s): sequential {slow:.3f} s, "
        f"fixed-point {fast:.4f} s, ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    )
    assert statistics.median(ratios) >= 25
