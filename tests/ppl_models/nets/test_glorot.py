"""Weights that keep the size of a signal."""

from __future__ import annotations

import math

import torch
from torch import nn

from ppl_models.nets import glorot, mlp
from ppl_models.recipes import build

MNIST = {"data_dim": 784, "levels": 2, "shape": [1, 28, 28]}


def test_the_variance_of_a_weight_is_two_over_inputs_and_outputs() -> None:
    first, second = nn.Linear(300, 500), nn.Linear(200, 100, bias=False)
    glorot(first, nn.Sequential(second))
    assert math.isclose(first.weight.std().item(), math.sqrt(2 / 800), rel_tol=0.02)
    assert math.isclose(second.weight.std().item(), math.sqrt(2 / 300), rel_tol=0.02)
    assert not first.bias.any()


def test_a_signal_passes_through_layers_at_about_its_size() -> None:
    net = mlp(400, (400, 400), 400, "tanh")
    x = 0.3 * torch.randn(200, 400)
    smaller = net(x).std().item()
    glorot(net)
    assert 0.2 < net(x).std().item() < 0.3
    assert smaller < 0.1


def test_the_guide_of_vae_vamp_starts_with_codes_that_lie_apart() -> None:
    """Where they start together, the prior follows them and their noise is free: the codes drown."""
    x = (torch.rand(300, 784) < torch.rand(300, 1)).float()
    spread = {}
    for recipe in ("vae", "vae_vamp"):
        _, guide = build(recipe, MNIST)
        with torch.no_grad():
            posterior = guide.posterior(x)
        spread[recipe] = (posterior.mean.std(0) / posterior.stddev.mean(0)).mean().item()
    assert spread["vae_vamp"] > 3 * spread["vae"]
