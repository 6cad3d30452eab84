"""Any of Pyro's automatic guides for the images at hand: variational inference without an encoder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.infer import autoguide
from pyro.nn import AutoRegressiveNN
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ..distributions import full_precision
from ..errors import InvalidInput, nearest
from ..program import GenerativeProgram
from .base import Guide
from .laplace import check_density, log_joint, steady

NO_SHAPE = torch.Size()
# Those with a density and no further argument. AutoDelta and AutoLaplaceApproximation are fitted as point masses.
NAMES = ("Normal", "DiagonalNormal", "MultivariateNormal", "LowRankMultivariateNormal", "IAFNormal")
KINDS: dict[str, type[autoguide.AutoGuide]] = {f"Auto{name}": getattr(autoguide, f"Auto{name}") for name in NAMES}


class PyroAuto(Guide):
    """q(z | x) is one of Pyro's AutoGuides, fitted anew to the images of each call: it is not amortized.

    Every image gets a copy of the AutoGuide with parameters of its own, and ``steps`` of Adam on its own ELBO, with the
    program held fixed; all copies are fitted side by side. They start alike and meet the same noise, which the seed
    decides, so that the posterior of an image does not depend on the other images, nor on when it is asked for. A
    posterior is good for its images and this state of the program: it is kept until either changes.

    There is nothing to train and nothing to save: the AutoGuide's parameters are no parameters of this module, they are
    in no optimizer, in no ``state_dict`` and not in Pyro's parameter store. A program can be trained with it, by the
    gradient of log p(x, z) at samples of a posterior fitted for that very update (variational expectation
    maximization); that costs ``steps`` evaluations per update, and is meant as the yardstick of an encoder.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        kind: ``"AutoNormal"``, ``"AutoDiagonalNormal"``, ``"AutoMultivariateNormal"``,
            ``"AutoLowRankMultivariateNormal"`` or ``"AutoIAFNormal"``; the flow of the last has noisier gradients, and
            likes 1000 steps at 0.02.
        steps: updates of a fit.
        learning_rate: of Adam at first; it falls to 0 along half a cosine.
        num_particles: samples of z per image and update.
        seed: of a fit's initial parameters and noise.

    Raises:
        InvalidInput: for an unknown kind, a flow of one latent, or a count or rate that is not positive.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        kind: str = "AutoNormal",
        steps: int = 300,
        learning_rate: float = 0.1,
        num_particles: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(data_dim, latent_dim)
        if kind not in KINDS:
            raise InvalidInput("kind", kind, "is no AutoGuide with a density", nearest(str(kind), KINDS))
        if kind == "AutoIAFNormal" and self.latent_dim == 1:
            raise InvalidInput("kind", kind, "a flow of one latent is a normal distribution", "use AutoNormal")
        for name, value in (("steps", steps), ("learning_rate", learning_rate), ("num_particles", num_particles)):
            if not value > 0:
                raise InvalidInput(name, value, "a fit needs a positive one", "write for example 0.05 or 200")
        self.kind, self.steps, self.learning_rate = kind, int(steps), float(learning_rate)
        self.num_particles, self.seed = int(num_particles), int(seed)
        self._kept: tuple[list[Tensor], TorchDistribution] | None = None

    def bind(self, program: GenerativeProgram) -> None:
        """Pair with a program; what cannot be served is refused by ``check_density``."""
        super().bind(program)
        check_density(self, program)
        self._kept = None

    def __getstate__(self) -> dict[str, object]:
        """Copies fit anew: an AutoGuide cannot be copied."""
        return self.__dict__ | {"_kept": None}

    def posterior(self, x: Tensor) -> TorchDistribution:
        """The fitted q(z | x): (N, D) -> batch shape (N,), event shape (L,); refused before ``bind``."""
        state = [x.detach(), *self.program.state_dict().values()]
        if self._kept is not None and same(self._kept[0], state):
            return self._kept[1]
        with apart(self.program, x), torch.random.fork_rng(devices=[x.device.index or 0] if x.is_cuda else []):
            torch.manual_seed(self.seed)
            fitted = self.fit(x)
        self._kept = ([tensor.clone() for tensor in state], fitted)
        return fitted

    def fit(self, x: Tensor) -> PerImage:
        """Maximise the sum of the images' ELBOs, whose terms share no parameter."""
        with torch.no_grad():
            prior = self.program.prior()
        guide = OneImage(KINDS[self.kind], prior).to(x)
        parameters = {
            name: value.detach().expand(len(x), *value.shape).clone().requires_grad_()
            for name, value in guide.named_parameters()
        }
        adam = torch.optim.Adam(parameters.values(), self.learning_rate)
        for step in range(self.steps):
            adam.param_groups[0]["lr"] = self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2
            z, log_q = PerImage(guide, parameters).same_draws(self.num_particles)
            elbo = (log_joint(self.program, prior, x, z) - log_q).mean(0)
            adam.zero_grad()
            elbo.sum().neg().backward(inputs=list(parameters.values()))
            adam.step()
        return PerImage(guide, {name: value.detach() for name, value in parameters.items()})


