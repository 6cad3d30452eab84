"""The importance-weighted bound as an objective, with three estimators of its gradient."""

from __future__ import annotations

import math

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn

from ..weights import check_sites, traces
from .base import Objective, refuse_baseline, require_guide
from .elbo import check_choice, check_particles
from .replay import Noise, Substitute, frozen
from .terms import probe, require_reparameterized, score, total_log_prob, zero_valued

GRADIENTS = ("standard", "stl", "dreg")


class NegativeImportanceWeighted(Objective):
    """-1/N sum_n log 1/K sum_k w_nk in nats, w_nk = p(x_n, z_nk) / q(z_nk | x_n), z_nk ~ q (Burda et al. 2016,
    1509.00519).

    The weights are per image: log-mean-exp over the particles first, then the mean over images. At K = 1 it is the
    negative ELBO with a sampled divergence. The three gradients, with normalized weights v_k = w_k / sum_j w_j:

    - ``"standard"``: sum_k v_k d log w_k, through the draws too. For a guide whose draws no gradient passes it is VIMCO
      (Mnih & Rezende 2016, 1602.06725): the score of each draw is weighted by the bound minus the bound with that draw
      replaced by the geometric mean of the others, which takes memory of K^2 N numbers. At K = 1 there are no others,
      and the weight is log w, as in Pyro's ``Trace_ELBO``.
    - ``"stl"``: leaves out the score d log q at a fixed draw (Roeder et al. 2017, 1703.09194). Its mean is zero at
      K = 1, where the gradient vanishes once q is the posterior. For K > 1 the guide's gradient is **biased** (Tucker
      et al. 2019, section 3).
    - ``"dreg"``: the guide's gradient is sum_k v_k^2 d log w_k / dz_k dz_k, without bias for every K, and does not
      drown in noise as K grows (Tucker et al. 2019, 1810.04152, eq. 8). The program's is the standard one, and so is
      that of a prior that is made from the guide's parameters (``VampPrior``), as far as no draw stands between.

    The last two evaluate log q with all parameters held fixed at a draw that keeps its path: the guide is run a second
    time, on the same noise, with the draws put in. This holds for any guide, with several sites, dropout, or an encoder
    that reads the program's parameters; it costs one more pass of the encoder, on N rows where the decoder has K N. A
    flow then has to invert its draw, because its cached inverse carries no gradient: an inverse autoregressive one
    needs L passes for it, and "standard" is the faster choice there. Batch statistics of an encoder move twice.

    Args:
        program, guide: the pair.
        num_particles: K.
        gradient: one of the three.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: without a guide, for K < 1, an unknown gradient, or ``"stl"`` and ``"dreg"`` with a guide that is
            not reparameterized.
    """

    name = "iwae"

    def __init__(
        self, program: nn.Module, guide: nn.Module | None, num_particles: int = 50, gradient: str = "standard"
    ) -> None:
        check_particles(num_particles)
        check_choice("gradient", gradient, GRADIENTS)
        refuse_baseline(program, self.name)
        require_guide(guide, self.name)
        if gradient != "standard":
            require_reparameterized(guide, probe(program, guide)[1], "--objective.gradient", gradient, "use standard")
        super().__init__(program, guide)
        self.num_particles, self.gradient = int(num_particles), gradient

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> (), nats."""
        return self.standard(x) if self.gradient == "standard" else self.pathwise(x)

    def standard(self, x: Tensor) -> Tensor:
        """The loss with its standard gradient: x (N, D) -> (), nats."""
        model, guide = traces(self.program, self.guide, x, self.num_particles)
        log_w = total_log_prob(model) - total_log_prob(guide)
        loss, log_q = -log_mean_exp(log_w).mean(), score(guide)
        if log_q is None:
            return loss
        return loss - (learning_signal(log_w.detach()) * zero_valued(log_q)).sum(0).mean()

    def pathwise(self, x: Tensor) -> Tensor:
        """The loss whose gradient reaches the guide through its draws alone: x (N, D) -> (), nats."""
        noise, weights = Noise(x.device), {}
        with pyro.plate("particles", self.num_particles, dim=-2):
            drawn = prune_subsample_sites(poutine.trace(self.guide).get_trace(x))
            check_sites(drawn, self.program.latents, "guide")
            self.detour(drawn, weights)
            model = prune_subsample_sites(poutine.trace(poutine.replay(self.program, drawn)).get_trace(x))
            values = {name: drawn.nodes[name]["value"] for name in self.program.latents}
            with noise.again(), frozen(self.parameters()), Substitute(values):
                fixed = prune_subsample_sites(poutine.trace(self.guide).get_trace(x))
                log_q = total_log_prob(fixed)  # in here, since a flow runs its nets when it is asked for a density
        log_w = total_log_prob(model) - log_q
        weights["normalized"] = log_w.detach().softmax(0)
        return -log_mean_exp(log_w).mean()

    def detour(self, drawn: Trace, weights: dict[str, Tensor]) -> None:
        """Put a copy of each draw in its place, whose gradient is weighted on its way back to the draw.

        The copies are what program and log q see, while a lower site of the guide still hangs on the upper draw itself:
        along every path from the loss to a parameter there is one copy, and v_k is multiplied in once.
        """
        for name in self.program.latents:
            # A new tensor also misses the cache of a flow, see the class.
            copy = drawn.nodes[name]["value"].clone()
            if self.gradient == "dreg" and copy.requires_grad:
                copy.register_hook(lambda g: g * weights["normalized"].reshape(*g.shape[:2], *[1] * (g.ndim - 2)))
            drawn.nodes[name]["value"] = copy


def log_mean_exp(log_w: Tensor) -> Tensor:
    """log 1/K sum_k w_k: (K, N) -> (N,)."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def learning_signal(log_w: Tensor) -> Tensor:
    """The weight of the score of each draw (Mnih & Rezende 2016, eq. 9 and 10): (K, N) -> (K, N), nats.

    The bound minus the bound with w_k replaced by the geometric mean of the others; log w itself at K = 1.
    """
    count = len(log_w)
    if count == 1:
        return log_w
    others = (log_w.sum(0) - log_w) / (count - 1)
    # without[k] holds the log-weights with the k-th replaced.
    without = torch.where(torch.eye(count, dtype=torch.bool, device=log_w.device)[..., None], others[:, None], log_w)
    return log_mean_exp(log_w) - (without.logsumexp(1) - math.log(count))
