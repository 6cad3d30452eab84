"""Fresh instances of the class under test, and copies of a pair that a check may change."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..guides import GuideProgram
from ..ordering import image_shape
from ..program import GenerativeProgram
from ..recipes import GIVEN_TO_GUIDES, build_guide, check_options, filled, parameters_of
from .report import Skip

Options = Mapping[str, Any]


@dataclass(kw_only=True)
class Subject(ABC):
    """What is under test.

    Args:
        x: five different images (5, D).
        options: what its class was called with; ``None`` if that is not known.
        data: what the data say of themselves.
        error: why it cannot be copied; ``None`` if it can.
    """

    x: Tensor
    options: Options | None
    data: dict[str, Any]
    error: Exception | None = None

    @abstractmethod
    def modules(self) -> tuple[nn.Module | None, ...]:
        """The module under test first."""

    @cached_property
    def _copies(self) -> tuple[Any, ...]:
        return copied(self.modules()) if self.error is None else self.modules()

    def pair(self, *, mine: bool = False) -> tuple[Any, ...]:
        """The modules in evaluation mode: a copy that checks share and leave as it is, or one of the caller's own.

        Raises:
            Skip: if they cannot be copied, and the check would change them (``mine``).
        """
        if mine and self.error is not None:
            raise Skip("it cannot be copied, and this check would change it")
        modules = copied(self.modules()) if mine else self._copies
        for module in modules:
            if module is not None:
                module.eval()
        return modules


def data_of(module: nn.Module, program: GenerativeProgram, shape: Sequence[int] | None) -> dict[str, Any]:
    """What a recipe would be told of the data."""
    given = shape or getattr(module, "shape", None) or getattr(program, "shape", None)
    levels = getattr(module, "levels", program.levels)
    return {
        "data_dim": program.data_dim,
        "levels": levels if isinstance(levels, int) else program.levels,
        "shape": tuple(given or image_shape(program.data_dim, None)),
    }


def options_of(module: nn.Module) -> dict[str, Any]:
    """The options that an instance tells of itself: attributes of the options' names that hold plain values."""
    own = {name: getattr(module, name, None) for name in parameters_of(type(module)) if name not in GIVEN_TO_GUIDES}
    return {name: value for name, value in own.items() if value is not None and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return isinstance(value, bool | int | float | str)


def fresh_guide(guide: GuideProgram, data: Mapping[str, Any], latent_dim: Any, options: Options | None) -> GuideProgram:
    """A new guide of the same class, on the same device and in evaluation mode.

    Raises:
        Skip: if a class that is no ``Guide`` does not take ``(data_dim, latent_dim)``.
    """
    own = options_of(guide) if options is None else options
    return _placed(build_guide(type(guide), latent_dim, data, own), guide)


def fresh_program(
    program: GenerativeProgram, data: Mapping[str, Any], options: Options | None, **given: Any
) -> GenerativeProgram:
    """A new program of the same class, on the same device and in evaluation mode."""
    kind = type(program)
    own = options_of(program) if options is None else dict(options)
    check_options("program", kind.__name__, kind, own, ("data_dim", "levels", "shape"))
    if "latent_dim" in parameters_of(kind) and hasattr(program, "latent_dim"):
        own = {"latent_dim": program.latent_dim, **own}
    return _placed(kind(**filled(kind, data), **own, **given), program)


def _placed(new: nn.Module, like: nn.Module) -> Any:
    for tensor in (*like.parameters(), *like.buffers()):
        if tensor.is_floating_point():
            new.to(tensor.device, tensor.dtype)
            break
    return new.eval()


def check_same_state(new: nn.Module, old: nn.Module, options: Options | None) -> None:
    """Raise ``Skip`` where a fresh instance is of another size because its options are not known."""
    sizes = [{key: getattr(value, "shape", None) for key, value in m.state_dict().items()} for m in (new, old)]
    if sizes[0] != sizes[1] and options is None:
        raise Skip(f"the options that this {type(old).__name__} was built with are not known: pass options={{...}}")


def copied(pair: tuple[nn.Module | None, ...]) -> tuple[Any, ...]:
    """Modules copied together, so that they stay bound to each other, without gradients and in evaluation mode.

    Raises:
        RuntimeError: or whatever ``copy.deepcopy`` raises.
    """
    new = copy.deepcopy(pair)
    for module in new:
        if module is not None:
            module.eval().zero_grad(set_to_none=True)
    return new


def copied_or_same(pair: tuple[nn.Module | None, ...]) -> tuple[tuple[Any, ...], Exception | None]:
    """The copies, or the modules themselves with the error why they cannot be copied."""
    try:
        return copied(pair), None
    except Exception as error:  # noqa: BLE001  a user's __deepcopy__ or __reduce__ may raise anything
        return pair, error


@contextmanager
def lent(*modules: nn.Module) -> Iterator[None]:
    """Afterwards the modules have the state, modes and gradients that they came with."""
    states = [{key: copy.copy(value) for key, value in module.state_dict().items()} for module in modules]
    for state in states:
        state.update({key: value.clone() for key, value in state.items() if isinstance(value, torch.Tensor)})
    modes = [(part, part.training) for module in modules for part in module.modules()]
    gradients = [(p, p.grad) for module in modules for p in module.parameters()]
    try:
        yield
    finally:
        for module, state in zip(modules, states, strict=True):
            module.load_state_dict(state)
        for part, training in modes:
            part.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient


@torch.no_grad()
def jitter(module: nn.Module, size: float = 0.05) -> None:
    """Move all trainable parameters a little: those that start at zero may hide gradients from others."""
    for parameter in module.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            parameter.add_(size * torch.randn_like(parameter))


def some_images(x: Tensor, program: GenerativeProgram, number: int = 5) -> Tensor:
    """So many different images: of x (N, D), and where these are too few, of the program's own."""
    found: list[Tensor] = []
    extra = program(size=8 * number).detach() if len(x) < number else x[:0]
    for row in torch.cat([x, extra.to(x)]):
        if not any(torch.equal(row, other) for other in found):
            found.append(row)
        if len(found) == number:
            break
    rows = torch.stack(found)
    return rows[torch.arange(number, device=x.device) % len(rows)]
