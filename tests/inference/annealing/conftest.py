"""Programs whose log p(x) is known without annealing: a linear one, one over positive latents, one with a switch."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from ppl_models.program import GenerativeProgram
from ppl_models.programs import LinearVAE


@pytest.fixture
def linear() -> LinearVAE:
    """Six real pixels, two latents of different scale, float64."""
    program = LinearVAE(6, 2, levels=0).double()
    with torch.no_grad():
        program.decoder.weight.copy_(torch.randn(6, 2) * torch.tensor([1.5, 0.5]))
        program.decoder.bias.normal_()
        program.family.log_scale.fill_(-0.5)
    return program.eval()


@pytest.fixture
def real_images(linear: LinearVAE) -> Tensor:
    """Twelve draws of the linear program."""
    with torch.no_grad():
        return linear(size=12)


class Switched(GenerativeProgram):
    """c ~ Categorical, z | c ~ N(m_c, 1/4), x_i | z, c ~ Bernoulli: one discrete latent beside one real number."""

    latents = ("c", "z")
    WEIGHTS, MEANS = (0.2, 0.5, 0.3), (-1.5, 0.0, 2.0)

    def __init__(self) -> None:
        super().__init__(3)
        self.slope = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        with self.plate(x, size):
            c = pyro.sample("c", dist.Categorical(self.slope.new_tensor(self.WEIGHTS)))
            z = pyro.sample("z", dist.Normal(self.slope.new_tensor(self.MEANS)[c.long()], 0.5))
            logits = self.slope * (z + c).unsqueeze(-1)
            return self.observe(dist.Bernoulli(logits=logits).to_event(1), x, size)

    def truth(self, x: Tensor) -> np.ndarray:
        """log p(x) by a sum over c and the trapezoidal rule over z, in numpy."""
        z = np.linspace(-6, 7, 4001)
        slope, total = self.slope.detach().double().numpy(), 0.0
        for c, (weight, mean) in enumerate(zip(self.WEIGHTS, self.MEANS, strict=True)):
            density = weight * np.exp(-((z - mean) ** 2) / 0.5) / np.sqrt(0.5 * np.pi)
            logits = slope * (z + c)[:, None]
            log_p = x.double().numpy() @ logits.T - np.logaddexp(0, logits).sum(-1)
            total = total + (np.exp(log_p) * density).sum(-1) * (z[1] - z[0])
        return np.log(total)


class Rates(GenerativeProgram):
    """r ~ Exponential(1) and a probability s ~ Beta(2, 2), x_i ~ Bernoulli(s exp(-r a_i)): supports that end."""

    latents = ("r", "s")

    def __init__(self) -> None:
        super().__init__(3)
        self.rates = nn.Parameter(torch.tensor([0.2, 1.0, 3.0]))

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        one = torch.ones_like(self.rates[0])
        with self.plate(x, size):
            r = pyro.sample("r", dist.Exponential(one))
            s = pyro.sample("s", dist.Beta(2 * one, 2 * one))
            probability = s.unsqueeze(-1) * torch.exp(-r.unsqueeze(-1) * self.rates)
            return self.observe(dist.Bernoulli(probability).to_event(1), x, size)

    def truth(self, x: Tensor) -> np.ndarray:
        """log p(x) by the midpoint rule over both latents, in numpy."""
        s = (np.arange(2000) + 0.5) / 2000
        q = (np.arange(2000) + 0.5) / 2000  # exp(-r), uniform where r is exponential
        weight = 6 * s * (1 - s) / s.size / q.size
        p = s[:, None, None] * q[None, :, None] ** self.rates.detach().double().numpy()
        mass = [np.where(image > 0, p, 1 - p).prod(-1) for image in x.numpy()]
        return np.log([(m * weight[:, None]).sum() for m in mass])


@pytest.fixture
def switched() -> Switched:
    return Switched()


@pytest.fixture
def rates() -> Rates:
    return Rates()


@pytest.fixture
def three_pixel_images() -> Tensor:
    """All 8 images of three binary pixels."""
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
