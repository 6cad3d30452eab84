"""Every check of a program, and of a distribution, fails on one with the fault that it is for."""

from __future__ import annotations

import random
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from ppl_models.program import GenerativeProgram
from ppl_models.programs import MADE, VAE, LinearVAE
from ppl_models.testing import ConformanceError, check_distribution, check_program
from ppl_models.testing.distribution import STEPS as OF_DISTRIBUTIONS
from ppl_models.testing.program import STEPS

NUMBERS = random.SystemRandom()  # of which torch's seed knows nothing


class Small(VAE):
    def __init__(self, data_dim: int, latent_dim: int = 2) -> None:
        super().__init__(data_dim, latent_dim, (8,))

    def logits(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        return self.pixels(logits=self.logits(z)).to_event(1)

    pixels: type[dist.Bernoulli] = dist.Bernoulli


class Declares(Small):
    latents = ("z", "w")


class OneImage(Small):
    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        return super().forward(x, size=1)


class OneDraw(Small):
    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        if x is not None:
            return super().forward(x)
        with pyro.plate("one", 1):
            z = pyro.sample("z", self.prior())
        with pyro.plate("image", size):
            return pyro.sample("x", self.likelihood(z.expand(size, -1)))


class Lenient(Small):
    def check(self, x: Tensor) -> None:
        """Anything goes."""


class NotANumber(MADE):
    def log_prob(self, x: Tensor) -> Tensor:
        return super().log_prob(x).sqrt()  # of a negative number


class Heavy(MADE):
    def log_prob(self, x: Tensor) -> Tensor:
        return super().log_prob(x) + 0.1


class OnlyTwo(Small):
    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        return super().likelihood(z.reshape(-1, z.shape[-1]))


class Placed(Small):
    def logits(self, z: Tensor) -> Tensor:
        logits = super().logits(z)
        return logits + torch.arange(z.shape[-2]).to(z)[:, None] if z.ndim > 1 else logits


class Silent(Small):
    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        with pyro.plate("image", size if x is None else len(x)):
            z = pyro.sample("z", self.prior())
            return pyro.sample("x", self.likelihood(z), obs=x)


class Loud(dist.Bernoulli):
    """More probability than there is."""

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + 0.01


class Unnormalized(Small):
    pixels = Loud


class Flipped(dist.Bernoulli):
    """Draws black where it says white."""

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return 1 - super().sample(sample_shape)


class Negative(Small):
    pixels = Flipped

    def logits(self, z: Tensor) -> Tensor:
        return super().logits(z) + 1


class TooExact(LinearVAE):
    def log_prob(self, x: Tensor) -> Tensor:
        return super().log_prob(x) + 0.2


class TooModest(LinearVAE):
    def log_prob(self, x: Tensor) -> Tensor:
        return super().log_prob(x) - 1


class Unused(Small):
    def __init__(self, data_dim: int, latent_dim: int = 2) -> None:
        super().__init__(data_dim, latent_dim)
        self.forgotten = nn.Parameter(torch.zeros(3))


class Forgetful(Small):
    def __init__(self, data_dim: int, latent_dim: int = 2) -> None:
        super().__init__(data_dim, latent_dim)
        self.offset = torch.randn(data_dim)

    def logits(self, z: Tensor) -> Tensor:
        return super().logits(z) + self.offset.to(z)


class Alias(Small):
    def __deepcopy__(self, memo: dict) -> Alias:
        return self


class Single(Small):
    def logits(self, z: Tensor) -> Tensor:
        return super().logits(z).float()


class Unseeded(Small):
    def prior(self) -> dist.TorchDistribution:
        return dist.Normal(torch.full((2,), NUMBERS.random()).to(self.decoder[0].weight), 1.0).to_event(1)


class Stored(Small):
    def logits(self, z: Tensor) -> Tensor:
        return super().logits(z) + pyro.param("stored", torch.zeros(1)).to(z)


# check -> programs with the fault, and a word of the sentence that is for them
FAULTS: dict[str, list[tuple[Callable[[], GenerativeProgram], str]]] = {
    "latent sites": [(lambda: Declares(6), "declares latents")],
    "generation": [(lambda: OneImage(6), "program(size=5)"), (lambda: OneDraw(6), "share one draw")],
    "bad images": [(lambda: Lenient(6), "a pixel too many")],
    "finite numbers": [(lambda: NotANumber(6, (8,)), "log_prob(x) is NaN")],
    "parts and call agree": [(lambda: Heavy(6, (8,)), "log_prob(x) is not distribution()")],
    "leading dimensions": [(lambda: OnlyTwo(6), "")],
    "images in any order": [(lambda: Placed(6), "another order")],
    "Pyro's condition": [(lambda: Silent(6), "without size")],
    "total mass": [(lambda: Unnormalized(6), "")],
    "draws fit log_prob": [(lambda: Negative(6), "")],
    "exact log p(x)": [(lambda: TooExact(6, 2), "times exp(log_prob(x))"), (lambda: TooModest(6, 2), "times exp")],
    "gradients": [(lambda: Unused(6), "forgotten")],
    "saved state": [(lambda: Forgetful(6), "register_buffer")],
    "deep copy": [(lambda: Alias(6), "changes the original")],
    "float64": [(lambda: Single(6), "float32")],
    "one seed, one draw": [(lambda: Unseeded(6), "torch's generator")],
    "parameter store": [(lambda: Stored(6), "stored")],
}


def test_every_check_has_a_fault() -> None:
    assert set(FAULTS) == {step.name for step in STEPS}


@pytest.mark.parametrize(("name", "make", "words"), [(n, m, w) for n, faults in FAULTS.items() for m, w in faults])
def test_a_fault_is_found_by_the_check_that_is_for_it(
    name: str, make: Callable[[], GenerativeProgram], words: str
) -> None:
    x = torch.tensor([[int(bit) for bit in row] for row in ("011010", "110001", "000111", "101011", "111100")])
    torch.manual_seed(0)
    with pytest.raises(ConformanceError) as caught:
        check_program(make(), x.float())
    check = caught.value.report[name]
    assert check.outcome == "failed", caught.value.report
    assert words in check.sentence
    assert "\n" not in check.sentence
    pyro.clear_param_store()


def test_without_a_fault_none_fails() -> None:
    assert check_program(Small(6)).ok


class Flat(dist.Normal):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value).sum(-1)


class Stuck(dist.Normal):
    def expand(self, batch_shape: torch.Size, _instance: object = None) -> dist.TorchDistribution:
        return dist.Normal(self.loc, 2 * self.scale).expand(batch_shape)


class Positive(dist.Normal):
    support = dist.constraints.positive


class Wide(dist.Normal):
    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return self.loc + 1.2 * (super().rsample(sample_shape) - self.loc)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            return self.rsample(sample_shape)


class Cut(dist.Normal):
    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return super().rsample(sample_shape).detach()


DISTRIBUTIONS = {
    "shapes": Flat,
    "expand": Stuck,
    "support": Positive,
    "draws fit log_prob": Wide,
    "reparameterization": Cut,
}


@pytest.mark.parametrize("name", [step.name for step in OF_DISTRIBUTIONS])
def test_a_fault_of_a_distribution_is_found_by_the_check_that_is_for_it(name: str) -> None:
    loc = torch.zeros(3, requires_grad=True)
    assert check_distribution(dist.Normal(loc, torch.ones(3))).ok
    with pytest.raises(ConformanceError) as caught:
        check_distribution(DISTRIBUTIONS[name](loc, torch.ones(3), validate_args=False))
    assert caught.value.report[name].outcome == "failed", caught.value.report
