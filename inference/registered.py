"""A bridge to ``pyro.infer.SVI`` for plain modules."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pyro
from torch import nn

_numbers = itertools.count()


def registered(module: nn.Module) -> Callable[..., Any]:
    """The module as a Pyro callable whose parameters ``SVI.step`` trains.

    ``SVI.step`` looks for parameters in Pyro's param store. A plain module has none there, and ``SVI`` would train
    nothing without a word. This calls ``pyro.module`` under a name no other module has: two modules under one name
    would share parameters, and the second would never train. It is this project's only use of the param store.

        svi = SVI(registered(program), registered(guide), Adam({"lr": 1e-3}), Trace_ELBO())
    """
    name = f"{type(module).__name__}-{next(_numbers)}"

    def call(*args: Any, **kwargs: Any) -> Any:
        pyro.module(name, module)
        return module(*args, **kwargs)

    return call