class OneImage(nn.Module):
    """An AutoGuide of one image's z, asked for its distribution and not for Pyro sites.

    It reads the name, shape and support of z off a model: here one that samples z from the ``prior``, batch shape (),
    event shape (L,), and no more.
    """

    def __init__(self, kind: type[autoguide.AutoGuide], prior: TorchDistribution) -> None:
        super().__init__()
        # Start at z = 0 where the kind lets one choose: Pyro's other default is a median of random draws.
        options = {} if kind is autoguide.AutoIAFNormal else {"init_loc_fn": autoguide.init_to_feasible}
        self.auto = kind(lambda: pyro.sample("z", prior), **options)
        self.auto()  # AutoGuides make their parameters at the first call
        for part in self.auto.modules():
            if isinstance(part, AutoRegressiveNN):
                part.register_forward_pre_hook(in_its_precision)
        found = self.distribution()
        self.event_shape, self.is_flow = found.event_shape, isinstance(found, dist.TransformedDistribution)

    def distribution(self) -> TorchDistribution:
        """q(z): batch shape (), event shape (L,)."""
        if isinstance(self.auto, autoguide.AutoNormal):
            return dist.Normal(self.auto.locs.z, self.auto.scales.z).to_event(1)
        return self.auto.get_posterior()

    def forward(self, method: str, *arguments: object) -> object:
        """A method or property of ``distribution()``; ``"draw"`` gives z (S, L) with log q (S,)."""
        found = self.distribution()
        if method == "draw":
            z = found.rsample(*arguments)
            return z, found.log_prob(z)
        found = getattr(found, method)
        return found(*arguments) if callable(found) else found


class PerImage(TorchDistribution):
    """One distribution of a family for every image, each with parameters of its own.

    Args:
        guide: the family.
        parameters: of the family, with a leading dimension N each.
        batch_shape: what they are broadcast to, (..., N); (N,) unless given.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  named so by torch
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, guide: OneImage, parameters: dict[str, Tensor], batch_shape: torch.Size | None = None) -> None:
        self.guide, self.parameters = guide, parameters
        count = len(next(iter(parameters.values())))
        batch_shape = torch.Size([count]) if batch_shape is None else batch_shape
        super().__init__(batch_shape, guide.event_shape, validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: TorchDistribution | None = None) -> TorchDistribution:
        """The same, broadcast to (..., N)."""
        batch_shape = torch.Size(batch_shape)
        parameters = {name: value.expand(batch_shape[-1], *value.shape[1:]) for name, value in self.parameters.items()}
        return PerImage(self.guide, parameters, batch_shape)

    def call(self, method: str, *arguments: object, values: Tensor | None = None, **options: object) -> object:
        """``OneImage(method, ...)`` for all images; ``values`` (..., N, L) go to each its own."""

        def one(parameters: dict[str, Tensor], value: Tensor | None) -> object:
            given = arguments if value is None else (*arguments, value)
            return functional_call(self.guide, parameters, (method, *given))

        with plain(next(iter(self.parameters.values()))):
            return vmap(one, in_dims=(0, None if values is None else -2), **options)(self.parameters, values)

    def same_draws(self, count: int) -> tuple[Tensor, Tensor]:
        """z (S, N, L) from the same noise for all images, and log q (S, N) for the gradient of an ELBO.

        Where log q needs no inverse of a flow its parameters count as constants, which leaves the gradient its mean,
        and no noise at the true posterior (Roeder et al. 2017, 1703.09194).
        """
        z, log_q = self.call("draw", (count,), out_dims=1, randomness="same")
        if self.guide.is_flow:
            return z, log_q
        return z, PerImage(self.guide, {name: value.detach() for name, value in self.parameters.items()}).log_prob(z)

    def rsample(self, sample_shape: torch.Size = NO_SHAPE) -> Tensor:
        """Draws with noise of their own, image by image: vmap has no different noise for tensors made inside."""
        shape = torch.Size(sample_shape) + self.batch_shape[:-1]
        rows = [{name: value[n] for name, value in self.parameters.items()} for n in range(self.batch_shape[-1])]
        with plain(next(iter(self.parameters.values()))):
            return torch.stack([functional_call(self.guide, row, ("rsample", shape)) for row in rows], -2)

    def log_prob(self, value: Tensor) -> Tensor:
        """log q(z): (..., N, L) -> (..., N), nats."""
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return self.call("log_prob", values=value.expand(*shape, *self.event_shape), out_dims=-1)

    @property
    def mean(self) -> Tensor:
        """Of each latent; a flow raises ``NotImplementedError``, here and for the variance."""
        return self.call("mean").expand(*self.batch_shape, *self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Of each latent."""
        return self.call("variance").expand(*self.batch_shape, *self.event_shape)


def in_its_precision(net: AutoRegressiveNN, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Inputs in the net's precision: Pyro inverts a flow from zeros in the default one."""
    return tuple(value.to(net.layers[0].weight.dtype) for value in inputs)


def same(before: list[Tensor], now: list[Tensor]) -> bool:
    """Whether all tensors have the values they had."""
    kinds = [[(a.shape, a.dtype, a.device) for a in tensors] for tensors in (before, now)]
    return kinds[0] == kinds[1] and all(torch.equal(a, b) for a, b in zip(before, now, strict=True))


@contextmanager
def plain(like: Tensor) -> Iterator[None]:
    """Inside, precision is full, and Pyro validates nothing: it asks tensors for their values, and vmap has none."""
    with full_precision(like), pyro.validation_enabled(False):
        yield


@contextmanager
def apart(program: nn.Module, x: Tensor) -> Iterator[None]:
    """Inside, gradients are on, and nothing happens that a Pyro handler outside, or the parameter store, could see."""
    local = pyro.settings.context(module_local_params=True)
    with poutine.block(), local, plain(x), steady(program, x), torch.enable_grad():
        yield
