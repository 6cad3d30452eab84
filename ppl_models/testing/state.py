"""What guides and programs have in common: saved state, precision, seeds, and the world they leave behind."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pickle import UnpicklingError

import torch
from pyro.params.param_store import ParamStoreDict
from torch import Tensor, nn

from .report import Failure


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are meant to be trained."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def silent_parameters(module: nn.Module, loss: Tensor) -> set[str]:
    """Names of trainable parameters to which a loss passes no gradient.

    Raises:
        Failure: for a gradient that is NaN or infinite.
    """
    own = trainable(module)
    if not loss.requires_grad:
        return set(own)
    silent = set()
    for name, gradient in zip(own, torch.autograd.grad(loss, list(own.values()), allow_unused=True), strict=True):
        if gradient is None or not gradient.any():
            silent.add(name)
        elif not gradient.isfinite().all():
            raise Failure(f"the gradient of {name!r} is NaN or infinite: keep scales, logarithms and roots off 0")
    return silent


def check_saved(old: nn.Module, fresh: nn.Module) -> None:
    """Save a module's state and load it into a fresh one.

    Raises:
        Failure: if it cannot be saved, or does not fit a fresh instance.
    """
    file = io.BytesIO()
    torch.save(old.state_dict(), file)
    file.seek(0)
    try:
        fresh.load_state_dict(torch.load(file, weights_only=True))
    except UnpicklingError as error:
        raise Failure("its state_dict holds more than tensors and plain values: save no other objects") from error
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise Failure(
            f"a fresh instance does not load its state_dict ({problem}): create all parameters and buffers in __init__"
        ) from error


def check_dtypes(tensors: Mapping[str, Tensor]) -> None:
    """Raise ``Failure`` unless these are float64 and finite."""
    for name, value in tensors.items():
        if value.is_floating_point() and value.dtype != torch.float64:
            raise Failure(
                f"after .double() {name!r} is {value.dtype}: make constants from its inputs or buffers, not from "
                "torch.zeros() of the default dtype, and cast nothing down"
            )
        if not value.isfinite().all():
            raise Failure(f"after .double() {name!r} is NaN or infinite: it should be what it was in float32")


def check_same_noise(draw: Callable[[], Mapping[str, Tensor]]) -> None:
    """Raise ``Failure`` unless the same seed gives the same draws."""
    found = []
    for _ in range(2):
        torch.manual_seed(12345)
        found.append(draw())
    for name, value in found[0].items():
        if not torch.equal(value, found[1][name]):
            raise Failure(f"two calls under one seed draw different {name!r}: take all noise from torch's generator")


def check_store_empty(store: ParamStoreDict) -> None:
    """Raise ``Failure`` if parameters were left in Pyro's store."""
    names = sorted(store.keys())
    if names:
        raise Failure(
            f"it leaves {names[:5]} in Pyro's parameter store, where two models share them by name: make them "
            "nn.Parameter on self instead of pyro.param, pyro.module or PyroParam"
        )


def check_outside(guide: nn.Module, program: nn.Module) -> None:
    """Raise ``Failure`` if a guide has its program's parameters among its own."""
    theirs = {id(p) for p in program.parameters()}
    shared = [name for name, p in guide.named_parameters() if id(p) in theirs]
    if shared:
        raise Failure(
            f"it holds its program's parameters ({', '.join(shared[:3])}) as its own, and would save and train them: "
            "take the program from self.program, and assign it to no attribute"
        )
