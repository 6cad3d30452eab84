"""What fails while an image is scored is told in one line: who, which site, which image of the split."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from inference.estimators import Elbo, ImportanceWeighted, JackknifedImportanceWeighted
from inference.measures import measure_collapse
from inference.weights import NonFiniteError, at_image
from ppl_models.errors import InvalidInput
from ppl_models.guides import DiagonalNormal
from ppl_models.programs import VAE


class BrokenAtOnes(DiagonalNormal):
    """A guide whose mean, or scale, is NaN at the image of ones alone."""

    def __init__(self, part: str = "loc", validate: bool | None = None) -> None:
        super().__init__(4, 2, (5,))
        self.part, self.validate = part, validate

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        parameters = {"loc": torch.zeros(len(x), 2), "scale": torch.ones(len(x), 2)}
        parameters[self.part][x.sum(-1) == 4] = torch.nan
        return dist.Normal(**parameters, validate_args=self.validate).to_event(1)


class BrokenDecoder(VAE):
    """A program whose logits are NaN wherever z[0] > 0."""

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        logits = torch.where(z[..., :1] > 0, torch.nan, 0.0).expand(*z.shape[:-1], 4)
        return dist.Bernoulli(logits=logits).to_event(1)


IMAGES = torch.cat([torch.zeros(3, 4), torch.ones(1, 4), torch.zeros(1, 4)])
INDEX = range(100, 105)


@pytest.mark.parametrize("estimator", [Elbo, ImportanceWeighted, JackknifedImportanceWeighted])
@pytest.mark.parametrize("validate", [None, False])
@pytest.mark.parametrize("part", ["loc", "scale"])
def test_a_broken_guide_is_told_with_site_and_index(estimator, validate: bool | None, part: str) -> None:
    scored = estimator(BrokenAtOnes(part, validate), 300)
    with pytest.raises(NonFiniteError) as caught:
        scored(VAE(4, 2, (5,)), IMAGES, INDEX)
    line = str(caught.value)
    assert line.startswith(f"{scored.name}: site 'z': log-density is NaN or +infinity at image 103; train again")
    assert "\n" not in line
    assert len(line) < 250


@pytest.mark.parametrize("part", ["loc", "scale"])
def test_a_guide_that_insists_on_validation_is_told_with_its_index(part: str) -> None:
    with pytest.raises(NonFiniteError, match=r"^elbo:3: [^\n]* at image 103; train again[^\n]*$") as caught:
        Elbo(BrokenAtOnes(part, True), 3)(VAE(4, 2, (5,)), IMAGES, INDEX)
    assert "tensor(" not in str(caught.value)


def test_a_broken_program_is_told_with_its_site() -> None:
    with pytest.raises(NonFiniteError, match=r"elbo:30: site 'x': log-density is NaN or \+infinity at image 100; "):
        Elbo(DiagonalNormal(4, 2, (5,)), 30)(BrokenDecoder(4, 2, (5,)), IMAGES, INDEX)


def test_the_measures_of_collapse_say_the_same() -> None:
    with pytest.raises(NonFiniteError, match=r"collapse: site 'z'.* at image 3; train again"):
        measure_collapse(VAE(4, 2, (5,)), BrokenAtOnes(), IMAGES)


def test_what_breaks_no_density_keeps_the_beginning_of_its_message() -> None:
    program, guide = VAE(4, 2, (5,)), DiagonalNormal(4, 2, (5,))
    with pytest.raises(NonFiniteError) as caught, at_image("iw:3", program, guide, IMAGES[:1], 7):
        raise ValueError("Expected value\n to be  in the support, but found invalid values:\ntensor([[1.]])")
    assert str(caught.value).startswith("iw:3: Expected value to be in the support at image 7; ")


def test_wrong_input_and_bugs_pass_through() -> None:
    program, guide = VAE(4, 2, (5,)), DiagonalNormal(4, 2, (5,))
    for error in (InvalidInput("a", 1, "b", "c"), KeyError("a bug"), ValueError("shapes do not fit")):
        with pytest.raises(type(error), match=str(error.args[0])), at_image("iw:3", program, guide, IMAGES[:1], 7):
            raise error
