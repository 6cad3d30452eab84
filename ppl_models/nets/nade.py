"""NADE's net: one running sum of the pixels seen so far, shared by all conditionals (Larochelle & Murray 2011).

    a_t = c + sum_{s<t} W_s x_s,   h_t = f(a_t),   parameters_t = b_t + V_t h_t

The running sum makes all D conditionals cost O(D h) together. Written as D steps over (N, h) it is bound by memory
traffic, so it is evaluated in blocks of steps, and within a block only for the *states* that differ: a_t changes at
steps whose pixel is not 0. Of a row's states in a block, the first is the running sum at the block's start, and state j
adds the block's first j non-zero pixels. All products are then matrix products. A binarized digit has 784 steps and
about 100 non-zero pixels, so that most of the hidden activations are never computed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InvalidInput
from ..ordering import Ordering
from .autoregressive import AutoregressiveNet, Cache
from .mlp import activation, check_dropout, check_widths


class NADENet(AutoregressiveNet):
    """(..., D) -> (..., D, P) by a running sum over the ordering.

    Args:
        ordering: the order of generation.
        hidden: widths of the hidden layers, one at least. The first is NADE's; further layers are shared by all steps.
        outputs: P.
        nonlinearity: name of the activation.
        dropout: probability with which a hidden unit is silenced in training, the same for all steps of an image.
        scale: factor on the pixel values.
        block: steps per block; the default is near sqrt(D).

    Raises:
        InvalidInput: without a hidden layer, for a width below 1, or a dropout outside [0, 1).
    """

    def __init__(
        self,
        ordering: Ordering,
        hidden: Sequence[int],
        outputs: int = 1,
        nonlinearity: str = "sigmoid",
        dropout: float = 0.0,
        scale: float = 1.0,
        block: int | None = None,
    ) -> None:
        super().__init__()
        widths = check_widths("hidden", hidden)
        if not widths:
            raise InvalidInput("hidden", [], "NADE has a hidden layer", "write for example [500], or use fvsbn")
        data_dim = len(ordering)
        self.outputs, self.scale, self.dropout, self.widths = outputs, scale, check_dropout(dropout), widths
        self.block = block or max(1, min(isqrt(data_dim), 32))
        self.activation = activation(nonlinearity)
        # W and V are stored by pixel, in the order of the images, so that a weight belongs to a place in them.
        self.weight = nn.Parameter(torch.empty(data_dim, widths[0]).uniform_(-1, 1) * data_dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(widths[0]))
        self.further = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
        self.output_weight = nn.Parameter(
            torch.empty(data_dim, outputs, widths[-1]).uniform_(-1, 1) * widths[-1] ** -0.5
        )
        self.output_bias = nn.Parameter(torch.zeros(data_dim, outputs))
        self.reorder(ordering)

    def reorder(self, ordering: Ordering) -> None:
        """Take another ordering; the weights stay with their pixels."""
        super().reorder(ordering)
        device = self.weight.device
        self.register_buffer("sequence", torch.tensor(ordering.sequence, device=device), persistent=False)
        self.register_buffer("rank", torch.tensor(ordering.rank, device=device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D, P)."""
        sequence, rank = self.sequence, self.rank
        rows = (x.reshape(-1, x.shape[-1]) * self.scale).index_select(1, sequence).to(self.weight.dtype)
        weight, read = self.weight[sequence], self.output_weight[sequence]
        keep = self._keep(rows)
        running, parts = self.bias.expand(len(rows), -1), []
        for start in range(0, rows.shape[1], self.block):
            steps = slice(start, start + self.block)
            block = rows[:, steps]
            parts.append(self._block(block, running, weight[steps], read[steps], keep))
            if start + self.block < rows.shape[1]:
                running = running + block @ weight[steps]
        y = torch.cat(parts, 1).index_select(1, rank) + self.output_bias
        return y.view(*x.shape, self.outputs)

    def _keep(self, rows: Tensor) -> list[Tensor | None]:
        """Per hidden layer the dropout factors (N, width) of this pass, one per image and unit."""
        if not (self.training and self.dropout):
            return [None] * len(self.widths)
        ones = [self.bias.new_ones(len(rows), width) for width in self.widths]
        return [functional.dropout(one, self.dropout) for one in ones]

    def _block(self, block: Tensor, running: Tensor, weight: Tensor, read: Tensor, keep: list[Tensor | None]) -> Tensor:
        """Parameters (N, B, P) of one block of B steps, given its pixels (N, B) and the running sum at its start."""
        size = block.shape[1]
        # A state per row for the block's start, and one more after every non-zero pixel that a later step of the block
        # sees; which[n, t] is the state that conditional t of row n reads.
        changes = block[:, :-1] != 0
        counts = functional.pad(changes.long().cumsum(1), (1, 0))
        per_row = counts[:, -1] + 1
        first = functional.pad(per_row.cumsum(0), (1, 0))[:-1]
        which = first[:, None] + counts
        row = torch.repeat_interleave(torch.arange(len(block), device=block.device), per_row)
        states = running.index_select(0, row)
        if len(row) > len(block):
            # State j holds the row's pixels up to and including its j-th non-zero one: those counted below j + 1.
            place = torch.arange(len(row), device=block.device) - first.index_select(0, row)
            seen = counts[:, 1:].index_select(0, row) <= place[:, None]
            states = states + (block[:, :-1].index_select(0, row) * seen) @ weight[:-1]
        hidden = self._hidden(states, row, keep)
        every = (hidden @ read.flatten(0, 1).T).view(-1, size, self.outputs)
        return (
            every.flatten(0, 1)
            .index_select(0, (which * size + torch.arange(size, device=block.device)).flatten())
            .view(len(block), size, self.outputs)
        )

    def _hidden(self, states: Tensor, row: Tensor, keep: list[Tensor | None]) -> Tensor:
        """The last hidden layer of every state, (S, h)."""
        hidden = self.activation(states)
        if keep[0] is not None:
            hidden = hidden * keep[0].index_select(0, row)
        for layer, factor in zip(self.further, keep[1:], strict=True):
            hidden = self.activation(layer(hidden))
            if factor is not None:
                hidden = hidden * factor.index_select(0, row)
        return hidden

    def cache(self, rows: int) -> Cache:
        """The running sum."""
        return NADECache(self, rows)

    def footprint(self) -> int:
        """At worst every step of a block is a state."""
        return 4 * self.block * max(max(self.widths), self.block * self.outputs) + len(self.ordering) * self.outputs


