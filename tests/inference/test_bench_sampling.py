"""Measured: samplers against the sequential full-pass sampler of the same net, in the same run and on the same noise.

``make bench`` prints the tables; what they said is in ``docs/settings.md``. The baseline is one full pass per pixel
under ``no_grad``. It is timed over the first positions alone, because a full pass costs the same at every position; its
pixels must be those of the sampler under test.
"""

from __future__ import annotations

import math
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
from ppl_models.recipes import build

pytestmark = pytest.mark.bench
REPEATS, POSITIONS = 5, 32
RECIPES = ["fvsbn", "nade", "made", "pixel_rnn", "pixel_cnn", "gated_pixel_cnn", "pixel_transformer"]


def baseline(program: torch.nn.Module, noise: Tensor, positions: int = POSITIONS) -> tuple[float, Tensor]:
    """Seconds of the whole sequential draw by its first positions, and their pixels (rows, positions)."""
    distribution, x = program.distribution(), torch.zeros_like(noise)
    sequence = distribution.ordering.sequence
    with torch.no_grad():
        program.net(x)  # the first pass of a shape sets up what later ones reuse
        start = time.perf_counter()
        for pixel in sequence[:positions]:
            drawn = distribution.family.draw(distribution.net(x)[..., pixel, :], noise[..., pixel])
            x[..., pixel] = drawn
    return (time.perf_counter() - start) * len(sequence) / positions, x[:, list(sequence[:positions])]


def seconds(program: torch.nn.Module, noise: Tensor, **options: object) -> tuple[float, Tensor]:
    start = time.perf_counter()
    images = program.distribution().sample(noise.shape[:1], noise=noise, **options)
    return time.perf_counter() - start, images


def ratios(program: torch.nn.Module, batch: int, **options: object) -> list[tuple[float, float]]:
    """(baseline, sampler) seconds of several draws, each pair on the same noise and the same pixels."""
    pairs = []
    program.distribution().sample(torch.Size((2,)))
    for _ in range(REPEATS):
        noise = torch.rand(batch, program.data_dim)
        fast, images = seconds(program, noise, **options)
        slow, pixels = baseline(program, noise)
        # In float32 a uniform can fall within rounding of a threshold: rare, and then all later pixels may differ.
        same = images[:, list(program.ordering.sequence[:POSITIONS])] == pixels
        assert same.all(-1).float().mean() > 0.95
        pairs.append((slow, fast))
    return pairs


def report(name: str, batch: int, how: str, pairs: list[tuple[float, float]]) -> float:
    """Print a row and give the median ratio."""
    found = sorted(slow / fast for slow, fast in pairs)
    slow, fast = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"| {name} | {batch} | {how} | {slow:.2f} | {fast:.4f} | "
        f"{statistics.median(found):.0f} ({found[0]:.0f} to {found[-1]:.0f}) |"
    )
    return statistics.median(found)


@pytest.fixture(scope="module")
def header() -> None:
    print(f"\n{torch.get_num_threads()} thread(s), torch {torch.__version__}, 784 pixels, {REPEATS} draws, medians")
    print("| net | batch | sampler | baseline, s | sampler, s | ratio (range) |\n|---|---|---|---|---|---|")


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


@pytest.mark.parametrize("batch", [16, 64])
def test_made_is_drawn_40_times_faster(batch: int, trained_made: MADE, header: None) -> None:
    found = {}
    for options in ({"method": "fixed-point"}, {"method": "fixed-point", "block": 56}, {"method": "cached"}):
        how = " ".join(str(value) for value in options.values())
        found[how] = report("MADE 1x500, trained", batch, how, ratios(trained_made, batch, **options))
    assert found[trained_made.distribution().sampler("auto", rows=batch)] >= 40


@pytest.mark.parametrize("batch", [16, 64])
@pytest.mark.parametrize("name", RECIPES)
def test_caches(name: str, batch: int, header: None) -> None:
    torch.manual_seed(0)
    program = build(name, {"data_dim": 784, "levels": 2, "shape": (1, 28, 28)})[0].eval()
    ratio = report(name, batch, "cached", ratios(program, batch, method="cached"))
    if name in ("gated_pixel_cnn", "pixel_transformer"):
        assert ratio >= 100


def test_cost_over_the_number_of_pixels() -> None:
    """Seconds for 16 images by each net's cache and by full passes, and the exponent with which they grow."""
    sides = (8, 14, 28, 40)
    sizes = " | ".join(f"D = {side * side}" for side in sides)
    print(f"\n16 images, seconds\n| net | sampler | {sizes} | exponent |\n|---|---|{'---|' * (len(sides) + 1)}")
    for name in RECIPES:
        rows: dict[str, list[float]] = {"cached": [], "sequential": []}
        for side in sides:
            torch.manual_seed(0)
            program = build(name, {"data_dim": side * side, "levels": 2, "shape": (1, side, side)})[0].eval()
            noise = torch.rand(16, side * side)
            rows["cached"].append(min(seconds(program, noise, method="cached")[0] for _ in range(3)))
            rows["sequential"].append(min(baseline(program, noise, 8)[0] for _ in range(3)))
        for how, times in rows.items():
            cells = " | ".join(f"{value:.3f}" for value in times)
            print(f"| {name} | {how} | {cells} | {exponent(sides, times):.2f} |")
        assert rows["cached"][-1] < rows["sequential"][-1]


def exponent(sides: tuple[int, ...], times: list[float]) -> float:
    """Slope of log seconds over log pixels, by least squares."""
    x, y = [2 * math.log(side) for side in sides], [math.log(value) for value in times]
    return statistics.linear_regression(x, y).slope
