from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pyro.distributions.testing.gof import multinomial_goodness_of_fit
from torch import Tensor

from ppl_models import InvalidInput
from ppl_models.nets import AutoregressiveMLP, Structure, random_structure
from ppl_models.ordering import as_ordering
from ppl_models.programs import MADE, OrderMixture
from tests.ppl_models.programs.family import lively


def by_hand(net: AutoregressiveMLP, sequence: list[int], degrees: list[list[int]], x: Tensor) -> Tensor:
    """log p(x) of a masked perceptron, unit by unit: a unit of degree m sees the first m pixels of the ordering."""
    rank = [sequence.index(i) for i in range(len(sequence))]
    layers = net.masked_layers()
    hidden, levels = x, [r + 1 for r in rank]
    for layer, above in zip(layers, degrees, strict=False):
        units = []
        for k, degree in enumerate(above):
            seen = [j for j, level in enumerate(levels) if level <= degree]
            bias = layer.bias[k] + layer.companion[k, seen].sum()
            units.append(torch.relu(bias + hidden[:, seen] @ layer.weight[k, seen]))
        hidden, levels = torch.stack(units, -1), above
    total, last, link = torch.zeros(len(x)).double(), layers[len(degrees)], layers[-1]
    for i, r in enumerate(rank):
        seen = [k for k, level in enumerate(levels) if level <= r]
        earlier = [j for j in range(len(rank)) if rank[j] < r]
        logit = last.bias[i] + last.companion[i, seen].sum() + hidden[:, seen] @ last.weight[i, seen]
        if degrees:
            logit = logit + link.companion[i, earlier].sum() + x[:, earlier] @ link.weight[i, earlier]
        p = torch.sigmoid(logit)
        total = total + torch.where(x[:, i] == 1, p, 1 - p).log()
    return total


@pytest.mark.parametrize("vary", ["orders", "masks"])
@pytest.mark.parametrize("hidden", [(9,), (8, 7)])
def test_the_mixture_is_the_mean_of_its_components_densities(vary: str, hidden: tuple, all_images: Callable) -> None:
    program = lively(OrderMixture(5, 3, hidden, vary=vary))
    x, densities = all_images(5), []
    for k in range(3):
        degrees = [getattr(program, f"component_degrees_{n}")[k].tolist() for n in range(len(hidden))]
        densities.append(by_hand(program.net, program.sequences[k].tolist(), degrees, x).exp())
    expected = torch.stack(densities).mean(0).log()
    torch.testing.assert_close(program.log_prob(x), expected)
    different = {tuple(sequence) for sequence in program.sequences.tolist()}
    assert len(different) == (3 if vary == "orders" else 1)


@pytest.mark.parametrize("method", ["sequential", "fixed-point", "cached"])
def test_samples_of_the_mixture_fit_its_enumerated_probabilities(method: str, all_images: Callable) -> None:
    program = lively(OrderMixture(4, 3, (9,)), 0.5)
    states = all_images(4)
    draws = program.distribution().sample(torch.Size((6000,)), method=method)
    counts = (draws.unsqueeze(1) == states).all(-1).sum(0)
    probabilities = program.log_prob(states).exp().detach()
    assert multinomial_goodness_of_fit(probabilities, counts, total_count=6000) > 1e-3


def test_pixel_0_is_drawn_independently_of_the_component_that_its_uniform_chooses() -> None:
    """Every component thinks pixel 0 fair: so are the draws of each, though one uniform chose both."""
    program = OrderMixture(3, 4, (), vary="orders").eval()
    for parameter in program.parameters():
        torch.nn.init.zeros_(parameter)
    noise = torch.rand(8000, 3, dtype=torch.float64)
    drawn, component = program.distribution().sample(torch.Size((8000,)), noise=noise)[:, 0], (noise[:, 0] * 4).floor()
    for number in range(4):
        mine = drawn[component == number]
        assert abs(mine.mean() - 0.5) < 4 * 0.5 / len(mine) ** 0.5


def test_the_components_are_saved_and_do_not_touch_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    first, other = OrderMixture(6, 4, ()), OrderMixture(6, 4, (), structure_seed=1)
    again = OrderMixture(6, 4, ())
    assert torch.equal(first.sequences, again.sequences)
    assert not torch.equal(first.sequences, other.sequences)
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.sequences, other.sequences)
    torch.random.set_rng_state(before)


