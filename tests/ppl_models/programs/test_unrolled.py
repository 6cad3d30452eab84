"""The explicit program: one site per pixel, to condition, intervene on, draw and render."""

from __future__ import annotations

from collections.abc import Callable

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive

from tests.ppl_models.programs.family import FAMILY, lively

NAMES = ["made", "nade", "gru", "pixel cnn", "gated pixel cnn", "transformer"]


@pytest.mark.parametrize("name", NAMES)
def test_conditioning_on_the_first_pixels_gives_the_enumerated_conditional(name: str, all_images: Callable) -> None:
    program = lively(FAMILY[name](ordering="shifted:2"), 0.5)
    first, then = program.ordering.sequence[:2], program.ordering.sequence[2]
    x = all_images(6)
    mine = (x[:, list(first)] == 1).all(-1)
    density = program.log_prob(x).exp()
    expected = (density[mine & (x[:, then] == 1)].sum() / density[mine].sum()).item()
    ones = {f"x_{i}": torch.ones(4000, dtype=torch.float64) for i in first}
    model = poutine.condition(program.distribution().unrolled(), ones)
    draws = Predictive(model, num_samples=1, return_sites=[f"x_{then}"])(size=4000)[f"x_{then}"]
    assert draws.mean().item() == pytest.approx(expected, abs=4 * (0.25 / 4000) ** 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_an_intervention_leaves_the_pixels_before_it_alone(name: str, all_images: Callable) -> None:
    program = lively(FAMILY[name](ordering="shifted:2"), 0.5)
    first, second = program.ordering.sequence[:2]
    x = all_images(6)
    expected = program.log_prob(x[x[:, first] == 1]).exp().sum().item()
    model = poutine.do(program.distribution().unrolled(), {f"x_{second}": torch.ones(4000, dtype=torch.float64)})
    draws = Predictive(model, num_samples=1, return_sites=[f"x_{first}"])(size=4000)[f"x_{first}"]
    assert draws.mean().item() == pytest.approx(expected, abs=4 * (0.25 / 4000) ** 0.5)


def test_the_model_can_be_rendered() -> None:
    program = FAMILY["nade"](ordering="shifted:2")
    source = pyro.render_model(program.distribution().unrolled(), model_kwargs={"size": 2}).source
    sequence = program.ordering.sequence
    for step, pixel in enumerate(sequence):
        for earlier in sequence[:step]:
            assert f"x_{earlier} -> x_{pixel}" in source
    assert source.count("->") == 15
