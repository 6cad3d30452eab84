"""Taps, blind spots, and nets with a context."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ppl_models.distributions import Autoregressive, BernoulliPixels
from ppl_models.nets import GatedPixelCNNNet, PixelCNNNet, PixelTransformerNet
from ppl_models.nets.taps import TapConv, causal_places, window
from ppl_models.ordering import as_ordering
from tests.ppl_models.programs.family import lively


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("ordering", ["raster", "reversed", "shifted:2", "random:3"])
@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 6)])
def test_a_masked_convolution_is_its_sum_over_taps(
    size: tuple[int, int], ordering: str, kernel: int, strict: bool
) -> None:
    height, width = size
    order = as_ordering(ordering, height * width)
    places = causal_places(order, window(kernel), height, width, strict=strict)
    conv = TapConv(2, 3, window(kernel), height, width, places).double()
    h = torch.randn(2, height * width, 2, dtype=torch.float64)
    expected = conv.bias.expand(2, height * width, 3).clone()
    for i in range(height * width):
        for (down, right), weight in zip(conv.taps, conv.weight, strict=True):
            row, column = i // width + down, i % width + right
            if 0 <= row < height and 0 <= column < width:
                j = row * width + column
                if order.rank[j] < order.rank[i] or (j == i and not strict):
                    expected[:, i] += h[:, j] @ weight
    torch.testing.assert_close(conv(h), expected)
    memory = torch.cat((h, h.new_zeros(2, 1, 2)), 1)
    torch.testing.assert_close(conv.at(memory, torch.tensor([0, 3])), expected[:, [0, 3]])
    assert conv.uniform == (ordering in ("raster", "reversed") or (height == 1 and kernel == 1))


def seen_by(net: torch.nn.Module, pixel: int, data_dim: int) -> Tensor:
    """Which pixels conditional ``pixel`` depends on, by gradients of a smooth double of the net."""
    x = torch.rand(8, data_dim, dtype=torch.float64, requires_grad=True)
    net(x)[:, pixel].sum().backward()
    return x.grad.abs().sum(0) > 0


@pytest.mark.parametrize("net_class", [PixelCNNNet, GatedPixelCNNNet])
def test_the_blind_spot_is_the_plain_nets_alone(net_class: type) -> None:
    side, row, column = 7, 4, 2
    order = as_ordering("raster", side * side)
    net = lively(net_class(order, (1, side, side), 8, 8, 3, 3), 0.5)
    seen = seen_by(net, row * side + column, side * side).view(side, side)
    past = torch.zeros(side, side, dtype=torch.bool).flatten()
    past[: row * side + column] = True
    blind = past.view(side, side) & ~seen
    if net_class is GatedPixelCNNNet:
        assert not blind.any()
    else:
        # Each row upwards reaches one column further to the right, and no more.
        rows, columns = torch.arange(side)[:, None], torch.arange(side)[None, :]
        assert torch.equal(blind, past.view(side, side) & (columns - column > row - rows))
        assert blind.sum() == 3 + 2 + 1


def test_without_blocks_a_conditional_sees_one_window() -> None:
    order = as_ordering("raster", 49)
    net = lively(PixelCNNNet(order, (1, 7, 7), 8, depth=0, first_kernel=3), 0.5)
    seen = seen_by(net, 24, 49).nonzero().flatten().tolist()
    assert seen == [16, 17, 18, 23]


NETS: dict[str, Callable] = {
    "pixel cnn": lambda order: PixelCNNNet(order, (1, 2, 3), 4, 2, 3, 3, context=3),
    "gated": lambda order: GatedPixelCNNNet(order, (1, 2, 3), 4, 2, 3, 3, context=3),
    "transformer": lambda order: PixelTransformerNet(order, (1, 2, 3), 8, 2, 2, 2, 3, context=3),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("ordering", ["raster", "shifted:2"])
def test_a_conditioned_net_is_a_density_per_context_and_draws_by_its_cache(
    name: str, ordering: str, all_images: Callable
) -> None:
    order = as_ordering(ordering, 6)
    net = lively(NETS[name](order))
    contexts = torch.randn(5, 6, 3, dtype=torch.float64)
    x = all_images(6)

    def conditioned(values: Tensor) -> Tensor:
        return net(values, contexts.expand(*values.shape[:-2], -1, -1, -1))

    def cache(shape: torch.Size):
        return net.cache(shape.numel(), contexts.expand(*shape, -1, -1).reshape(-1, 6, 3))

    distribution = Autoregressive(
        conditioned, BernoulliPixels(), order, context_shape=torch.Size((5,)), like=contexts, cache=cache
    )
    with torch.no_grad():
        mass = distribution.log_prob(x[:, None]).exp().sum(0)
    torch.testing.assert_close(mass, torch.ones(5, dtype=torch.float64))
    scores = distribution.log_prob(x[:1])
    assert len(scores.unique()) == 5, "the context makes a difference"
    noise = torch.rand(4, 5, 6, dtype=torch.float64)
    draws = [
        distribution.sample(torch.Size((4,)), noise=noise, **options)
        for options in (
            {"method": "sequential"},
            {"method": "cached"},
            {"method": "fixed-point"},
            {"method": "fixed-point", "block": 2},
        )
    ]
    assert all(torch.equal(draw, draws[0]) for draw in draws)
