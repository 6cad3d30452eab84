"""Weights, resampling and diagnostics of the particle filter by hand, and its use of caches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inference import complete
from inference.particle_filter import Noise, particle_filter, systematic
from ppl_models.distributions import Autoregressive, BernoulliPixels
from ppl_models.ordering import Ordering
from ppl_models.program import TractableProgram
from ppl_models.programs import FVSBN, MADE, NADE, GatedPixelCNN, PixelCNN, PixelRNN, PixelTransformer

DIM = 6
SUFFIX, INNER = [5, 0, 1], [2, 3, 0]


def lively(program: nn.Module, seed: int = 10) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in program.parameters():
        nn.init.normal_(parameter, 0, 1.0, generator=generator)
    return program.double().eval()


def made(ordering: object = "shifted:2", levels: int = 2, **options: object) -> MADE:
    """shifted:2 generates 2, 3, 4, 5, 0, 1."""
    return lively(MADE(DIM, (20,), True, ordering, levels=levels, **options))


def without(missing: list[int]) -> Tensor:
    observed = torch.ones(DIM, dtype=torch.bool)
    observed[missing] = False
    return observed


IMAGE = torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)


class Copies(TractableProgram):
    """Pixel 0 is 1 with probability 0.1, pixel 1 copies it, pixel 2 is a coin."""

    def __init__(self) -> None:
        super().__init__(3)

    def distribution(self) -> Autoregressive:
        def net(x: Tensor) -> Tensor:
            first = torch.full_like(x[..., 0], -2.1972246)
            return torch.stack([first, 40 * x[..., 0] - 20, 0 * first], -1).unsqueeze(-1)

        return Autoregressive(net, BernoulliPixels(), Ordering((0, 1, 2)), like=torch.zeros((), dtype=torch.float64))


class Uncached(TractableProgram):
    """A program whose net is a plain function: full passes."""

    def __init__(self, program: TractableProgram) -> None:
        super().__init__(program.data_dim, levels=program.levels)
        self.program = program

    def distribution(self) -> Autoregressive:
        distribution = self.program.distribution()
        distribution.cache = None
        return distribution


def test_weights_and_effective_sizes_by_hand() -> None:
    """One missing pixel and then given ones: W_k is proportional to p(given | pixel of k), from the joint alone."""
    program, observed = made("raster"), without([0])
    noise = Noise(torch.rand(1, 50, DIM, dtype=torch.float64), torch.rand(1, DIM, dtype=torch.float64))
    found = particle_filter(program.distribution(), IMAGE, observed.expand(1, -1), noise)
    with torch.no_grad():
        both = torch.tensor([[0.0, *IMAGE[0, 1:]], [1.0, *IMAGE[0, 1:]]], dtype=torch.float64)
        states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * DIM)
        first = (program.log_prob(states).exp() * states[:, 0]).sum()
        likelihood = program.log_prob(both).exp() / torch.tensor([1 - first, first])
    weights = likelihood[found.x[0, :, 0].long()]
    weights = weights / weights.sum()
    torch.testing.assert_close(found.log_weights[0].exp(), weights)
    for size in (found.ess_least, found.ess_final, found.lineages):
        assert size.item() == pytest.approx(1 / float((weights**2).sum()))


def test_resampling_hides_in_the_final_sample_size() -> None:
    """About 10 of 100 particles agree with the given copy; after resampling all weights are equal again."""
    program, x = Copies(), torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    found = complete(program, x, torch.tensor([False, True, False]), particles=100, num_draws=50)
    agree = float(found.log_evidence.exp()) * 100
    assert round(agree) == pytest.approx(agree, abs=1e-3)
    assert 2 <= agree <= 25
    assert found.ess.item() == pytest.approx(agree, abs=1e-2)
    assert found.ess_final.item() == pytest.approx(100)
    assert 0.85 * agree < found.lineages.item() <= agree + 1e-2
    assert (found.x[:, 0, 0] == 1).all()
    assert 10 < found.x[:, 0, 2].sum() < 40


@pytest.mark.parametrize("offset", [0.0, 0.3, 1 - 2**-24])
def test_systematic_resampling_keeps_to_the_weights(offset: float) -> None:
    log_weights = torch.randn(20, 40, dtype=torch.float64) * 3
    log_weights[:, [0, 7, 39]] = -torch.inf
    index = systematic(log_weights, torch.full((20,), offset), 60)
    counts = torch.stack([torch.bincount(row, minlength=40) for row in index])
    expected = 60 * log_weights.softmax(-1)
    assert ((counts - expected).abs() < 1 + 1e-6).all()
    assert (counts[:, [0, 7, 39]] == 0).all()


@pytest.mark.parametrize("missing", [SUFFIX, INNER])
@pytest.mark.parametrize("ordering", ["raster", "shifted:2"])
@pytest.mark.parametrize("levels", [2, 4])
def test_the_cache_changes_nothing(missing: list[int], ordering: str, levels: int) -> None:
    program = made(ordering, levels)
    x = torch.randint(0, levels, (40, DIM)).double()
    options = {"num_draws": 5, "particles": 30}
    cached = complete(program, x, without(missing), **options)
    plain = complete(Uncached(program), x, without(missing), **options)
    assert torch.equal(cached.x, plain.x)
    torch.testing.assert_close(cached.log_evidence, plain.log_evidence)
    torch.testing.assert_close(cached.ess, plain.ess, equal_nan=True)
    torch.testing.assert_close(cached.lineages, plain.lineages, equal_nan=True)


CACHES = {
    "FVSBN": lambda: FVSBN(12),
    "NADE": lambda: NADE(12, hidden=(10,), ordering="shifted:5"),
    "MADE": lambda: MADE(12, hidden=(20, 20), ordering="shifted:5", levels=3),
    "PixelRNN": lambda: PixelRNN(12, hidden=8, shape=(1, 3, 4)),
    "PixelCNN": lambda: PixelCNN(12, channels=4, depth=2, shape=(1, 3, 4)),
    "GatedPixelCNN": lambda: GatedPixelCNN(12, channels=4, depth=2, shape=(1, 3, 4), levels=3),
    "PixelTransformer": lambda: PixelTransformer(12, width=8, depth=2, heads=2, shape=(1, 3, 4)),
}


@pytest.mark.parametrize("name", CACHES)
def test_every_cache_follows_its_particles(name: str) -> None:
    """Rows of the cache are repeated and resampled with the particles: the draws are those of full passes."""
    observed = torch.ones(12, dtype=torch.bool)
    options = {"num_draws": 4, "particles": 25}
    for seed in range(50):  # until the weights are such that particles are resampled
        program = lively(CACHES[name](), seed)
        observed[[program.ordering.sequence[step] for step in (2, 3, 6, 9, 11)]] = False
        x = torch.randint(0, program.levels, (30, 12)).double()
        plain = complete(Uncached(program), x, observed, **options)
        if (plain.lineages < 0.9 * plain.ess_final).any():
            break
    else:
        pytest.fail("never resampled")
    cached = complete(program, x, observed, **options)
    assert torch.equal(cached.x, plain.x)
    for number in ("log_evidence", "ess", "ess_final", "lineages"):
        torch.testing.assert_close(getattr(cached, number), getattr(plain, number))


def test_the_cache_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    program = made()
    plain = complete(Uncached(program), IMAGE, without(INNER), particles=5)
    monkeypatch.setattr(program.net, "frozen", lambda: pytest.fail("a full pass"))
    monkeypatch.setattr(program.net, "forward", lambda x: pytest.fail("a full pass"))
    cached = complete(program, IMAGE, without(INNER), particles=5)
    assert torch.equal(cached.x, plain.x)
    torch.testing.assert_close(cached.log_evidence, plain.log_evidence)
