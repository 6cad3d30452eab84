"""What every autoregressive program must be: a density, autoregressive in its ordering, and drawn from exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pyro import poutine
from pyro.distributions.testing.gof import multinomial_goodness_of_fit

from ppl_models import InvalidInput
from ppl_models.ordering import as_ordering
from ppl_models.programs import MADE, GatedPixelCNN, OrderMixture, PixelCNN
from tests.ppl_models.programs.family import FAMILY, MIXTURES, ORDERS, lively

EVERY = FAMILY | MIXTURES
SAMPLERS = [
    {"method": "fixed-point"},
    {"method": "fixed-point", "block": 2},
    {"method": "fixed-point", "block": 5},
    {"method": "cached"},
    {"method": "auto", "batch": 7},
]

names = pytest.mark.parametrize("name", FAMILY)
everything = pytest.mark.parametrize("name", EVERY)
orders = pytest.mark.parametrize("ordering", ORDERS)


@everything
@orders
@pytest.mark.parametrize("levels", [2, 3])
def test_the_mass_over_all_images_is_one(name: str, ordering: str, levels: int, all_images: Callable) -> None:
    program = lively(EVERY[name](ordering=ordering, levels=levels))
    with torch.no_grad():
        mass = program.log_prob(all_images(6, levels)).exp().sum()
    assert mass.item() == pytest.approx(1, abs=1e-9)


@names
@orders
def test_changing_everything_from_step_t_on_leaves_conditional_t(name: str, ordering: str) -> None:
    program = lively(FAMILY[name](ordering=ordering))
    sequence = program.ordering.sequence
    x = torch.randint(0, 2, (30, 6)).double()
    before, moved = program.net(x), torch.zeros(6, dtype=torch.bool)
    for t, pixel in enumerate(sequence):
        changed = x.clone()
        changed[:, list(sequence[t:])] = 1 - changed[:, list(sequence[t:])]
        after = program.net(changed)
        # Sums over other states may round differently: what is not allowed to move does not move by more than that.
        torch.testing.assert_close(after[:, pixel], before[:, pixel], rtol=1e-12, atol=1e-12)
        moved |= (after - before).abs().amax((0, 2)) > 1e-6
    assert moved.sum() >= 3, "most pixels depend on earlier ones (a ReLU may be dead)"
    assert not moved[sequence[0]]


@names
@pytest.mark.parametrize("method", ["sequential", "fixed-point", "cached", "blocks"])
def test_samples_fit_the_enumerated_probabilities(name: str, method: str, all_images: Callable) -> None:
    # Mild weights: the statistic needs an expected count above 1 in each of the 64 states.
    program = lively(FAMILY[name](ordering="shifted:2"), 0.3)
    options = {"method": "fixed-point", "block": 2} if method == "blocks" else {"method": method}
    draws = program.distribution().sample(torch.Size((4000,)), **options)
    states = all_images(6)
    counts = (draws.unsqueeze(1) == states).all(-1).sum(0)
    probabilities = program.log_prob(states).exp().detach()
    assert multinomial_goodness_of_fit(probabilities, counts, total_count=4000) > 1e-3


@everything
@orders
@pytest.mark.parametrize("levels", [2, 4])
def test_all_samplers_turn_the_same_noise_into_the_same_images(name: str, ordering: str, levels: int) -> None:
    program = lively(EVERY[name](12, ordering=ordering, levels=levels, shape=(1, 3, 4)))
    distribution, noise = program.distribution(), torch.rand(2, 15, 12, dtype=torch.float64)
    reference = distribution.sample(torch.Size((2, 15)), method="sequential", noise=noise)
    assert len(reference.unique()) > levels // 2
    for options in SAMPLERS:
        draw = distribution.sample(torch.Size((2, 15)), noise=noise, **options)
        assert torch.equal(draw, reference), options


@names
@pytest.mark.parametrize("ordering", ["raster", "shifted:2"])
@pytest.mark.parametrize("levels", [2, 3])
def test_the_unrolled_model_has_the_fused_density(name: str, ordering: str, levels: int, all_images: Callable) -> None:
    program = lively(FAMILY[name](ordering=ordering, levels=levels))
    x = all_images(6, levels)
    data = {f"x_{i}": x[:, i] for i in range(6)}
    model = poutine.condition(program.distribution().unrolled(), data)
    trace = poutine.trace(model).get_trace(size=len(x))
    trace.compute_log_prob()
    total = sum(trace.nodes[site]["log_prob"] for site in data)
    torch.testing.assert_close(total, program.log_prob(x))
    sites = [site for site in trace.nodes if site.startswith("x_")]
    assert sites == [f"x_{i}" for i in program.ordering.sequence]


@everything
@pytest.mark.parametrize("levels", [2, 3])
def test_a_gradient_reaches_every_parameter(name: str, levels: int) -> None:
    program = EVERY[name](levels=levels)
    for _ in range(30):  # a mixture trains one component per pass
        program.log_prob(torch.randint(0, levels, (64, 6)).float()).sum().backward()
    dead = [key for key, p in program.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


@names
def test_training_and_evaluation_mode_agree_without_dropout_and_cycling(name: str) -> None:
    program = FAMILY[name]()
    if isinstance(program, MADE):
        program.net.cycle = "none"
    x = torch.randint(0, 2, (20, 6)).float()
    assert torch.equal(program.train().log_prob(x), program.eval().log_prob(x))


@everything
def test_a_loaded_program_takes_the_saved_ordering_and_scores_bit_for_bit(name: str, tmp_path) -> None:
    saved = EVERY[name](ordering="random:4").eval()
    torch.save(saved.state_dict(), tmp_path / "state.pt")
    loaded = EVERY[name](ordering="raster").eval()
    loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    x, noise = torch.randint(0, 2, (30, 6)).float(), torch.rand(30, 6)
    assert loaded.ordering == saved.ordering
    assert torch.equal(loaded.log_prob(x), saved.log_prob(x))
    for method in ("sequential", "cached", "fixed-point"):
        draws = [p.distribution().sample(torch.Size((30,)), method=method, noise=noise) for p in (loaded, saved)]
        assert torch.equal(*draws)


@everything
def test_a_value_depends_neither_on_the_batch_nor_on_the_size_of_a_pass(name: str, monkeypatch) -> None:
    program = EVERY[name]().eval()
    x = torch.randint(0, 2, (50, 6)).float()
    with torch.no_grad():
        together = program.log_prob(x)
        alone = torch.cat([program.log_prob(row) for row in x.split(1)])
        monkeypatch.setattr("ppl_models.distributions.autoregressive.MAX_PASS", 2000)
        in_turns = program.log_prob(x.view(5, 10, 6)).flatten()
    assert (together - alone).abs().max() < 1e-3
    assert (together - in_turns).abs().max() < 1e-3


@everything
@pytest.mark.parametrize("levels", [2, 3])
def test_one_pixel_is_enough(name: str, levels: int, all_images: Callable) -> None:
    program = lively(EVERY[name](1, levels=levels, shape=(1, 1, 1)))
    assert program.log_prob(all_images(1, levels)).exp().sum().item() == pytest.approx(1)
    for options in SAMPLERS:
        assert program.distribution().sample(torch.Size((3,)), **options).shape == (3, 1)


@names
@pytest.mark.parametrize("size", [1, 2])
def test_a_cache_keeps_the_rows_it_is_told_to(name: str, size: int) -> None:
    program = lively(FAMILY[name](ordering="shifted:2"))
    index, x = torch.tensor([3, 3, 0]), torch.randint(0, 2, (4, 6)).double()
    in_order = x[:, list(program.ordering.sequence)]
    with torch.no_grad():
        cache, whole = program.net.cache(4), program.net(x[index])
        done = 0
        while done < 6:
            stop = done + min(size, cache.limit)
            rows = in_order if done < 2 else in_order[index]
            found = cache.parameters(rows[:, done:stop])
            if done >= 2:
                expected = whole[:, list(program.ordering.sequence[done:stop])]
                torch.testing.assert_close(found, expected)
            cache.commit(rows[:, done:stop])
            done = stop
            if done in (2, 3) and len(next(iter(cache.state.values()))) == 4:
                cache.select(index)


@names
def test_the_cache_reads_no_value_that_is_not_generated_yet(name: str) -> None:
    program = lively(FAMILY[name](ordering="shifted:2"))
    with torch.no_grad():
        found = [program.net.cache(5).parameters(torch.full((5, 1), value)) for value in (0.0, 1.0, torch.nan)]
    assert torch.equal(found[0], found[1])
    assert torch.isfinite(found[2]).all()


def test_what_cannot_be_drawn_is_refused() -> None:
    program = MADE(6)
    with pytest.raises(InvalidInput, match="must be at least 1"):
        program.distribution().sample(block=0)
    with pytest.raises(InvalidInput, match="must be at least 1"):
        program.distribution().sample(batch=-1)
    with pytest.raises(InvalidInput, match="did you mean cached"):
        program.distribution().sample(method="cache")


@everything
@pytest.mark.parametrize("method", ["auto", "sequential", "fixed-point", "cached"])
def test_single_precision_draws_from_noise_of_either_precision(name: str, method: str) -> None:
    distribution, noise = EVERY[name]().eval().distribution(), torch.rand(9, 6, dtype=torch.float64)
    draws = distribution.sample(torch.Size((9,)), method=method, noise=noise)
    assert draws.dtype == torch.float32
    assert distribution.sample(torch.Size((5,)), method=method).shape == (5, 6)
    assert distribution.sample(torch.Size((0,)), method=method).shape == (0, 6)


@pytest.mark.parametrize("program", [MADE(6, (20,), cycle="orders"), PixelCNN(6, 4, 1, dropout=0.5, shape=(1, 2, 3))])
def test_drawing_leaves_dropout_and_changing_masks_out_and_the_mode_alone(program, all_images: Callable) -> None:
    x, noise = all_images(6), torch.rand(50, 6)
    program = lively(program).train()
    distribution = program.distribution()
    draws = [distribution.sample(torch.Size((50,)), method=m, noise=noise) for m in ("sequential", "cached")]
    assert torch.equal(*draws)
    data = {f"x_{i}": x[:, i] for i in range(6)}
    trace = poutine.trace(poutine.condition(distribution.unrolled(), data)).get_trace(size=len(x))
    trace.compute_log_prob()
    assert all(part.training for part in program.modules())
    total = sum(trace.nodes[site]["log_prob"] for site in data)
    torch.testing.assert_close(total, program.eval().log_prob(x))


@names
def test_a_net_can_be_reordered(name: str) -> None:
    program = lively(FAMILY[name](ordering="raster"))
    program.net.reorder(as_ordering("random:3", 6))
    program.ordering, noise = program.net.ordering, torch.rand(20, 6, dtype=torch.float64)
    draws = [program.distribution().sample(torch.Size((20,)), method=m, noise=noise) for m in ("sequential", "cached")]
    assert torch.equal(*draws)


def test_what_would_see_nothing_or_be_ignored_is_refused() -> None:
    for arguments in ({"first_kernel": 1}, {"dropout": 1.0}, {"dropout": -0.1}):
        for program in (PixelCNN, GatedPixelCNN):
            with pytest.raises(InvalidInput, match=next(iter(arguments))):
                program(9, **arguments)
    with pytest.raises(InvalidInput, match=r"ordering 'reversed'.*vary"):
        OrderMixture(6, ordering="reversed")
    with pytest.raises(InvalidInput, match="structure_seed"):
        OrderMixture(6, structure_seed=10**30)
    with pytest.raises(InvalidInput, match="no blocks"):
        MADE(6).distribution().sample(method="cached", block=2)


def test_masks_per_place_count_in_the_footprint() -> None:
    plain, masked = (PixelCNN(64, 8, 1, 5, 7, ordering=name).net.footprint() for name in ("raster", "random:1"))
    assert masked > plain
