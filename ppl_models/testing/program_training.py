"""What training and saving ask of a program: gradients, its state, precision, and nothing left behind."""

from __future__ import annotations

import pyro
import torch

from . import building
from .program_checks import ProgramSubject
from .report import Failure
from .state import check_dtypes, check_same_noise, check_saved, check_store_empty, silent_parameters, trainable
from .traces import check_close, drawn, log_prob_of, score, trace_of


def check_gradients(s: ProgramSubject) -> str | None:
    """A gradient of log p(x, z) reaches every parameter."""
    program, _ = s.pair(mine=True)
    silent = {name for name in trainable(program) if not name.startswith(program.trained_elsewhere)}
    if not silent:
        return "it has no parameters"
    for attempt in range(2):
        if attempt:
            building.jitter(program)
        program.train()
        with torch.no_grad():
            values = drawn(trace_of(program, s.x, particles=(8,)))
        silent &= silent_parameters(program, -score(program, s.x, values, particles=(8,)).sum())
    if silent:
        names = ", ".join(sorted(silent)[:5])
        raise Failure(
            f"no gradient of log p(x, z) reaches {names}: use it in the densities without detach, .data or no_grad, or "
            "register it as a buffer"
        )
    return None


def check_state(s: ProgramSubject) -> None:
    """A fresh instance that loads the saved state gives the same log-probabilities."""
    program, guide = s.pair(mine=True)
    building.jitter(program)
    for _ in range(3):  # running statistics move in training mode
        program.train()(s.x)
    program.eval()
    fresh = building.fresh_program(program, s.data, s.options)
    building.check_same_state(fresh, program, s.options)
    if guide is not None:
        fresh.bind_guide(guide)
    check_saved(program, fresh)
    values = drawn(trace_of(program, s.x))
    otherwise = (
        "a fresh instance that loads its state_dict gives other log-probabilities: keep every number it learns or "
        "draws at random in an nn.Parameter, register_buffer or get_extra_state"
    )
    check_close(score(fresh, s.x, values), score(program, s.x, values), otherwise)


def check_copy(s: ProgramSubject) -> None:
    """A deep copy gives the same log-probabilities and shares nothing with the original."""
    if s.error is not None:
        raise Failure(
            f"copy.deepcopy fails with {type(s.error).__name__}: {s.error}; keep no tensors with a gradient history, "
            "files or lambdas on self"
        )
    first, guide = s.pair()
    second = building.copied((first, guide))[0]
    values = drawn(trace_of(first, s.x))
    expected = score(first, s.x, values).detach()
    check_close(
        score(second, s.x, values), expected, "a deep copy gives other log-probabilities: copy all of its state"
    )
    building.jitter(second, 0.5)
    otherwise = "changing a deep copy changes the original: keep its parameters on self, not in closures or globals"
    check_close(score(first, s.x, values), expected, otherwise)


def check_double(s: ProgramSubject) -> None:
    """After .double() draws and log-probabilities are float64."""
    program, guide = s.pair(mine=True)
    program.double()
    if guide is not None:
        guide.double()
    x = s.x.double()
    trace = trace_of(program, x)
    check_dtypes({**drawn(trace), "x": trace_of(program, size=2).nodes["x"]["value"], "log p": log_prob_of(trace)})


def check_seed(s: ProgramSubject) -> None:
    """The same seed gives the same draws."""
    program, _ = s.pair()
    check_same_noise(lambda: drawn(trace_of(program, size=3)))


def check_store(s: ProgramSubject) -> None:
    """Nothing is left in Pyro's parameter store."""
    program, _ = s.pair()
    for training in (True, False):
        program.train(training)(s.x)
        program(size=2)
    check_store_empty(pyro.get_param_store())
