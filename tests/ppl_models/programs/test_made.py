from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pyro.distributions.testing.gof import multinomial_goodness_of_fit

from ppl_models import InvalidInput
from ppl_models.programs import MADE, IndependentPixels

ORDERS = ["raster", "reversed", "shifted:2", "random:3"]
SHAPES = [(), (20,), (20, 20), (2,), (1, 3)]


def lively(program: torch.nn.Module) -> torch.nn.Module:
    for parameter in program.parameters():
        torch.nn.init.normal_(parameter, 0, 1.0)
    return program.double().eval()


@pytest.mark.parametrize("ordering", ORDERS)
@pytest.mark.parametrize("hidden", SHAPES)
@pytest.mark.parametrize("levels", [2, 3])
def test_the_mass_over_all_images_is_one(ordering: str, hidden: tuple, levels: int, all_images: Callable) -> None:
    program = lively(MADE(5, hidden, True, ordering, levels=levels))
    with torch.no_grad():
        mass = program.log_prob(all_images(5, levels)).exp().sum()
    assert mass.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("hidden", [(), (4,)])
def test_one_pixel_is_enough(levels: int, hidden: tuple, all_images: Callable) -> None:
    program = lively(MADE(1, hidden, levels=levels))
    assert program.log_prob(all_images(1, levels)).exp().sum().item() == pytest.approx(1)
    assert program(size=3).shape == (3, 1)


@pytest.mark.parametrize("ordering", ORDERS)
def test_changing_everything_from_step_t_on_leaves_conditional_t(ordering: str) -> None:
    program = lively(MADE(8, (30, 30), True, ordering))
    sequence = program.ordering.sequence
    x = torch.randint(0, 2, (50, 8)).double()
    before = program.net(x)
    for t, pixel in enumerate(sequence):
        changed = x.clone()
        changed[:, list(sequence[t:])] = 1 - changed[:, list(sequence[t:])]
        after = program.net(changed)
        assert torch.equal(after[:, pixel], before[:, pixel])
        if t + 1 < len(sequence):
            assert not torch.equal(after[:, list(sequence[t + 1 :])], before[:, list(sequence[t + 1 :])])


def test_samples_fit_the_enumerated_probabilities_of_the_program(all_images: Callable) -> None:
    # Milder weights than elsewhere: the test statistic needs an expected count above 1 in each of the 32 states.
    program = MADE(5, (20,), True, "shifted:2").double()
    for parameter in program.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    states = all_images(5)
    counts = (program(size=8000).unsqueeze(1) == states).all(-1).sum(0)
    probabilities = program.log_prob(states).exp().detach()
    assert multinomial_goodness_of_fit(probabilities, counts, total_count=8000) > 1e-3


def test_a_gradient_reaches_every_parameter() -> None:
    program = MADE(6, (20, 20), True, "shifted:2", levels=3)
    program.log_prob(torch.randint(0, 3, (64, 6)).float()).sum().backward()
    dead = [name for name, p in program.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_grey_levels_enter_the_net_scaled_to_one() -> None:
    program, seen = MADE(6, (8,), levels=5), []
    program.net.layers[0].register_forward_hook(lambda m, inputs, out: seen.append(inputs[0].max().item()))
    program.log_prob(torch.full((2, 6), 4.0))
    assert seen == [1.0]


def test_dropout_acts_in_training_only() -> None:
    program = MADE(6, (50,), dropout=0.5)
    x = torch.ones(4, 6)
    assert not torch.equal(program.train().log_prob(x), program.log_prob(x))
    assert torch.equal(program.eval().log_prob(x), program.log_prob(x))


def test_a_loaded_program_takes_masks_and_ordering_and_scores_bit_for_bit(tmp_path) -> None:
    saved = MADE(9, (20,), True, "random:4")
    torch.save(saved.state_dict(), tmp_path / "state.pt")
    loaded = MADE(9, (20,), True, "raster")
    x = torch.randint(0, 2, (30, 9)).float()
    assert not torch.equal(loaded.log_prob(x), saved.log_prob(x))
    loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert loaded.ordering == saved.ordering
    assert torch.equal(loaded.log_prob(x), saved.log_prob(x))
    noise = torch.rand(5, 9)
    draws = [p.distribution().sample(torch.Size((5,)), noise=noise) for p in (loaded, saved)]
    assert torch.equal(*draws)


def test_a_value_does_not_depend_on_the_rest_of_the_batch() -> None:
    program = MADE(64, (100,), True)
    x = torch.randint(0, 2, (200, 64)).float()
    alone = torch.cat([program.log_prob(row) for row in x.split(1)])
    assert (program.log_prob(x) - alone).abs().max() < 1e-3


def test_independent_pixels_are_a_density(all_images: Callable) -> None:
    program = IndependentPixels(4, levels=3).double()
    torch.nn.init.normal_(program.pixel_parameters)
    assert program.log_prob(all_images(4, 3)).exp().sum().item() == pytest.approx(1)


def test_images_outside_the_sample_space_are_refused() -> None:
    program = MADE(4)
    with pytest.raises(InvalidInput, match="binarize"):
        program.check(torch.full((2, 4), 0.5))
    with pytest.raises(InvalidInput, match="finite"):
        program.check(torch.full((2, 4), torch.nan))
    with pytest.raises(InvalidInput, match="4 pixels"):
        program.check(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="support"):
        program.log_prob(torch.full((2, 4), 0.5))
    with pytest.raises(InvalidInput, match="levels"):
        MADE(4, levels=1)
    with pytest.raises(InvalidInput, match="images have 4 pixels"):
        MADE(4, ordering=[0, 1, 2])
