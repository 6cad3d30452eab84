"""The ladder: its joint density and guide written out layer by layer, its evidence against a grid."""

from __future__ import annotations

import pytest
import torch
from pyro import poutine

from inference.weights import log_weights
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal, LadderNormal
from ppl_models.programs import VAE, LadderVAE
from tests.ppl_models.programs.family import lively


def normal(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    squared = ((value - loc) / scale) ** 2
    return (-0.5 * squared - scale.log() - 0.5 * torch.log(torch.tensor(2 * torch.pi))).sum(-1)


def scale_of(raw: torch.Tensor) -> torch.Tensor:
    return torch.log1p(torch.exp(raw + torch.log(torch.expm1(torch.ones(())).double()))) + 1e-5


def pair(latent_dim: tuple[int, ...] = (3, 2, 1)) -> tuple[LadderVAE, LadderNormal]:
    program = lively(LadderVAE(4, latent_dim, (5,) * len(latent_dim)), 0.6)
    guide = lively(LadderNormal(4, latent_dim, (6,)), 0.6)
    guide.bind(program)
    return program, guide


def test_the_sites_run_from_the_top_down() -> None:
    program, guide = pair()
    x = torch.randint(0, 2, (5, 4)).double()
    for module, sites in ((program, ["z3", "z2", "z1", "x"]), (guide, ["z3", "z2", "z1"])):
        trace = poutine.trace(module).get_trace(x)
        assert [name for name, site in trace.nodes.items() if site["type"] == "sample" and name != "image"] == sites
    assert program.latents == ("z1", "z2", "z3")
    assert program(size=7).shape == (7, 4)


def test_both_densities_are_the_products_of_their_layers() -> None:
    program, guide = pair((3, 2))
    x = torch.randint(0, 2, (5, 4)).double()
    guide_trace = poutine.trace(guide).get_trace(x)
    z1, z2 = guide_trace.nodes["z1"]["value"], guide_trace.nodes["z2"]["value"]
    model_trace = poutine.trace(poutine.replay(program, guide_trace)).get_trace(x)
    loc, raw = program.conditionals[0](z2).chunk(2, -1)
    scale = scale_of(raw)
    logits = program.decoder(z1)
    log_p = normal(z2, torch.zeros(2), torch.ones(2)) + normal(z1, loc, scale)
    log_p = log_p + (x * logits - torch.log1p(logits.exp())).sum(-1)
    torch.testing.assert_close(model_trace.log_prob_sum(), log_p.sum())
    first = guide.up[0](x)
    second = guide.up[1](first)
    m2, r2 = guide.read[1](second).chunk(2, -1)
    m1, r1 = guide.read[0](first).chunk(2, -1)
    s1 = scale_of(r1)
    variance = 1 / (s1**-2 + scale**-2)
    mean = variance * (m1 / s1**2 + loc / scale**2)
    log_q = normal(z2, m2, scale_of(r2)) + normal(z1, mean, variance.sqrt())
    torch.testing.assert_close(guide_trace.log_prob_sum(), log_q.sum())


def test_importance_weights_average_to_the_evidence_on_a_grid() -> None:
    program, guide = pair((1, 1))
    x = torch.randint(0, 2, (3, 4)).double()
    grid = torch.linspace(-8, 8, 321, dtype=torch.float64)
    z2 = grid[:, None]
    loc, raw = program.conditionals[0](z2).chunk(2, -1)
    z1 = grid[:, None, None]
    log_joint = normal(z2, torch.zeros(1), torch.ones(1)) + normal(z1, loc, scale_of(raw))  # (z1, z2)
    logits = program.decoder(grid[:, None])
    log_x = (x[:, None] * logits - torch.log1p(logits.exp())).sum(-1)  # (N, z1)
    truth = (log_joint.logsumexp(1)[None] + log_x).logsumexp(1).exp() * 0.05**2
    weights = log_weights(program, guide, x, 4000).exp().detach()
    assert ((weights.mean(0) - truth).abs() < 5 * weights.std(0) / 4000**0.5).all()


def test_a_gradient_reaches_every_parameter_of_both() -> None:
    program, guide = LadderVAE(6, (3, 2), (5, 4)), LadderNormal(6, (3, 2))
    guide.bind(program)
    (-log_weights(program, guide, torch.randint(0, 2, (9, 6)).float(), 2)).sum().backward()
    for module in (program, guide):
        assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_what_a_ladder_refuses() -> None:
    with pytest.raises(InvalidInput, match="several"):
        DiagonalNormal(4, (3, 2))
    with pytest.raises(InvalidInput, match="no ladder"):
        LadderNormal(4, (3, 2)).bind(VAE(4, 3))
    with pytest.raises(InvalidInput, match=r"lengths \[3, 2\]"):
        LadderNormal(4, (3, 1)).bind(LadderVAE(4, (3, 2), (5, 5)))
    with pytest.raises(InvalidInput, match="as many"):
        LadderVAE(4, (3, 2), (5,))
    with pytest.raises(InvalidInput, match="latents"):
        LadderVAE(4, (), ())
    with pytest.raises(InvalidInput, match="images"):
        LadderNormal(4, (2,))()
