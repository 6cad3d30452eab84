"""What an estimator is: ``(program, x) -> Estimate``, a number per image that carries its claim."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput
from ppl_models.nets import AutoregressiveNet

from ..claims import Claim
from ..weights import REMEDY, NonFiniteError

# Elements of the largest tensor of one chunk, rows x the widest layer: 2 MiB, near the size of a processor's cache.
MAX_ELEMENTS = 2**19


def rows_within(max_elements: int, data_dim: int, *modules: nn.Module) -> int:
    """How many rows (images or particles) go through the modules at a time.

    The widest tensor per row is the image, a linear layer's output (the parameters of all pixels are one), a
    convolution's channels over the image, or what an autoregressive net says of itself.
    """
    widths = [data_dim]
    for layer in (layer for module in modules for layer in module.modules()):
        if isinstance(layer, nn.Linear):
            widths.append(layer.out_features)
        elif isinstance(layer, nn.Conv2d):
            widths.append(layer.out_channels * data_dim)
        elif isinstance(layer, AutoregressiveNet):
            widths.append(layer.footprint())
    return max(1, max_elements // max(widths))


@dataclass(frozen=True)
class Estimate:
    """Evidence: log p(x) per image, in nats, with its claim.

    Args:
        values: (N,) nats, summed over pixels.
        claim: what may be said of them.
        stderr: (N,) Monte Carlo standard errors; ``None`` for exact and numerical values, NaN where one replicate gives
            none.
        tolerance: nats, for ``NUMERICAL``.
        diagnostics: further per-image tensors (N,), such as ``ess`` and ``pareto_k``.
    """

    values: Tensor
    claim: Claim
    stderr: Tensor | None = None
    tolerance: float | None = None
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)


@contextmanager
def evaluation_mode(*modules: nn.Module | None) -> Iterator[None]:
    """No gradients are kept and batch statistics and dropout are off; the modules' modes are restored afterwards.

    ``no_grad`` and not ``inference_mode``: a guide that refines by gradients turns them on again inside.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for module in modules:
            if module is not None:
                stack.callback(module.train, module.training)
                module.eval()
        yield


class Estimator(ABC):
    """A way to say how probable images are. A subclass writes ``estimate``; the call checks its arguments.

    Attributes:
        name: as on the command line and in ``evidence.nc``, for example ``"iw:5000"``.
        num_particles: K, or 0 where there are none.
        claim: what may be said of its values.
        shares_work: whether images share work, such as decoded codes, so that all are best scored in one call.
    """

    name: str
    shares_work: bool = False
    num_particles: int = 0
    claim: Claim

    @abstractmethod
    def estimate(self, program: nn.Module, x: Tensor, index: Sequence[int]) -> Estimate:
        """Values per image; gradients are off and the program is in evaluation mode."""

    @property
    def settings(self) -> str:
        """What its values depend on beside its name, in words."""
        return ""

    def modules(self) -> tuple[nn.Module, ...]:
        """What else must be in evaluation mode, such as a guide."""
        return ()

    def __call__(self, program: nn.Module, x: Tensor, index: Sequence[int] | None = None) -> Estimate:
        """Score images x (N, D).

        Args:
            program: what is scored.
            x: images (N, D), values 0..levels-1.
            index: each image's index in its split, the key of its noise; 0..N-1 unless given.

        Raises:
            NotADensityError: for the deterministic autoencoder.
            NonFiniteError: if a value comes out NaN.
            InvalidInput: for images outside the program's sample space, or an estimator the program does not admit.
        """
        if isinstance(program, NotADensity):
            program.refuse(self.name)
        program.check(x)
        if not len(x):
            raise InvalidInput("x", tuple(x.shape), "there are no images", "give at least one")
        index = range(len(x)) if index is None else index
        if len(index) != len(x):
            raise InvalidInput("index", f"{len(index)} entries", f"there are {len(x)} images", "give one per image")
        with evaluation_mode(program, *self.modules()):
            estimate = self.estimate(program, x, index)
        if estimate.values.shape != (len(x),):
            problem = f"{self.name} has shape {tuple(estimate.values.shape)}, not one number per image"
            raise InvalidInput("program", type(program).__name__, problem, "log_prob must give (N,): use to_event(1)")
        if estimate.values.isnan().any():
            image = index[int(estimate.values.isnan().nonzero()[0])]
            raise NonFiniteError(f"{self.name} of {type(program).__name__} is NaN at image {image}; {REMEDY}")
        return estimate


def positive(argument: str, value: int, what: str) -> int:
    """The value, if it is at least 1.

    Raises:
        InvalidInput: otherwise.
    """
    if value < 1:
        raise InvalidInput(argument, value, f"{what} must be at least 1", "give a positive whole number")
    return int(value)
