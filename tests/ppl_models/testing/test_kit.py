"""The kit passes what is sound, and names what is broken on purpose by the check that is for it."""

from __future__ import annotations

from pathlib import Path

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal, Guide
from ppl_models.programs import MADE, VAE, IndependentPixels, LinearVAE, PixelVAE
from ppl_models.testing import ConformanceError, check_distribution, check_guide, check_program
from ppl_models.testing.__main__ import main

X = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 1], [1, 1, 1, 1, 0, 0]])
X = X.float()


class Sound(Guide):
    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__(data_dim, latent_dim)
        self.net = nn.Linear(data_dim, 2 * latent_dim)

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        loc, raw = self.net(x).chunk(2, -1)
        return dist.Normal(loc, raw.exp()).to_event(1)


class Detached(Sound):
    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        loc, raw = self.net(x).chunk(2, -1)
        return dist.Normal(loc.detach(), raw.detach().exp()).to_event(1)


class Unused(Sound):
    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__(data_dim, latent_dim)
        self.forgotten = nn.Parameter(torch.zeros(3))


class NoEvent(Sound):
    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        loc, raw = self.net(x).chunk(2, -1)
        return dist.Normal(loc, raw.exp())


class Crowd(Sound):
    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return super().posterior(x - x.mean(0))


class Discrete(Sound):
    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=self.net(x)[..., : self.latent_dim]).to_event(1)


class Wide(dist.Normal):
    """Draws twice as wide as it says."""

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        value = super().rsample(sample_shape)
        return self.loc + 2 * (value - self.loc)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            return self.rsample(sample_shape)


class Liar(Sound):
    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        loc, raw = self.net(x).chunk(2, -1)
        return Wide(loc, raw.exp()).to_event(1)


BROKEN = {
    Detached: "gradients",
    Unused: "gradients",
    NoEvent: "latent sites",
    Crowd: "images on their own",
    Discrete: "support",
    Liar: "draws fit log_prob",
}


@pytest.mark.parametrize("kind", [Sound, DiagonalNormal])
def test_a_sound_guide_passes(kind: type[Guide]) -> None:
    report = check_guide(kind(6, 2), VAE(6, 2, (8,)), X)
    assert report.ok
    assert report["bound below exact evidence"].outcome == "passed"


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_guide_is_caught_by_the_check_that_is_for_it(kind: type[Guide]) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_guide(kind(6, 2), VAE(6, 2, (8,)), X)
    assert BROKEN[kind] in [check.name for check in caught.value.report.failed]
    assert all(check.sentence for check in caught.value.report.failed)


@pytest.mark.parametrize(
    "program", [VAE(6, 2, (8,)), MADE(6, (8,)), LinearVAE(6, 2), IndependentPixels(6)], ids=lambda p: type(p).__name__
)
def test_a_sound_program_passes(program: nn.Module) -> None:
    assert check_program(program).ok


class Heavy(MADE):
    def log_prob(self, x: Tensor) -> Tensor:
        return super().log_prob(x) + 0.1


class Forgetful(VAE):
    def __init__(self, data_dim: int, latent_dim: int = 2) -> None:
        super().__init__(data_dim, latent_dim, (8,))
        self.offset = torch.randn(data_dim)

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=self.decoder(z) + self.offset).to_event(1)


class OnlyTwo(VAE):
    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        return super().likelihood(z.reshape(-1, z.shape[-1]))


class Lenient(VAE):
    def check(self, x: Tensor) -> None:
        """Anything goes."""


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (Heavy(6, (8,)), "parts and call agree"),
        (Forgetful(6), "saved state"),
        (OnlyTwo(6, 2, (8,)), "leading dimensions"),
        (Lenient(6, 2, (8,)), "bad images"),
    ],
)
def test_a_broken_program_is_caught_by_the_check_that_is_for_it(program: nn.Module, name: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_program(program)
    assert name in [check.name for check in caught.value.report.failed]


def test_distributions() -> None:
    assert check_distribution(dist.Normal(torch.zeros(2, 3), 1.0).to_event(1)).ok
    hybrid = PixelVAE(6, 2, (5,), channels=4, depth=1, shape=(1, 2, 3))
    with torch.no_grad():
        assert check_distribution(hybrid.likelihood(torch.randn(2, 2))).ok
    with pytest.raises(ConformanceError, match="draws fit log_prob"):
        check_distribution(Wide(torch.zeros(2), torch.ones(2)).to_event(1))
    with pytest.raises(InvalidInput, match="Pyro"):
        check_distribution(torch.distributions.Normal(0.0, 1.0))


GUIDE_FILE = """
import pyro.distributions as dist
from torch import nn
from ppl_models.guides import Guide

class Mine(Guide):
    def __init__(self, data_dim, latent_dim, wrong=False):
        super().__init__(data_dim, latent_dim)
        self.wrong, self.net = wrong, nn.Linear(data_dim, latent_dim)

    def posterior(self, x):
        mean = self.net(x)
        return dist.Normal(mean, 1.0) if self.wrong else dist.Normal(mean, 0.5).to_event(1)

class NoGuide:
    pass
"""


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "my_own_guide.py"
    file.write_text(GUIDE_FILE)
    assert main([f"{file}:Mine"]) == 0
    assert "bound below exact evidence" in capsys.readouterr().out
    assert main([f"{file}:Mine", "--guide.wrong", "True"]) == 1
    assert "✗ latent sites" in capsys.readouterr().out
    for spec, word in ((f"{file}:Other", "no class"), (f"{file}:NoGuide", "no guide"), ("nowhere.py:G", "no file")):
        assert main([spec]) == 2
        printed = capsys.readouterr()
        assert word in printed.err
        assert "Traceback" not in printed.err
    assert main(["DiagonalNormal", "--guide.hiden", "[4]"]) == 2
    assert "hidden" in capsys.readouterr().err
