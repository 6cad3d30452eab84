"""Nets against the formulas of their papers, written as plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ppl_models import InvalidInput
from ppl_models.nets import AutoregressiveMLP, NADENet, PixelCNNNet, PixelRNNNet, PixelTransformerNet
from ppl_models.ordering import as_ordering
from tests.ppl_models.programs.family import lively

ORDER = as_ordering("shifted:2", 6)
X = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], [2, 0, 1, 2, 0, 1]], dtype=torch.float64)


@pytest.mark.parametrize("block", [1, 2, 4, 6, 9])
@pytest.mark.parametrize("outputs", [1, 3])
def test_nade_is_its_running_sum(block: int, outputs: int) -> None:
    net = lively(NADENet(ORDER, (7,), outputs, scale=0.5, block=block))
    found = net(X)
    for n, row in enumerate(X):
        running = net.bias.clone()
        for pixel in ORDER.sequence:
            hidden = torch.sigmoid(running)
            expected = net.output_bias[pixel] + net.output_weight[pixel] @ hidden
            torch.testing.assert_close(found[n, pixel], expected)
            running = running + net.weight[pixel] * row[pixel] * 0.5


def test_the_hidden_activations_of_nade_are_as_many_as_the_states_that_differ() -> None:
    net, states = NADENet(as_ordering("raster", 64), (5,), block=8), []
    net.activation.register_forward_hook(lambda m, inputs, out: states.append(len(out)))
    x = torch.zeros(3, 64)
    x[0, [0, 1, 9, 63]] = 1  # the last pixel of a block is read by the next block's first state
    net(x)
    assert sum(states) == 8 * 3 + 3


def test_fvsbn_is_a_logistic_regression_on_the_earlier_pixels() -> None:
    net = lively(AutoregressiveMLP(ORDER, ()))
    layer = net.layers[0]
    for pixel in range(6):
        earlier = [j for j in range(6) if ORDER.rank[j] < ORDER.rank[pixel]]
        expected = layer.bias[pixel] + X[:, earlier] @ layer.weight[pixel, earlier]
        torch.testing.assert_close(net(X)[:, pixel, 0], expected)


def test_the_bare_recurrence_is_elmans() -> None:
    net = lively(PixelRNNNet(ORDER, (1, 2, 3), 4, 1, "tanh", above=False, position=False))
    cell = net.recurrence
    found = net(X[:3])
    for n, row in enumerate(X[:3]):
        state, before = net.initial[0, 0, 0], torch.zeros(2, dtype=torch.float64)
        for pixel in ORDER.sequence:
            drive = cell.weight_hh_l0 @ state + cell.weight_ih_l0 @ before + cell.bias_hh_l0 + cell.bias_ih_l0
            state = torch.tanh(drive)
            torch.testing.assert_close(found[n, pixel], net.read(state))
            before = torch.tensor([2 * row[pixel].item() - 1, 1.0], dtype=torch.float64)


def test_a_step_of_the_recurrence_sees_the_neighbours_that_were_generated() -> None:
    net = PixelRNNNet(as_ordering("raster", 9), (1, 3, 3), 4)
    # before, above, above left, above right, left; 9 stands for none
    assert net.seen[4].tolist() == [3, 1, 0, 2, 3]
    assert net.seen[3].tolist() == [2, 0, 9, 1, 9]
    backwards = PixelRNNNet(as_ordering("reversed", 9), (1, 3, 3), 4)
    assert backwards.seen[4].tolist() == [5, 9, 9, 9, 9]


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = query @ key.T / query.shape[-1] ** 0.5
    return torch.softmax(scores, -1) @ value


def test_the_transformer_attends_to_the_tokens_so_far() -> None:
    net = lively(PixelTransformerNet(ORDER, (1, 2, 3), 8, 1, 2, 2, 0), 0.5)
    block, row = net.blocks[0], X[0]
    seen = [torch.zeros(2, dtype=torch.float64)]
    seen += [torch.tensor([2 * row[p].item() - 1, 1.0], dtype=torch.float64) for p in ORDER.sequence[:-1]]
    tokens = torch.stack([net.place[p] + net.value.weight @ s for p, s in zip(ORDER.sequence, seen, strict=True)])
    query, key, value = block.project(block.norms[0](tokens)).chunk(3, -1)
    mixed = torch.stack(
        [
            torch.cat([attention(query[t, h], key[: t + 1, h], value[: t + 1, h]) for h in (slice(0, 4), slice(4, 8))])
            for t in range(6)
        ]
    )
    h = tokens + block.mix(mixed)
    h = h + block.perceptron(block.norms[1](h))
    expected = net.head(h) + net.output_bias[list(ORDER.sequence)]
    torch.testing.assert_close(net(row[None])[0, list(ORDER.sequence)], expected)


def test_depth_and_widths_are_checked() -> None:
    with pytest.raises(InvalidInput, match="divisor"):
        PixelTransformerNet(ORDER, (1, 2, 3), 8, heads=3)
    with pytest.raises(InvalidInput, match="odd"):
        PixelCNNNet(ORDER, (1, 2, 3), kernel=4)
    with pytest.raises(InvalidInput, match="one channel"):
        PixelCNNNet(ORDER, (3, 1, 2))
    with pytest.raises(InvalidInput, match="gru"):
        PixelRNNNet(ORDER, (1, 2, 3), cell="grru")
    with pytest.raises(InvalidInput, match="hidden layer"):
        NADENet(ORDER, ())
    with pytest.raises(InvalidInput, match="cycle"):
        AutoregressiveMLP(ORDER, (4,), cycle="order")
