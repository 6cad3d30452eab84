"""A recurrent net over pixels in the order of generation (Elman 1990; van den Oord et al. 2016, 1601.06759)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import InvalidInput, nearest
from ..ordering import Ordering
from .autoregressive import AutoregressiveNet, Cache
from .mlp import check_dropout
from .pixel_cnn import pixel_features
from .taps import causal_places

CELLS: dict[str, type[nn.RNNBase]] = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
# What a step can see besides the pixel just before: the neighbours that most often have been generated.
NEIGHBOURS = [(-1, 0), (-1, -1), (-1, 1), (0, -1)]


class PixelRNNNet(AutoregressiveNet):
    """(N, D) -> (N, D, P) by h_t = cell(h_{t-1}, input_t), parameters_t = W h_t + b_t.

    The input is the pixel generated just before; with ``above`` the pixels around the place (above, above left, above
    right, left) as far as they were generated before; with ``position`` a learned vector of the place. Rows of several
    channels lie below each other, so that above the first row of a channel lies the last one of the channel before.

    Args:
        ordering: the order of generation.
        shape: (C, H, W).
        hidden: width of the state.
        depth: number of recurrent layers.
        cell: ``"tanh"`` (h_t = tanh(W_hh h_{t-1} + W_xh x_{t-1} + b)), ``"gru"`` or ``"lstm"``; the initial state is
            learned.
        above, position: see above.
        outputs: P.
        dropout: on the states that are read and between layers.
        scale: factor on the pixel values.

    Raises:
        InvalidInput: for an unknown cell, or counts below 1.
    """

    def __init__(
        self,
        ordering: Ordering,
        shape: Sequence[int],
        hidden: int = 128,
        depth: int = 1,
        cell: str = "gru",
        above: bool = True,
        position: bool = True,
        outputs: int = 1,
        dropout: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise InvalidInput("cell", cell, "unknown", nearest(cell, CELLS))
        for name, value in (("hidden", hidden), ("depth", depth)):
            if value < 1:
                raise InvalidInput(name, value, "must be at least 1", "give a count")
        self.cell, self.hidden, self.outputs, self.scale = cell, hidden, outputs, scale
        self.size, data_dim = (shape[0] * shape[1], shape[2]), len(ordering)
        self.neighbours = NEIGHBOURS if above else []
        inputs = 2 * (1 + len(self.neighbours)) + (hidden if position else 0)
        self.place = nn.Parameter(torch.randn(data_dim, hidden) * 0.1) if position else None
        between = check_dropout(dropout) if depth > 1 else 0.0
        self.recurrence = CELLS[cell](inputs, hidden, depth, batch_first=True, dropout=between)
        self.initial = nn.Parameter(torch.zeros(2 if cell == "lstm" else 1, depth, 1, hidden))
        self.dropout = nn.Dropout(check_dropout(dropout))
        self.read = nn.Linear(hidden, outputs)
        self.output_bias = nn.Parameter(torch.zeros(data_dim, outputs)) if position else None
        self.reorder(ordering)

    def reorder(self, ordering: Ordering) -> None:
        """Take another order of steps; what was learned of a place stays with the place."""
        super().reorder(ordering)
        data_dim, device = len(ordering), self.initial.device
        around = causal_places(ordering, self.neighbours, *self.size, strict=True)
        before = torch.tensor([data_dim, *ordering.sequence[:-1]])
        # seen[t]: the pixels that step t reads; D stands for none and reads zeros.
        seen = torch.cat((before[:, None], around[list(ordering.sequence)]), 1)
        self.register_buffer("sequence", torch.tensor(ordering.sequence, device=device), persistent=False)
        self.register_buffer("rank", torch.tensor(ordering.rank, device=device), persistent=False)
        self.register_buffer("seen", seen.to(device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D, P)."""
        rows = x.reshape(-1, x.shape[-1])
        pixels = nn.functional.pad(pixel_features(rows, self.scale).to(self.initial.dtype), (0, 0, 0, 1))
        y, _ = self.steps(pixels, slice(None), self.start(len(rows)))
        return y[:, self.rank].view(*x.shape, self.outputs)

    def start(self, rows: int) -> tuple[Tensor, ...]:
        """The initial state of so many rows: one tensor (depth, rows, hidden), two for the LSTM."""
        return tuple(part.expand(-1, rows, -1).contiguous() for part in self.initial)

    def steps(self, pixels: Tensor, which: slice, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Some steps on from a state: pixels (N, D + 1, 2), the last zero -> parameters (N, B, P), and the state."""
        seen, places = self.seen[which], self.sequence[which]
        inputs = pixels.index_select(1, seen.flatten()).view(len(pixels), len(seen), -1)
        if self.place is not None:
            inputs = torch.cat((inputs, self.place[places].expand(len(pixels), -1, -1)), -1)
        h, new = self.recurrence(inputs, state if self.cell == "lstm" else state[0])
        y = self.read(self.dropout(h))
        if self.output_bias is not None:
            y = y + self.output_bias[places]
        return y, new if self.cell == "lstm" else (new,)

    def cache(self, rows: int) -> Cache:
        """The recurrent state."""
        return RecurrentCache(self, rows)

    def footprint(self) -> int:
        """Inputs and the gates of all steps."""
        return len(self.ordering) * (self.recurrence.input_size + 5 * self.hidden + self.outputs)


class RecurrentCache(Cache):
    """The state after the final steps, that after the steps last asked for, and the pixels so far."""

    @torch.no_grad()
    def __init__(self, net: PixelRNNNet, rows: int) -> None:
        super().__init__(net.ordering)
        self.net = net
        self.state["pixels"] = net.initial.new_zeros(rows, len(net.ordering) + 1, 2)
        self._store("now", net.start(rows))

    def _store(self, name: str, state: tuple[Tensor, ...]) -> None:
        """A recurrent state with its rows first."""
        for number, part in enumerate(state):
            self.state[f"{name}{number}"] = part.transpose(0, 1)

    def _stored(self, name: str) -> tuple[Tensor, ...]:
        return tuple(self.state[f"{name}{n}"].transpose(0, 1).contiguous() for n in range(len(self.net.initial)))

    def parameters(self, values: Tensor) -> Tensor:
        """(rows, B) -> (rows, B, P)."""
        steps = slice(self.step, self.step + values.shape[1])
        if values.shape[1] > 1:
            self._write(values[:, :-1])
        y, after = self.net.steps(self.state["pixels"], steps, self._stored("now"))
        self._store("after", after)
        return y

    def _write(self, values: Tensor) -> None:
        places = self.net.sequence[self.step : self.step + values.shape[1]]
        features = pixel_features(values, self.net.scale).to(self.state["pixels"])
        self.state["pixels"].index_copy_(1, places, features)

    def commit(self, values: Tensor) -> None:
        """Remember the pixels, and go on from the state after them."""
        self._write(values)
        for number in range(len(self.net.initial)):
            self.state[f"now{number}"] = self.state[f"after{number}"]
        self.step += values.shape[1]
