"""What lies beside NUTS in ``posterior.nc``: draws of the guide as it is."""

from __future__ import annotations

import torch

from inference.posterior_file import guide_draws


def test_draws_have_the_guides_mean_and_deviation(tiny_vae, tiny_guide) -> None:
    """Within 4.5 standard errors: s / sqrt(n) of the mean, s / sqrt(2 n) of a normal's deviation."""
    x, n = torch.tensor([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]), 4000
    drawn = guide_draws(tiny_vae, tiny_guide, x, [5, 9], n, seed=0)["z"]
    assert drawn.shape == (1, n, 2, 1)
    posterior = tiny_guide.posterior(x)
    scale = posterior.stddev.detach()
    assert ((drawn[0].mean(0) - posterior.mean).abs() < 4.5 * scale / n**0.5).all()
    assert ((drawn[0].std(0) - scale).abs() < 4.5 * scale / (2 * n) ** 0.5).all()