class NADECache(Cache):
    """The running sum a_t (rows, h)."""

    @torch.no_grad()
    def __init__(self, net: NADENet, rows: int) -> None:
        super().__init__(net.ordering)
        self.net = net
        sequence = net.sequence
        self.weight = net.weight[sequence] * net.scale
        self.read, self.read_bias = net.output_weight[sequence], net.output_bias[sequence]
        self.state = {"sum": net.bias.repeat(rows, 1)}

    def parameters(self, values: Tensor) -> Tensor:
        """(rows, B) -> (rows, B, P)."""
        steps = slice(self.step, self.step + values.shape[1])
        states = self.state["sum"]
        if values.shape[1] == 1:
            hidden = self._hidden(states)
            return torch.addmm(self.read_bias[self.step], hidden, self.read[self.step].T).unsqueeze(1)
        added = values[:, :-1, None] * self.weight[steps][:-1]
        states = states[:, None] + functional.pad(added.cumsum(1), (0, 0, 1, 0))
        return torch.einsum("nbh,bph->nbp", self._hidden(states), self.read[steps]) + self.read_bias[steps]

    def _hidden(self, states: Tensor) -> Tensor:
        hidden = self.net.activation(states)
        for layer in self.net.further:
            hidden = self.net.activation(layer(hidden))
        return hidden

    def commit(self, values: Tensor) -> None:
        """Add the pixels to the running sum."""
        self.state["sum"] = torch.addmm(self.state["sum"], values, self.weight[self.step : self.step + values.shape[1]])
        self.step += values.shape[1]
