"""Programs and guides, run and scored through their Pyro traces under any number of particle plates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.trace_messenger import TraceMessenger
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn

from .report import Failure

# Two log-densities of the same thing in float32: nats, and a part of their size.
ABSOLUTE, RELATIVE = 1e-3, 1e-4


def trace_of(
    model: nn.Module,
    x: Tensor | None = None,
    *,
    particles: Sequence[int] = (),
    values: Mapping[str, Tensor] | None = None,
    size: int | None = None,
) -> Trace:
    """One run of a program or guide.

    Args:
        model: what is run.
        x: images (N, D).
        particles: sizes of plates to the left of ``"image"``: (K,) at dim -2, (S, K) at dims -3 and -2.
        values: put in place of what would be drawn.
        size: how many images to generate.
    """
    if values is not None:
        model = poutine.condition(model, data=dict(values))
    arguments: dict[str, Any] = {} if size is None else {"size": size}
    with ExitStack() as stack:
        for place, number in enumerate(reversed(particles)):
            stack.enter_context(pyro.plate(f"particles_{place}", number, dim=-2 - place))
        # As a context and not around the model: Pyro's handler around a model raises errors anew from one string, which
        # an InvalidInput is not made of.
        with TraceMessenger() as tracer:
            returned = model(x, **arguments)
    trace = tracer.get_trace()
    trace.add_node("_RETURN", name="_RETURN", type="return", value=returned)
    return prune_subsample_sites(trace)


def drawn(trace: Trace) -> dict[str, Tensor]:
    """The values of the sites that were drawn."""
    return {name: trace.nodes[name]["value"] for name in trace.stochastic_nodes}


def site_log_prob(trace: Trace, name: str) -> Tensor:
    """The unscaled log-density of one site."""
    node = trace.nodes[name]
    return scale_and_mask(node["fn"].log_prob(node["value"], *node["args"], **node["kwargs"]), 1.0, node["mask"])


def log_prob_of(trace: Trace, names: Sequence[str] | None = None) -> Tensor:
    """The sum of log-densities over sites; over all of them unless named: (*particles, N)."""
    if names is None:
        names = [name for name, node in trace.nodes.items() if node["type"] == "sample"]
    total = torch.zeros(())
    for name in names:
        part = site_log_prob(trace, name)
        total = total.to(part.device) + part
    return total


def score(
    model: nn.Module,
    x: Tensor | None,
    values: Mapping[str, Tensor],
    names: Sequence[str] | None = None,
    particles: Sequence[int] = (),
) -> Tensor:
    """The log-density of given values, (*particles, N, event) each: (*particles, N); of all sites unless named."""
    return log_prob_of(trace_of(model, x, particles=particles, values=values), names)


def check_close(found: Tensor, expected: Tensor, otherwise: str) -> None:
    """Raise ``Failure`` with that sentence unless two log-densities agree within 1e-3 nats or a 1e-4th of their
    size."""
    found, expected = found.double(), expected.double()
    if found.shape != expected.shape or not ((found - expected).abs() <= ABSOLUTE + RELATIVE * expected.abs()).all():
        raise Failure(otherwise)
