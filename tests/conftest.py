"""What every test gets: one thread, fixed seeds, and a guard over global state.

This file also runs where there is no torch (the lane of the analysis tests under Python 3.12), so
it imports none at module level.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_PYRO = importlib.util.find_spec("pyro") is not None

# name -> (value now, a call that puts it back)
State = dict[str, tuple[object, Callable[[], object]]]


def _torch_state() -> State:
    import torch
    from torch.distributions import Distribution

    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    threads = torch.get_num_threads()
    device, validate = torch.get_default_device(), Distribution._validate_args
    deterministic = torch.are_deterministic_algorithms_enabled()
    return {
        "torch default dtype": (dtype, lambda: torch.set_default_dtype(dtype)),
        "torch default device": (device, lambda: torch.set_default_device(device)),
        "torch grad mode": (grad, lambda: torch.set_grad_enabled(grad)),
        "torch number of threads": (threads, lambda: torch.set_num_threads(threads)),
        "torch validation default": (
            validate,
            lambda: Distribution.set_default_validate_args(validate),
        ),
        "torch deterministic algorithms": (
            deterministic,
            lambda: torch.use_deterministic_algorithms(deterministic),
        ),
    }


def _pyro_state() -> State:
    import pyro
    from pyro.poutine.runtime import _PYRO_STACK

    settings, store = pyro.settings.get(), pyro.get_param_store()
    return {
        "pyro settings": (settings, lambda: pyro.settings.set(**settings)),
        "pyro param store": (sorted(store.keys()), pyro.clear_param_store),
        "pyro effect handlers": (len(_PYRO_STACK), _PYRO_STACK.clear),
    }


def _state() -> State:
    folder, errors = os.getcwd(), np.geterr()
    state: State = {
        "working directory": (folder, lambda: os.chdir(folder)),
        "numpy error handling": (errors, lambda: np.seterr(**errors)),
    }
    if "matplotlib" in sys.modules:
        matplotlib = sys.modules["matplotlib"]
        # the backend is chosen at first use, which is no change of anyone's
        style = {k: v for k, v in matplotlib.rcParams.copy().items() if not k.startswith("backend")}
        state["matplotlib rcParams"] = (style, lambda: matplotlib.rcParams.update(style))
    if HAS_TORCH:
        state |= _torch_state()
    if HAS_PYRO:
        state |= _pyro_state()
    return state


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Workers of pytest-xdist share the cores, and one thread sums in one order."""
    if HAS_TORCH:
        import torch

        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded(one_thread: None) -> None:
    """The same random numbers for a test, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  libraries under test draw from it
    if HAS_TORCH:
        import torch

        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def global_state_is_kept(seeded: None) -> Iterator[None]:
    """Fails a test that leaves global state changed, and puts the state back for the next one."""
    before = _state()
    yield
    after = _state()
    changed = [
        f"{name}: {before[name][0]!r} -> {after[name][0]!r}"
        for name in before
        if name in after and before[name][0] != after[name][0]
    ]
    if changed:
        for _, restore in before.values():
            restore()
        pytest.fail("global state was changed and not put back: " + "; ".join(changed))
