"""Running a guide a second time: with the same noise, the values it drew, and its weights held fixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside, what is computed from these parameters carries no gradient to them."""
    held = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


class Noise:
    """The state of torch's generators when it was made.

    Args:
        device: where the noise is drawn, besides the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the generators repeat what they drew from then on; afterwards they are as they were."""
        devices = [] if self.cuda is None else [self.device.index or 0]
        with torch.random.fork_rng(devices=devices):
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda, self.device)
            yield


class Substitute(Messenger):
    """Draws at every site as the code inside does, and then puts other values in their place.

    ``poutine.replay`` would not draw, and what the code draws after a site (a mask of dropout, say) would be other
    noise than in the run that is repeated.

    Args:
        values: by site.
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_post_sample(self, msg: dict) -> None:
        if msg["name"] in self.values:
            msg["value"] = self.values[msg["name"]]
