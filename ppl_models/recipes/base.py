"""What a recipe is, and the options of functions and classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from ..errors import InvalidInput, nearest
from ..guides import GuideProgram

Pair = tuple[nn.Module, GuideProgram | None]
FROM_DATA = ("data_dim", "levels", "shape")
# What a recipe asks of a prior by name, where its latents are real numbers.
CONTINUOUS = ("continuous",)
# A guide is also told the length of its program's latent vector.
GIVEN_TO_GUIDES = (*FROM_DATA, "latent_dim")


def check_options(
    prefix: str, name: str, target: Callable[..., Any], options: Mapping[str, Any], given: Sequence[str]
) -> None:
    """Raise ``InvalidInput``, with the nearest names, for an option that ``target`` lacks or that it is ``given``."""
    known = [own for own in parameters_of(target) if own not in given]
    for option, value in options.items():
        if option not in known:
            problem = f"{name} has no such option"
            raise InvalidInput(f"--{prefix}.{option}", value, problem, nearest(option, known))


def filled(target: Callable[..., Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a function or class that the data decide."""
    return {name: data[name] for name in parameters_of(target) if name in FROM_DATA and name in data}


def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The named parameters of a function or class; a class that takes ``**options`` has those of its parent too."""
    found: dict[str, inspect.Parameter] = {}
    for owner in target.__mro__ if isinstance(target, type) else (target,):
        if isinstance(target, type) and "__init__" not in vars(owner):
            continue
        own = inspect.signature(owner).parameters.values()
        found = {p.name: p for p in own if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} | found
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return found
