"""The noise of a pass, drawn image by image for many temperatures at once and keyed by the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..randomness import keyed_seed

# Moves whose noise is drawn from one key. A pass can be continued at any multiple of it.
STRETCH = 32
# A step is as long as tuned, times a uniform factor between 1 - JITTER and 1 + JITTER: no orbit is followed for ever.
JITTER = 0.2


@dataclass(frozen=True)
class Noise:
    """What S successive moves of K chains of N images draw.

    Attributes:
        momentum: (S, K, N, L), standard normal.
        log_uniform: (S, K, N), for the Metropolis test.
        jitter: (S, K, N), factors of the step size.
    """

    momentum: Tensor
    log_uniform: Tensor
    jitter: Tensor


def draw_noise(key: tuple, index: Sequence[int], stretch: int, shape: tuple[int, int], like: Tensor) -> Noise:
    """The noise of one stretch of moves. An image's noise depends on (key, image index, stretch) and nothing else.

    It is drawn on the CPU in float64, whatever the device and precision of the pass.

    Args:
        key: what the pass is called: seed, estimator, group of chains.
        index: N image indices.
        stretch: number of the stretch, from 0.
        shape: (K, L).
        like: a tensor of the wanted precision and device.
    """
    chains, length = shape
    momenta, uniforms = [], []
    for image in index:
        generator = torch.Generator().manual_seed(keyed_seed(*key, int(image), "stretch", stretch))
        momenta.append(torch.randn(STRETCH, chains, length, generator=generator, dtype=torch.float64))
        uniforms.append(torch.rand(STRETCH, 2, chains, generator=generator, dtype=torch.float64))
    momentum, uniform = torch.stack(momenta, 2), torch.stack(uniforms, 3)
    return Noise(
        momentum.to(like), uniform[:, 0].log().to(like), (1 + JITTER * (2 * uniform[:, 1] - 1)).to(like)
    )
