"""What a program says its log p(x) is measured by, against its likelihood, before it is trained."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from inference.rehearsal import rehearse
from ppl_models.errors import InvalidInput
from ppl_models.guides import DiagonalNormal
from ppl_models.programs import VAE, IndependentPixels
from ppl_models.testing import check_program

IMAGES = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])


class NormalPixels(VAE):
    """A density by its likelihood, a mass by the name that it inherits."""

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Normal(super().likelihood(z).mean, 1.0).to_event(1)


class CalledDensity(IndependentPixels):
    """The reverse: probabilities that go by the name of a density."""

    def __init__(self) -> None:
        super().__init__(3)
        self.measure = "density"


class Silent(dist.Bernoulli):
    """A distribution that does not say where it lives: torch's base class raises so."""

    @property
    def support(self) -> None:
        raise NotImplementedError


class SilentProgram(IndependentPixels):
    """Its likelihood can be asked nothing."""

    def distribution(self) -> dist.TorchDistribution:
        return Silent(logits=self.pixel_parameters[:, 0]).to_event(1)


def test_a_density_is_not_called_a_mass() -> None:
    with pytest.raises(InvalidInput, match=r'NormalPixels.*calls its log p\(x\) a mass.*set measure = "density"'):
        rehearse(NormalPixels(3, 2, (4,)), DiagonalNormal(3, 2, (4,)), IMAGES)
    with pytest.raises(InvalidInput, match=r'calls its log p\(x\) a density.*set measure = "mass"'):
        rehearse(CalledDensity(), None, IMAGES)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_right_name_passes_and_the_other_does_not(likelihood: str) -> None:
    program = IndependentPixels(3, likelihood=likelihood)
    rehearse(program, None, IMAGES)
    program.measure = {"mass": "density", "density": "mass"}[program.measure]
    with pytest.raises(InvalidInput, match=r"calls its log p\(x\) a"):
        rehearse(program, None, IMAGES)


@pytest.mark.parametrize("measure", ["mass", "density"])
def test_a_likelihood_that_does_not_say_is_believed(measure: str) -> None:
    program = SilentProgram(3)
    program.measure = measure
    rehearse(program, None, IMAGES)
    assert program.measure == measure


def test_the_kit_says_so_too() -> None:
    with pytest.raises(InvalidInput, match=r'it generates what it would refuse \(x .*set measure = "density"'):
        check_program(NormalPixels(3, 2, (4,)))
