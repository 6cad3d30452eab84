"""Masked networks: a multilayer perceptron whose outputs depend on stated inputs only.

Any dependency structure can be asked for, given as an adjacency matrix A (boolean, outputs x inputs): output i may
depend on input j only if A[i, j]. Each hidden unit stands for a set of inputs S_k, and a connection l -> k is kept iff
S_l is a subset of S_k. With the rows A[i] = {j : rank[j] < rank[i]} this is MADE (Germain et al. 2015, 1502.03509),
whose degree m(k) is the size of S_k.

Masks multiply the weights in the forward pass and never change them: a masked weight keeps its value and receives a
gradient of zero, so that masks can be cycled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from .mlp import activation, check_dropout, check_widths


class MaskedLinear(nn.Linear):
    """y = (M * W) x + b with a fixed boolean mask M (out_features, in_features), saved with the weights.

    Args:
        mask: M.
        bias: whether there is b.
        companion: add (M * U) 1, with weights U of inputs that are always one (Germain et al. 2015): where
            masks change, a unit then knows which inputs it sees, not only their values.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, bias: bool = True, companion: bool = False) -> None:
        super().__init__(mask.shape[1], mask.shape[0], bias=bias)
        self.register_buffer("mask", mask.bool())
        self.companion = nn.Parameter(torch.zeros_like(self.weight)) if companion else None

    def effective(self, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The weight and the bias under a mask, the saved one unless given."""
        mask = self.mask if mask is None else mask
        bias = self.bias
        if self.companion is not None:
            added = (self.companion * mask).sum(1)
            bias = added if bias is None else bias + added
        return self.weight * mask, bias

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(..., in_features) -> (..., out_features), under another mask where one is given."""
        return functional.linear(x, *self.effective(mask))


def dependency_sets(adjacency: Tensor) -> Tensor:
    """The distinct rows of an adjacency matrix, smallest set first, (S, inputs).

    The empty set is left out where there is another: a unit that sees nothing only repeats a bias.
    """
    sets = torch.unique(adjacency.bool(), dim=0)
    sets = sets[torch.argsort(sets.sum(-1), stable=True)]
    return sets[sets.any(-1)] if sets.any() else sets


def assign_units(sets: Tensor, width: int) -> Tensor:
    """The sets that ``width`` hidden units stand for, (width, inputs).

    Every set in turn while there are enough units, else sets spaced evenly from the smallest to the largest, so that a
    layer narrower than the number of pixels still sees all of the image.
    """
    count = len(sets)
    if width >= count:
        return sets[torch.arange(width) % count]
    return sets[torch.linspace(0, count - 1, width).round().long()]


def subset_mask(of: Tensor, contains: Tensor) -> Tensor:
    """mask[k, l]: whether the set of unit l (a row of ``of``) is a subset of that of unit k (a row of ``contains``)."""
    return (~contains).double() @ of.double().T == 0


class MaskedMLP(nn.Module):
    """Perceptron with P outputs per pixel that obeys an adjacency: (..., I) -> (..., O, P).

    Args:
        adjacency: boolean (O, I); outputs of group i depend on input j only where ``adjacency[i, j]``.
        hidden: widths of the hidden layers; empty gives one masked affine map.
        outputs: P, the number of outputs of each group.
        direct: add a masked linear link from the inputs to the outputs.
        nonlinearity: name of the activation.
        dropout: probability with which a hidden unit is silenced in training.
        companion: as ``MaskedLinear``, in every layer.

    Raises:
        InvalidInput: for a width below 1, or a dropout outside [0, 1).
    """

    def __init__(
        self,
        adjacency: Tensor,
        hidden: Sequence[int],
        outputs: int = 1,
        direct: bool = False,
        nonlinearity: str = "relu",
        dropout: float = 0.0,
        companion: bool = False,
    ) -> None:
        super().__init__()
        check_dropout(dropout)
        self.outputs = outputs
        adjacency = adjacency.bool()
        sets = dependency_sets(adjacency)
        # Where nothing depends on anything (D = 1) the only set is the empty one, and subset rules still hold.
        below = torch.eye(adjacency.shape[1], dtype=torch.bool)
        layers: list[nn.Module] = []
        for width in check_widths("hidden", hidden):
            above = assign_units(sets, width)
            layers += [MaskedLinear(subset_mask(below, above), companion=companion), activation(nonlinearity)]
            if dropout:
                layers.append(nn.Dropout(dropout))
            below = above
        mask = subset_mask(below, adjacency).repeat_interleave(outputs, 0)
        layers.append(MaskedLinear(mask, companion=companion))
        self.layers = nn.Sequential(*layers)
        link = adjacency.repeat_interleave(outputs, 0)
        self.direct = MaskedLinear(link, bias=False, companion=companion) if direct and len(hidden) else None

    def forward(self, x: Tensor) -> Tensor:
        """Parameters per group, (..., I) -> (..., O, P)."""
        return self.evaluate(x)

    def evaluate(self, x: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """The same under other masks, one per masked layer from the input on and the direct link's last."""
        own = iter(masks) if masks is not None else None
        y = x
        for layer in self.layers:
            y = layer(y, next(own) if own else None) if isinstance(layer, MaskedLinear) else layer(y)
        if self.direct is not None:
            y = y + self.direct(x, next(own) if own else None)
        return y.unflatten(-1, (-1, self.outputs))

    def masked_layers(self) -> list[MaskedLinear]:
        """The masked layers from the input on, the direct link last."""
        layers = [layer for layer in self.layers if isinstance(layer, MaskedLinear)]
        return layers if self.direct is None else [*layers, self.direct]

    @torch.no_grad()
    def frozen(self, masks: Sequence[Tensor] | None = None) -> Callable[[Tensor], Tensor]:
        """The same function with today's masks multiplied into today's weights, for many evaluations in a row.

        For small batches multiplying the masks costs more than the layers themselves. Without dropout and gradients.
        """
        layers = self.masked_layers()
        own = [layer.mask for layer in layers] if masks is None else masks
        dense = {layer: _dense(layer, mask) for layer, mask in zip(layers, own, strict=True)}
        steps = [dense.get(layer, layer) for layer in self.layers if not isinstance(layer, nn.Dropout)]
        link = None if self.direct is None else dense[self.direct]

        def evaluate(x: Tensor) -> Tensor:
            y = x
            for step in steps:
                y = step(y)
            if link is not None:
                y = y + link(x)
            return y.unflatten(-1, (-1, self.outputs))

        return evaluate


def _dense(layer: MaskedLinear, mask: Tensor) -> Callable[[Tensor], Tensor]:
    """The layer as a function, the mask multiplied in."""
    weight, bias = layer.effective(mask)
    return partial(functional.linear, weight=weight, bias=bias)
