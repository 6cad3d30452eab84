"""Pairs whose every bound is known: a linear-Gaussian one, and a discrete one small enough to enumerate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.guides import Guide, GuideProgram
from ppl_models.program import GenerativeProgram, LatentProgram


class Linear(LatentProgram):
    """z ~ N(0, I), x | z ~ N(W z + b, s^2 I): real-valued."""

    measure = "density"

    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__(data_dim, latent_dim, levels=0)
        # Orthogonal columns: the posterior is a diagonal normal.
        columns = torch.linalg.qr(torch.randn(data_dim, latent_dim, dtype=torch.float64))[0]
        weight = columns * torch.linspace(1.0, 2.0, latent_dim)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(torch.randn(data_dim))
        self.log_scale = nn.Parameter(torch.tensor(-0.4))

    def prior(self) -> dist.TorchDistribution:
        return dist.Normal(self.bias.new_zeros(self.latent_dim), 1.0).to_event(1)

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Normal(z @ self.weight.T + self.bias, self.log_scale.exp()).to_event(1)


class ScoredNormal(dist.Normal):
    """A normal whose draws no gradient passes."""

    has_rsample = False


class Affine(Guide):
    """q(z | x) = N(A x + c, diag v): independent latents."""

    normal = dist.Normal

    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__(data_dim, latent_dim)
        self.weight = nn.Parameter(0.3 * torch.randn(latent_dim, data_dim))
        self.bias = nn.Parameter(torch.linspace(0.2, 0.4, latent_dim))
        self.log_scale = nn.Parameter(torch.linspace(-0.5, 0.1, latent_dim))

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return self.normal(x @ self.weight.T + self.bias, self.log_scale.exp()).to_event(1)

    @torch.no_grad()
    def become_exact(self, program: Linear) -> None:
        """The posterior of the program: N(M^-1 W^T (x - b), s^2 M^-1), M = W^T W + s^2 I."""
        variance = (2 * program.log_scale).exp()
        inverse = torch.linalg.inv(
            program.weight.T @ program.weight + variance * torch.eye(program.latent_dim).to(variance)
        )
        self.weight.copy_(inverse @ program.weight.T)
        self.bias.copy_(-inverse @ program.weight.T @ program.bias)
        self.log_scale.copy_((variance * inverse.diagonal()).log() / 2)


class Scored(Affine):
    """The same without reparameterization."""

    normal = ScoredNormal


def linear_pair(
    data_dim: int = 3, latent_dim: int = 2, guide: type[Affine] = Affine, seed: int = 0
) -> tuple[Linear, Affine]:
    """The pair in double precision, with the same weights at every call with the same seed."""
    torch.manual_seed(seed)
    return Linear(data_dim, latent_dim).double(), guide(data_dim, latent_dim).double()


def likelihood_term(program: Linear, guide: Affine, x: Tensor) -> Tensor:
    """E_q[log p(x | z)] in closed form: (N,), differentiable."""
    mean, variance = x @ guide.weight.T + guide.bias, (2 * guide.log_scale).exp()
    error = (x - program.bias - mean @ program.weight.T).square().sum(-1)
    error = error + (program.weight.square() * variance).sum()
    scale = program.log_scale
    return -program.data_dim * (0.5 * math.log(2 * math.pi) + scale) - error / (2 * (2 * scale).exp())


def divergence_term(guide: Affine, x: Tensor) -> Tensor:
    """KL(q(z_l | x) || N(0, 1)) in closed form: (N, L), differentiable."""
    mean, log_variance = x @ guide.weight.T + guide.bias, 2 * guide.log_scale
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance)


class Switches(GenerativeProgram):
    """Two one-hot latents, z2 ~ p(z2), z1 | z2, and binary pixels given z1 and z2: tables of free log-odds."""

    latents = ("z1", "z2")

    def __init__(self, data_dim: int = 3) -> None:
        super().__init__(data_dim)
        self.top = nn.Parameter(torch.randn(2))
        self.below = nn.Parameter(torch.randn(2, 3))
        self.pixels = nn.Parameter(torch.randn(3, 2, data_dim))

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        with self.plate(x, size):
            z2 = pyro.sample("z2", dist.OneHotCategorical(logits=self.top))
            z1 = pyro.sample("z1", dist.OneHotCategorical(logits=z2 @ self.below))
            logits = torch.einsum("...a,...b,abd->...d", z1, z2, self.pixels)
            return self.observe(dist.Bernoulli(logits=logits).to_event(1), x, size)


class SwitchGuide(GuideProgram):
    """q(z2 | x) q(z1 | z2, x), logits linear in the image."""

    def __init__(self, data_dim: int = 3) -> None:
        super().__init__()
        self.top = nn.Parameter(torch.randn(data_dim, 2))
        self.below = nn.Parameter(torch.randn(data_dim, 2, 3))

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        with pyro.plate("image", len(x)):
            z2 = pyro.sample("z2", dist.OneHotCategorical(logits=x @ self.top))
            return pyro.sample(
                "z1", dist.OneHotCategorical(logits=torch.einsum("nd,...nb,dba->...na", x, z2, self.below))
            )


def switches(seed: int = 0) -> tuple[Switches, SwitchGuide]:
    """The discrete pair in double precision."""
    torch.manual_seed(seed)
    return Switches().double(), SwitchGuide().double()


def tables(program: Switches, guide: SwitchGuide, x: Tensor) -> dict[str, Tensor]:
    """By plain tensor algebra, over the states (a, b) of (z1, z2), each (3, 2, N)."""
    log_p2 = program.top.log_softmax(0)
    log_p1 = program.below.log_softmax(1)
    log_q2 = (x @ guide.top).log_softmax(-1)
    log_q1 = torch.einsum("nd,dba->nba", x, guide.below).log_softmax(-1)
    logits = program.pixels[:, :, None]
    log_x = (x * logits - torch.nn.functional.softplus(logits)).sum(-1)
    shape = (3, 2, len(x))
    return {
        "log_x": log_x.expand(shape),
        "log_p2": log_p2[None, :, None].expand(shape),
        "log_p1": log_p1.T[:, :, None].expand(shape),
        "log_q2": log_q2.T[None].expand(shape),
        "log_q1": log_q1.permute(2, 1, 0).expand(shape),
    }


def gradients(loss: Tensor, *modules: nn.Module) -> Tensor:
    """The gradient of all parameters of the modules in one vector; zeros where there is none."""
    parameters = [p for module in modules for p in module.parameters()]
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found, strict=True)]
    )


def replicates(draw: Callable[[], Tensor], count: int) -> tuple[Tensor, Tensor]:
    """Mean of ``count`` vectors and its standard error, which is at least rounding."""
    rows = torch.stack([draw() for _ in range(count)])
    return rows.mean(0), rows.std(0) / math.sqrt(count) + 1e-9


def agree(found: tuple[Tensor, Tensor], truth: Tensor, width: float = 4.0) -> bool:
    """Whether a mean lies within so many standard errors of the truth, in every component."""
    return bool(((found[0] - truth).abs() < width * found[1]).all())


def all_images(data_dim: int) -> Tensor:
    """Every binary image, (2^D, D), in double precision."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=data_dim)), dtype=torch.float64)
