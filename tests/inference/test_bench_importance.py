"""Measured: the importance-weighted bound against the bare decodes that it consists of, in the same run.

``make bench`` prints the row; what it said is in ``docs/settings.md``. The batches are the same; the decodes have no
likelihood, no guide and no noise.
"""

from __future__ import annotations

import resource
import statistics
import time

import pytest
import torch

from inference.estimators import ImportanceWeighted
from inference.estimators.base import rows_within
from inference.estimators.importance import MAX_ELEMENTS
from ppl_models.guides import DiagonalNormal
from ppl_models.programs import VAE

pytestmark = pytest.mark.bench
PARTICLES, IMAGES, ROUNDS = 5000, 5, 12


def test_iw_5000_reaches_seven_tenths_of_its_bare_decodes() -> None:
    """z of 50, a decoder 784-400, as in the published figures for binarized MNIST."""
    program, guide = VAE(784, 50, (400,)).eval(), DiagonalNormal(784, 50, (400,)).eval()
    x = (torch.rand(IMAGES, 784) < 0.2).float()
    estimator = ImportanceWeighted(guide, PARTICLES)
    rows = min(PARTICLES, rows_within(MAX_ELEMENTS, 784, program, guide))
    z = torch.randn(PARTICLES, 50)
    estimator(program, x)
    ratios, scored = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        estimator(program, x)
        between = time.perf_counter()
        with torch.no_grad():
            for _ in range(IMAGES):
                for batch in z.split(rows):
                    program.decoder(batch)
        end = time.perf_counter()
        ratios.append((end - between) / (between - start))
        scored.append((between - start) / IMAGES)
    ratios.sort()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\niw:{PARTICLES} of 784 pixels, z = 50, decoder 784-400, {torch.get_num_threads()} thread(s), "
        f"torch {torch.__version__}: {statistics.median(scored):.3f} s an image, throughput "
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) of the bare decodes, "
        f"{memory:.2f} GiB at most"
    )
    assert statistics.median(ratios) >= 0.7
    assert memory < 2
