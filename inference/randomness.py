"""Noise that depends on a key and nothing else.

The stochastic estimate of an image must not change with what else is in the batch: its noise is keyed by (seed, image
index).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch


def keyed_seed(*key: object) -> int:
    """A 63-bit seed from any key, the same on every machine."""
    digest = blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def keyed_noise(*key: object, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, torch's generators are seeded by the key; afterwards they are as they were."""
    device = torch.device(device)
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        # torch.manual_seed seeds the same generators and, per call, queues a formatted traceback for every kind of
        # device that is not there: milliseconds per image, and memory that is never given back.
        torch.default_generator.manual_seed(keyed_seed(*key))
        for number in devices:
            torch.cuda.default_generators[number].manual_seed(keyed_seed(*key))
        yield
