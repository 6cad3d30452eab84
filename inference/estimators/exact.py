"""The exact log p(x) of programs that have one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ppl_models.errors import NoExactEvidenceError
from ppl_models.program import HasLogProb

from ..claims import Claim
from .base import MAX_ELEMENTS, Estimate, Estimator, positive, rows_within


class Exact(Estimator):
    """log p(x) itself, by the program's ``log_prob``; claim ``EXACT``.

    Args:
        max_elements: bound on the elements of the largest tensor of one pass, see ``rows_within``.
    """

    name, claim = "exact", Claim.EXACT

    def __init__(self, max_elements: int = 8 * MAX_ELEMENTS) -> None:
        self.max_elements = positive("max_elements", max_elements, "the bound")

    def estimate(self, program: nn.Module, x: Tensor, index: Sequence[int]) -> Estimate:
        """One parallel pass per chunk of images.

        Raises:
            NoExactEvidenceError: if the program does not declare ``HasLogProb``.
        """
        if not isinstance(program, HasLogProb):
            problem = (
                f"{type(program).__name__} has no exact log p(x): it is an integral over {', '.join(program.latents)}"
            )
            raise NoExactEvidenceError("exact", type(program).__name__, problem, "use bounds such as elbo:64 iw:5000")
        rows = rows_within(self.max_elements, x.shape[-1], program)
        values = torch.cat([program.log_prob(chunk) for chunk in x.split(rows)])
        return Estimate(values, self.claim)