def test_training_takes_one_component_per_pass(all_images: Callable) -> None:
    program = lively(OrderMixture(5, 2, (9,), fresh=False)).train()
    x = all_images(5)
    components = [program.component(k).log_prob(x) for k in range(2)]
    seen = set()
    for _ in range(20):
        found = program.log_prob(x)
        seen.add(next(k for k, log_prob in enumerate(components) if torch.equal(found, log_prob)))
    assert seen == {0, 1}
    fresh = lively(OrderMixture(5, 2, (9,))).train()
    assert len({fresh.log_prob(x).sum().item() for _ in range(10)}) == 10


@pytest.mark.parametrize("cycle", ["masks", "orders"])
def test_cycling_masks_leaves_the_weights_and_the_saved_masks_intact(cycle: str) -> None:
    program = MADE(6, (12,), cycle=cycle)
    before = {name: value.clone() for name, value in program.state_dict().items() if isinstance(value, Tensor)}
    optimizer = torch.optim.SGD(program.parameters(), lr=0.0)
    for _ in range(5):
        (-program.log_prob(torch.randint(0, 2, (8, 6)).float()).mean()).backward()
        optimizer.step()
    after = program.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    # A masked weight gets a gradient of zero in the pass that masks it, and another pass reaches it.
    reached = program.net.layers[0].weight.grad != 0
    assert reached.float().mean() > program.net.layers[0].mask.float().mean() * 0.9


def test_a_masked_entry_gets_no_gradient_in_its_pass() -> None:
    net = AutoregressiveMLP(as_ordering("raster", 6), (12,), direct=True)
    structure = random_structure(net.ordering, (12,), new_order=True)
    net.under(structure)(torch.rand(9, 6)).sum().backward()
    for layer, mask in zip(net.masked_layers(), structure.masks(1, True, torch.device("cpu")), strict=True):
        assert (layer.weight.grad[~mask] == 0).all()


def test_random_degrees_are_between_those_below_and_the_last_pixel() -> None:
    for seed in range(50):
        torch.manual_seed(seed)
        structure = random_structure(as_ordering("raster", 5), (4, 6), new_order=False)
        first, second = structure.degrees
        assert first.min() >= 1
        assert first.max() <= 4
        assert second.min() >= first.min()
        assert second.max() <= 4


def test_an_order_agnostic_made_is_a_density_under_any_ordering(all_images: Callable) -> None:
    program = lively(MADE(5, (9,), cycle="orders"))
    x = all_images(5)
    densities = [program.reordered(f"random:{seed}").log_prob(x).exp() for seed in range(3)]
    for density in densities:
        assert density.sum().item() == pytest.approx(1)
    assert not torch.allclose(densities[0], densities[1])
    assert torch.equal(program.reordered("raster").log_prob(x), program.log_prob(x))
    with pytest.raises(InvalidInput, match="cycle"):
        MADE(5).reordered("random:1")


def test_the_saved_structure_is_what_the_masks_say() -> None:
    program = MADE(7, (20, 5), ordering="random:2")
    masks = program.net.structure().masks(1, True, torch.device("cpu"))
    for layer, mask in zip(program.net.masked_layers(), masks, strict=True):
        assert torch.equal(layer.mask, mask)
    assert isinstance(program.net.structure(), Structure)


def test_a_mixture_is_unrolled_by_component_alone() -> None:
    program = OrderMixture(4, 2, ()).eval()
    with pytest.raises(InvalidInput, match="different orders"):
        program.distribution().unrolled()
    assert program.distribution().unrolled(component=1)(size=3).shape == (3, 4)
    for arguments in ({"num_components": 0}, {"vary": "order"}):
        with pytest.raises(InvalidInput):
            OrderMixture(4, **arguments)


def test_averaging_logits_over_orderings_is_no_density_and_is_not_what_the_mixture_does(all_images: Callable) -> None:
    program = lively(OrderMixture(8, 4, (9,)))
    x = all_images(8)
    logits = torch.stack([program.component(k).net(x)[..., 0] for k in range(4)]).mean(0)
    averaged = -torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
    assert abs(averaged.exp().sum().item() - 1) > 0.01
    assert program.log_prob(x).exp().sum().item() == pytest.approx(1)
