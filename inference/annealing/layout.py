"""Where images sit while they are annealed: every image at a place that depends on its index alone.

Matrix products round differently for another number of rows, and for the same row at another place. A Metropolis test
turns a difference in the last digit into another chain. So blocks always have the same shape, and an image its own
place in it: what else is in the batch cannot change a bit of its value. Places without an image repeat one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """Images that are annealed together.

    Attributes:
        position: for each of the B places, which image of the batch sits there; repeated where there is none.
        index: for each place, the image's index in its split, the key of its noise.
        filled: places with an image of their own.
    """

    position: tuple[int, ...]
    index: tuple[int, ...]
    filled: tuple[int, ...]

    def gather(self, batch: Tensor) -> Tensor:
        """(N, ...) -> (B, ...)."""
        return batch[torch.tensor(self.position, device=batch.device)]


def blocks_of(index: Sequence[int], places: int) -> list[Block]:
    """The fewest blocks that hold every image at place (index mod B); successive indices fill them without gaps.

    Args:
        index: N image indices.
        places: B.
    """
    columns: list[list[int]] = [[] for _ in range(places)]
    for position, image in enumerate(index):
        columns[int(image) % places].append(position)
    blocks = []
    for row in range(max(len(column) for column in columns)):
        here = [column[row] if row < len(column) else None for column in columns]
        filled = tuple(place for place, position in enumerate(here) if position is not None)
        position = tuple(here[filled[0]] if found is None else found for found in here)
        blocks.append(Block(position, tuple(int(index[p]) for p in position), filled))
    return blocks
