from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ppl_models import InvalidInput
from ppl_models.nets import MaskedLinear, MaskedMLP


def dependencies(net: MaskedMLP, inputs: int) -> Tensor:
    """(O, I): which outputs moved when an input was changed; the truth comes from perturbing, not from the masks."""
    base = torch.zeros(1, inputs, dtype=torch.float64)
    moved = []
    for j in range(inputs):
        changed = base.clone()
        changed[0, j] = 1
        moved.append((net(changed) != net(base)).any(-1)[0])
    return torch.stack(moved, 1)


def randomised(net: MaskedMLP) -> MaskedMLP:
    """Positive weights and no dead units, so that a connection that exists shows."""
    for parameter in net.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 1.0)
    return net.double()


ADJACENCIES = {
    "chain": torch.ones(6, 6).tril(-1),
    "shifted": torch.ones(6, 6).tril(-1).roll((2, 2), (0, 1)),
    "local": torch.ones(6, 6).tril(-1) * torch.ones(6, 6).triu(-2),
    "tree": torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0]]),
    "rectangular": torch.tensor([[1, 0, 1], [0, 1, 1]]),
    "nothing": torch.zeros(1, 1),
}


@pytest.mark.parametrize("name", ADJACENCIES)
@pytest.mark.parametrize("hidden", [(), (40,), (40, 40), (3,), (2, 1), (1, 50)])
@pytest.mark.parametrize("direct", [False, True])
def test_an_output_depends_on_no_input_outside_its_row(name: str, hidden: tuple[int, ...], direct: bool) -> None:
    adjacency = ADJACENCIES[name].bool()
    net = randomised(MaskedMLP(adjacency, hidden, outputs=2, direct=direct, nonlinearity="softplus"))
    found = dependencies(net, adjacency.shape[1])
    assert not (found & ~adjacency).any()
    if direct or not hidden or min(hidden) >= 40:
        assert torch.equal(found, adjacency), "with units for every set, all allowed dependencies exist"


def test_a_layer_narrower_than_the_image_still_reaches_its_last_pixels() -> None:
    net = randomised(MaskedMLP(torch.ones(20, 20).tril(-1), (4,), nonlinearity="softplus"))
    assert dependencies(net, 20)[-1].sum() == 19


def test_a_mask_neither_changes_a_weight_nor_lets_a_gradient_through() -> None:
    mask = torch.tensor([[True, False], [False, True]])
    layer = MaskedLinear(mask)
    before = layer.weight.detach().clone()
    layer(torch.ones(3, 2)).sum().backward()
    assert torch.equal(layer.weight, before)
    assert torch.equal(layer.weight.grad != 0, mask)


def test_leading_dimensions_pass_through() -> None:
    net = MaskedMLP(torch.ones(4, 4).tril(-1), (8,), outputs=3)
    x = torch.rand(2, 5, 4)
    assert net(x).shape == (2, 5, 4, 3)
    torch.testing.assert_close(net(x)[1, 3], net(x[1, 3]))


@pytest.mark.parametrize(
    "arguments", [{"hidden": (0,)}, {"hidden": (4,), "dropout": 1.0}, {"hidden": (4,), "nonlinearity": "rely"}]
)
def test_impossible_sizes_are_refused(arguments: dict) -> None:
    with pytest.raises(InvalidInput):
        MaskedMLP(torch.ones(4, 4).tril(-1), **arguments)


@pytest.mark.parametrize("hidden", [(), (9,), (9, 7)])
@pytest.mark.parametrize("direct", [False, True])
def test_the_frozen_net_is_the_same_function_to_the_bit_until_the_weights_change(hidden: tuple, direct: bool) -> None:
    net = MaskedMLP(torch.ones(5, 5).tril(-1), hidden, 2, direct, dropout=0.5).eval()
    x = torch.rand(4, 5)
    assert torch.equal(net.frozen()(x), net(x))
    for parameter in net.parameters():
        parameter.data += 1
    assert torch.equal(net.frozen()(x), net(x)), "nothing is remembered between two freezings"
