from __future__ import annotations

import pytest
import torch

from inference.annealing import blocks_of
from inference.annealing.noise import JITTER, STRETCH, draw_noise


@pytest.mark.parametrize("index", [range(10), [7], [3, 11, 4, 3], [8, 0, 16, 24], range(5, 9)])
def test_every_image_has_the_place_of_its_index(index) -> None:
    blocks = blocks_of(index, 4)
    seen = []
    for block in blocks:
        assert len(block.position) == len(block.index) == 4
        for place in block.filled:
            assert block.index[place] % 4 == place
            assert block.index[place] == index[block.position[place]]
            seen.append(block.position[place])
    assert sorted(seen) == list(range(len(index)))
    fullest = max(sum(i % 4 == place for i in index) for place in range(4))
    assert len(blocks) == fullest


def test_a_block_takes_its_images_in_place() -> None:
    (block,) = blocks_of([5, 3], 4)
    assert block.filled == (1, 3)
    assert block.gather(torch.tensor([50.0, 30.0])).tolist() == [50, 50, 50, 30]


def test_noise_depends_on_key_image_and_stretch_alone() -> None:
    like = torch.zeros(())
    together = draw_noise((0, "a"), [3, 7, 9], 2, (5, 4), like)
    alone = draw_noise((0, "a"), [7], 2, (5, 4), like)
    for name in ("momentum", "log_uniform", "jitter"):
        assert torch.equal(getattr(together, name)[:, :, 1], getattr(alone, name)[:, :, 0])
        for key, index, stretch in (((1, "a"), 7, 2), ((0, "b"), 7, 2), ((0, "a"), 8, 2), ((0, "a"), 7, 3)):
            other = draw_noise(key, [index], stretch, (5, 4), like)
            assert not torch.equal(getattr(other, name), getattr(alone, name))


def test_noise_is_what_it_says() -> None:
    """30,720 momenta and as many uniforms; each bound is passed by chance less than once in 10^4."""
    noise = draw_noise((0,), range(48), 0, (20, 1), torch.zeros((), dtype=torch.float64))
    assert noise.momentum.shape == (STRETCH, 20, 48, 1)
    count = noise.log_uniform.numel()
    assert abs(noise.momentum.mean().item()) < 4 / count**0.5
    assert abs(noise.momentum.var().item() - 1) < 4 * (2 / count) ** 0.5
    assert abs(noise.log_uniform.exp().mean().item() - 0.5) < 4 / (12 * count) ** 0.5
    assert abs(noise.jitter.mean().item() - 1) < 4 * JITTER / (3 * count) ** 0.5
    assert noise.jitter.min() >= 1 - JITTER
    assert noise.jitter.max() <= 1 + JITTER
    uniform = noise.log_uniform.exp()
    together = torch.stack([noise.momentum[..., 0].flatten(), uniform.flatten(), noise.jitter.flatten()])
    assert (torch.corrcoef(together) - torch.eye(3)).abs().max() < 4 / count**0.5
