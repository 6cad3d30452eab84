"""A causal transformer over pixels: each conditional attends to the pixels generated before (Parmar et al. 2018,
1802.05751; Chen et al. 2020, Generative Pretraining from Pixels)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InvalidInput
from ..ordering import Ordering
from .autoregressive import AutoregressiveNet, Cache
from .mlp import check_dropout
from .pixel_cnn import pixel_features, pixel_memory, remember
from .taps import TapConv, causal_places, window


class AttentionBlock(nn.Module):
    """Causal attention and a perceptron, each on normalized input and added to it (pre-norm)."""

    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.project, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(approximate="tanh"), nn.Linear(expansion * width, width)
        )
        self.dropout = nn.Dropout(check_dropout(dropout))

    def heads_of(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (N, heads, T, width / heads) each."""
        split = self.project(self.norms[0](h)).unflatten(-1, (3, self.heads, -1))
        return (
            split[..., 0, :, :].transpose(1, 2),
            split[..., 1, :, :].transpose(1, 2),
            split[..., 2, :, :].transpose(1, 2),
        )

    def finish(self, h: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended (N, heads, T, width / heads), then the perceptron."""
        h = h + self.dropout(self.mix(attended.transpose(1, 2).flatten(-2)))
        return h + self.dropout(self.perceptron(self.norms[1](h)))


class PixelTransformerNet(AutoregressiveNet):
    """(N, D) -> (N, D, P). Token t stands for conditional t and knows its place, the pixel generated just before, and
    the earlier pixels in a window around its place; attention goes to tokens up to t.

    Args:
        ordering: the order of generation.
        shape: (C, H, W); a window needs C = 1.
        width: of the features.
        depth: number of blocks.
        heads: of the attention; a divisor of ``width``.
        expansion: of the perceptron inside a block.
        kernel: width of the window around a place whose earlier pixels a token sees directly; 0 for none, which leaves
            all of the past but the last pixel to attention.
        outputs: P.
        dropout: of what each half block adds.
        scale: factor on the pixel values.
        context: size of a context vector per place, for a conditioned net; 0 for none.

    Raises:
        InvalidInput: for a width that the heads do not divide, counts below 1, or an even window.
    """

    def __init__(
        self,
        ordering: Ordering,
        shape: Sequence[int],
        width: int = 64,
        depth: int = 3,
        heads: int = 4,
        expansion: int = 4,
        kernel: int = 3,
        outputs: int = 1,
        dropout: float = 0.0,
        scale: float = 1.0,
        context: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("depth", depth), ("heads", heads), ("expansion", expansion)):
            if value < 1:
                raise InvalidInput(name, value, "must be at least 1", "give a count")
        if width % heads:
            raise InvalidInput("heads", heads, f"do not divide a width of {width}", "give a divisor")
        data_dim = len(ordering)
        self.width, self.outputs, self.scale = width, outputs, scale
        self.size = (shape[0] * shape[1], shape[2])
        if kernel and shape[0] != 1:
            raise InvalidInput("kernel", kernel, "a window is over images of one channel", "write 0 for none")
        self.window = TapConv(2, width, window(kernel, least=3), *self.size) if kernel else None
        self.value = nn.Linear(2, width, bias=False)
        self.place = nn.Parameter(torch.randn(data_dim, width) * 0.02)
        self.context = nn.Linear(context, width, bias=False) if context else None
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, expansion, dropout) for _ in range(depth))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))
        self.output_bias = nn.Parameter(torch.zeros(data_dim, outputs))
        self.reorder(ordering)

    def reorder(self, ordering: Ordering) -> None:
        """Take another order of tokens; what was learned of a place stays with the place."""
        super().reorder(ordering)
        device = self.place.device
        self.register_buffer("sequence", torch.tensor(ordering.sequence, device=device), persistent=False)
        self.register_buffer("rank", torch.tensor(ordering.rank, device=device), persistent=False)
        if self.window is not None:
            self.window.take(causal_places(ordering, self.window.taps, *self.size, strict=True))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(..., D), context (..., D, E) by pixel -> (..., D, P)."""
        features = pixel_features(x.reshape(-1, x.shape[-1]), self.scale).to(self.place.dtype)
        before = functional.pad(features[:, self.sequence[:-1]], (0, 0, 1, 0))
        near = None if self.window is None else self.window(features)[:, self.sequence]
        context = None if context is None else context.reshape(-1, *context.shape[-2:])[:, self.sequence]
        h = self.embed(before, near, self.place[self.sequence], context)
        for block in self.blocks:
            query, key, value = block.heads_of(h)
            h = block.finish(h, functional.scaled_dot_product_attention(query, key, value, is_causal=True))
        y = self.head(h) + self.output_bias[self.sequence]
        return y[:, self.rank].view(*x.shape, self.outputs)

    def embed(self, before: Tensor, near: Tensor | None, place: Tensor, context: Tensor | None) -> Tensor:
        """Tokens (N, B, width), given the places' learned vectors and the features (N, B, 2) of the pixels before."""
        h = place + self.value(before)
        if near is not None:
            h = h + near
        return h if self.context is None else h + self.context(context)

    def cache(self, rows: int, context: Tensor | None = None) -> Cache:
        """Keys and values of every block; context (rows, D, E)."""
        return TransformerCache(self, rows, context)

    def footprint(self) -> int:
        """Queries, keys, values and the perceptron's inner layer stand beside each other; attention is fused."""
        return len(self.ordering) * (12 * self.width + self.outputs)


class TransformerCache(Cache):
    """Keys and values of every block, and the pixels so far, all in the order of generation.

    Attention of a few queries to many keys is written out: the fused kernel is made for as many queries as keys, and
    for one query took half of all time.
    """

    @torch.no_grad()
    def __init__(self, net: PixelTransformerNet, rows: int, context: Tensor | None = None) -> None:
        super().__init__(net.ordering)
        self.net, like, data_dim = net, net.place, len(net.ordering)
        self.window = None if net.window is None else net.window.reader(net.ordering)
        for number, block in enumerate(net.blocks):
            size = net.width // block.heads
            # Keys lie (rows, heads, size, D), so that the first of them are one matrix without a copy.
            self.state[f"key{number}"] = like.new_zeros(rows, block.heads, size, data_dim)
            self.state[f"value{number}"] = like.new_zeros(rows, block.heads, data_dim, size)
        self.state["pixels"] = pixel_memory(like, rows, data_dim)
        self.place, self.bias = net.place[net.sequence], net.output_bias[net.sequence]
        # The first token has no pixel before it and reads zero, as the entry at the end does.
        self.before = [data_dim, *range(data_dim - 1)]
        if context is not None:
            self.state["context"] = context

    def parameters(self, values: Tensor) -> Tensor:
        """(rows, B) -> (rows, B, P)."""
        net, start, stop = self.net, self.step, self.step + values.shape[1]
        pixels = self.state["pixels"]
        if stop - start > 1:
            remember(pixels, start, values[:, :-1], net.scale)
        before = pixels[:, start - 1 : stop - 1] if start else pixels[:, self.before[:stop]]
        near = None if self.window is None else self.window(pixels, start, stop)
        context = self.state["context"][:, net.sequence[start:stop]] if "context" in self.state else None
        h = net.embed(before, near, self.place[start:stop], context)
        for number, block in enumerate(net.blocks):
            h = block.finish(h, self._attend(number, *block.heads_of(h)))
        return net.head(h) + self.bias[start:stop]

    def _attend(self, number: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of B queries (rows, heads, B, size) to all keys up to their own."""
        start, stop = self.step, self.step + query.shape[2]
        keys, values = self.state[f"key{number}"], self.state[f"value{number}"]
        keys[..., start:stop], values[:, :, start:stop] = key.transpose(2, 3), value
        # As batches of plain matrices: for one query the general product spends longer on shapes than on numbers.
        keys, values = keys.flatten(0, 1)[..., :stop], values.flatten(0, 1)[:, :stop]
        empty = query.new_empty(())
        scores = torch.baddbmm(empty, query.flatten(0, 1), keys, beta=0, alpha=query.shape[-1] ** -0.5)
        if stop - start > 1:
            later = torch.ones(stop - start, stop, dtype=torch.bool, device=scores.device).triu(start + 1)
            scores = scores.masked_fill(later, -torch.inf)
        return torch.bmm(torch.softmax(scores, -1), values).view(query.shape)

    def commit(self, values: Tensor) -> None:
        """Remember the pixels; their keys and values were stored when they were computed."""
        remember(self.state["pixels"], self.step, values, self.net.scale)
        self.step += values.shape[1]
