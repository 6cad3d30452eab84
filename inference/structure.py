"""``structure.json``: a pair as its own trace shows it, for the diagrams of the report."""

from __future__ import annotations

from typing import Any

import torch
from pyro import poutine
from pyro.infer.inspect import get_dependencies
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn

from ppl_models.autoencoder import REASON, NotADensity
from ppl_models.distributions import Autoregressive, MixtureOfOrders
from ppl_models.program import LatentProgram, TractableProgram
from ppl_models.programs import AutoencoderDensity

from .estimators.base import evaluation_mode
from .randomness import keyed_noise


def describe(program: nn.Module, guide: nn.Module | None, images: Tensor) -> dict[str, Any]:
    """Sites, plates, parents and layers of program and guide, and how the program generates (``docs/files.md``).

    Args:
        program, guide: the pair.
        images: a few images (N, D) to trace with.
    """
    images = images[:2]
    with evaluation_mode(program, guide), keyed_noise("structure", device=images.device):
        if isinstance(program, NotADensity):
            net = program.autoencoder
            layers = layers_of(net, lambda: net(images))
            return {
                "program": {"name": type(net).__name__, "sites": [], "layers": layers},
                "guide": None,
                "generation": {"kind": "none", "passes": 0, "ordering": [], "reason": REASON},
            }
        described = {
            "program": describe_one(program, images),
            "guide": None,
            "generation": generation_of(program),
        }
        if guide is not None:
            described["guide"] = describe_one(guide, images)
            # A guide's latents depend on the images, which no trace shows: the images are its argument, not a site.
            for site in described["guide"]["sites"]:
                site["parents"] = site["parents"] or ["x"]
        return described


def describe_one(module: nn.Module, images: Tensor) -> dict[str, Any]:
    """Sites and layers of one Pyro program."""
    trace = prune_subsample_sites(poutine.trace(module).get_trace(images))
    dependencies = get_dependencies(module, (images,))["prior_dependencies"]
    sites = []
    for name, site in trace.nodes.items():
        if site["type"] == "sample":
            base = site["fn"]
            while "base_dist" in vars(base):
                base = base.base_dist
            sites.append(
                {
                    "name": name,
                    "distribution": type(base).__name__,
                    "shape": list(site["fn"].event_shape),
                    "plates": [frame.name for frame in site["cond_indep_stack"]],
                    "parents": sorted(parent for parent in dependencies.get(name, {}) if parent != name),
                    "observed": bool(site["is_observed"]),
                }
            )
    return {
        "name": type(module).__name__,
        "sites": sites,
        "layers": layers_of(module, lambda: score(module, images)),
    }


def score(module: nn.Module, images: Tensor) -> None:
    """Run a Pyro program and the densities of its sites: a net inside a distribution runs only when it is scored.

    The encoder of an autoencoder that became a density has no part in p(x, z) and is still a part of the program.
    """
    if isinstance(module, AutoencoderDensity):
        module.autoencoder(images)
    poutine.trace(module).get_trace(images).compute_log_prob()


def layers_of(module: nn.Module, call: Any) -> list[dict[str, Any]]:
    """The layers in the order in which ``call`` first runs them, with the sizes that pass through them.

    A layer is a module without parts, or one with parameters of its own beside its parts, of which it then counts those
    alone. A layer that runs several times is listed once. Parameters that no tensor passes through, such as a prior's
    means or the scale of all pixels, follow as tables: of type ``Parameter``, without input, their shape the output.
    """
    layers: dict[str, dict[str, Any]] = {}

    def record(path: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output  # a recurrence gives its state too
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                count = sum(p.numel() for p in layer.parameters(recurse=False))
                sizes = {"input": list(inputs[0].shape[1:]), "output": list(output.shape[1:])}
                layers.setdefault(path, {"path": path, "type": type(layer).__name__, **sizes, "parameters": count})

        return hook

    parts = [(path, part) for path, part in module.named_modules() if path]
    parts = [(path, part) for path, part in parts if not list(part.children()) or list(part.parameters(recurse=False))]
    handles = [part.register_forward_hook(record(path)) for path, part in parts]
    try:
        with torch.no_grad():
            call()
    finally:
        for handle in handles:
            handle.remove()
    return [*layers.values(), *tables_of(module, set(layers))]


def tables_of(module: nn.Module, layers: set[str]) -> list[dict[str, Any]]:
    """The parameters that lie in none of the layers at these paths."""
    tables = []
    for path, parameter in module.named_parameters():
        if path.rpartition(".")[0] not in layers:
            sizes = {"input": [], "output": list(parameter.shape)}
            tables.append({"path": path, "type": "Parameter", **sizes, "parameters": parameter.numel()})
    return tables


def generation_of(program: nn.Module) -> dict[str, Any]:
    """How the program draws an image: all pixels at once, or one after the other."""
    if isinstance(program, TractableProgram):
        distribution = program.distribution()
        if isinstance(distribution, MixtureOfOrders):  # a component first, here the first one
            distribution = distribution.components[0]
        if isinstance(distribution, Autoregressive):
            sequence = list(distribution.ordering.sequence)
            return {"kind": "autoregressive", "passes": len(sequence), "ordering": sequence}
    if isinstance(program, LatentProgram):  # a hybrid: the latents at once, then pixel by pixel
        likelihood = program.likelihood(program.prior().sample())
        if isinstance(likelihood, Autoregressive):
            sequence = list(likelihood.ordering.sequence)
            return {"kind": "autoregressive", "passes": len(sequence), "ordering": sequence}
    return {"kind": "ancestral", "passes": 1, "ordering": []}
