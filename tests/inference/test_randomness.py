"""Keyed noise: the same for a key, whatever was drawn before, and nothing outside is moved."""

from __future__ import annotations

import torch

from inference.randomness import keyed_noise, keyed_seed


def test_the_key_decides_the_stream_and_nothing_else_does() -> None:
    torch.rand(7)
    with keyed_noise(3, "elbo", 5):
        found = torch.randn(100)
    assert torch.equal(found, torch.randn(100, generator=torch.Generator().manual_seed(keyed_seed(3, "elbo", 5))))
    with keyed_noise(3, "elbo", 6):
        assert not torch.equal(torch.randn(100), found)


def test_the_generator_outside_stays_where_it_was() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    before = torch.rand(1)
    with keyed_noise(0):
        torch.rand(9)
    assert torch.equal(torch.cat([before, torch.rand(1)]), expected)


def test_nothing_is_queued_for_devices_that_are_not_there() -> None:
    """``torch.manual_seed`` keeps a formatted traceback per call until a device comes, which may be never."""
    queued = len(torch.cuda._queued_calls)
    for number in range(3):
        with keyed_noise(number):
            torch.rand(1)
    assert len(torch.cuda._queued_calls) == queued
