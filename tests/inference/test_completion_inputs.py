"""What a completion depends on, what it leaves alone, and what is refused."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from inference import complete
from inference.completion_plan import components_of, plan
from ppl_models.autoencoder import NotADensityError
from ppl_models.errors import InvalidInput
from ppl_models.programs import MADE, VAE, IndependentPixels, OrderMixture
from ppl_models.recipes import autoencoder

DIM = 6
SUFFIX, INNER = [5, 0, 1], [2, 3, 0]


def lively(program: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(10)
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


@pytest.mark.parametrize("cycle", ["none", "orders"])
def test_an_image_does_not_depend_on_the_batch(cycle: str) -> None:
    """Masks of all kinds in one batch, in chunks of any size, and each image alone."""
    program, masks = made(cycle=cycle), torch.tensor(list(product((False, True), repeat=DIM)))
    x = torch.randint(0, 2, (64, DIM)).double()
    whole = complete(program, x, masks, num_draws=3, particles=20, batch=10_000)
    again = complete(program, x, masks, num_draws=3, particles=20, batch=1)
    for row in range(0, 64, 3):
        alone = complete(program, x[row : row + 1], masks[row], num_draws=3, particles=20, index=[row])
        for name in ("x", "log_evidence", "ess", "ess_final", "lineages"):
            value = getattr(whole, name)
            mine = value[:, row : row + 1] if name == "x" else value[row : row + 1]
            torch.testing.assert_close(getattr(alone, name), mine, equal_nan=True)
            torch.testing.assert_close(getattr(again, name), value, equal_nan=True)


def test_the_seed_and_the_index_decide() -> None:
    program, x, observed = made(), IMAGE.expand(30, -1), without(INNER)
    first = complete(program, x, observed, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first.x, complete(program, x, observed, seed=1).x)
    assert not torch.equal(first.x, complete(program, x, observed, seed=2).x)
    assert len(first.x[0].unique(dim=0)) > 1


@pytest.mark.parametrize("missing", [SUFFIX, INNER])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_given_pixels_stay_and_missing_ones_are_not_read(missing: list[int], dtype: torch.dtype) -> None:
    program, observed = made().float(), without(missing)
    x = torch.randint(0, 2, (20, DIM)).to(dtype)
    x[x == 0] = -0.0  # a zero as well, told from the other by its bits
    spoiled = x.clone()
    spoiled[:, missing] = torch.tensor([torch.nan, torch.inf, -7.5], dtype=dtype)[: len(missing)]
    found, clean = (complete(program, images, observed, num_draws=4, particles=9) for images in (spoiled, x))
    assert found.x.shape == (4, 20, DIM)
    assert found.x.dtype == dtype
    kind = torch.int32 if dtype == torch.float32 else torch.int64
    assert torch.equal(found.x.view(kind)[..., observed], x.view(kind)[:, observed].expand(4, -1, -1))
    assert set(found.x[..., ~observed].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(found.x, clean.x)
    assert torch.equal(found.observed, observed.expand(20, -1))


def test_the_program_is_left_as_it_was() -> None:
    program = made(dropout=0.5).train()
    found = complete(program, IMAGE, without(INNER), particles=50)
    again = complete(program, IMAGE, without(INNER), particles=50)
    assert program.training
    assert not found.x.requires_grad
    assert torch.equal(found.log_evidence, again.log_evidence), "dropout must be off"


# ---- bad input


MASK = without([1])
BAD = {
    "ints": (IMAGE.long(), MASK, {}, "float tensors"),
    "width": (IMAGE[:, :4], MASK, {}, "6 pixels"),
    "flat": (IMAGE[0], MASK, {}, "6 pixels"),
    "nobody": (IMAGE[:0], MASK, {}, "no images"),
    "list": ([[1.0] * DIM], MASK, {}, "float tensors"),
    "mask type": (IMAGE, MASK.long(), {}, "observed 'torch.int64'"),
    "mask list": (IMAGE, [True] * DIM, {}, "observed 'list'"),
    "mask shape": (IMAGE, MASK[:4], {}, "observed (4,)"),
    "mask rows": (IMAGE, MASK.expand(3, -1), {}, "observed (3, 6)"),
    "half": (IMAGE * 0.5, MASK, {}, "x 0.5"),
    "high": (IMAGE * 2, MASK, {}, "x 2.0"),
    "negative": (-IMAGE, MASK, {}, "x -1.0"),
    "nan": (IMAGE * torch.nan, MASK, {}, "NaN"),
    "draws": (IMAGE, MASK, {"num_draws": 0}, "num_draws 0"),
    "particles": (IMAGE, MASK, {"particles": 0}, "particles 0"),
    "batch": (IMAGE, MASK, {"batch": -1}, "batch -1"),
    "method": (IMAGE, MASK, {"method": "smcc"}, "did you mean smc"),
    "inexact": (IMAGE, without([2]), {"method": "exact"}, "no suffix of the ordering"),
    "index": (IMAGE, MASK, {"index": [1, 2]}, "index '2 entries'"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_in_one_line(name: str) -> None:
    x, observed, options, words = BAD[name]
    with pytest.raises(InvalidInput) as caught:
        complete(made(), x, observed, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_programs_that_are_not_autoregressive_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"program 'VAE': .*latents.*autoregressive program such as made.*MCMC"):
        complete(VAE(DIM, 2, (8,)), IMAGE.float(), MASK)
    with pytest.raises(InvalidInput, match=r"'IndependentPixels': .*not Autoregressive"):
        complete(IndependentPixels(DIM), IMAGE.float(), MASK)
    with pytest.raises(NotADensityError, match="in-painting"):
        complete(autoencoder(DIM)[0], IMAGE.float(), MASK)


@pytest.mark.parametrize(("particles", "counts"), [(3, [1, 1, 1]), (11, [4, 4, 3]), (12, [4, 4, 4])])
def test_particles_are_exactly_as_many_as_asked_for(particles: int, counts: list[int]) -> None:
    program = lively(OrderMixture(DIM, 3, (8,)))
    (job,) = plan(program, components_of(program), without([0, 3]).unsqueeze(0), "auto", 1, particles)
    assert job.counts == counts


def test_a_mixture_needs_a_particle_for_every_ordering() -> None:
    program = lively(OrderMixture(DIM, 2, (8,)))
    with pytest.raises(InvalidInput, match=r"particles 1: .*mixture of 2 orderings"):
        complete(program, IMAGE, without([0]), particles=1)
    complete(program, IMAGE, without([0]), particles=2)


@pytest.mark.parametrize(("bias", "word"), [(-torch.inf, "-inf"), (torch.nan, "nan")])
def test_impossible_given_pixels_are_refused(bias: float, word: str) -> None:
    """Pixel 2 cannot be 1, as it is in the second image."""
    program = made("raster", 3)
    with torch.no_grad():
        program.net.layers[-1].bias[2 * 3 + 1] = bias
    x = torch.cat([IMAGE, IMAGE])
    with pytest.raises(InvalidInput, match=rf"image 8.*log-probability {word}"):
        complete(program, x, torch.stack([without([2, 3, 4, 5]), without([0])]), index=[7, 8], particles=20)
