"""Every check of a guide fails on a guide with the fault that it is for, and on none of them alone does it pass."""

from __future__ import annotations

import random
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from ppl_models import InvalidInput
from ppl_models.guides import Guide, GuideProgram
from ppl_models.program import GenerativeProgram
from ppl_models.programs import VAE
from ppl_models.testing import ConformanceError, check_guide
from ppl_models.testing.guide import STEPS

X = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 1], [1, 1, 1, 1, 0, 0]])
X = X.float()
NUMBERS = random.SystemRandom()  # of which torch's seed knows nothing


class Sound(Guide):
    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__(data_dim, latent_dim)
        self.net = nn.Linear(data_dim, 2 * latent_dim)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, raw = self.net(x).chunk(2, -1)
        return loc, raw.exp()

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return self.family(*self.parts(x)).to_event(1)

    family: type[dist.Normal] = dist.Normal


class Choosy(Sound):
    def bind(self, program: GenerativeProgram) -> None:
        raise InvalidInput("guide", "Choosy", "wants another program", "give another")


class Extra(Sound):
    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        pyro.sample("w", dist.Normal(0.0, 1.0))
        return super().forward(x)


class Observing(Sound):
    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        with pyro.plate("image", len(x)):
            pyro.sample("seen", dist.Normal(0.0, 1.0), obs=torch.zeros(len(x)))
            return pyro.sample("z", self.posterior(x))


class Plateless(Sound):
    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        return pyro.sample("z", self.posterior(x).to_event(1))


class Longer(Sound):
    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        loc, scale = self.parts(x)
        return dist.Normal(torch.cat([loc, loc], -1), torch.cat([scale, scale], -1)).to_event(1)


class Torchs(Sound):
    def posterior(self, x: Tensor) -> Any:
        return torch.distributions.Independent(torch.distributions.Normal(*self.parts(x)), 1)


class Discrete(Sound):
    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=self.parts(x)[0]).to_event(1)


class Point(Sound):
    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Delta(self.parts(x)[0]).to_event(1)


class Endless(Sound):
    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        loc, scale = self.parts(x)
        return dist.Normal(loc, 3e38 * scale / scale.detach()).to_event(1)


class Shared(dist.Normal):
    """The same noise for all particles."""

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        return self.loc + self.scale * torch.randn(shape[-2:]).to(self.loc).expand(shape)


class Sharing(Sound):
    family = Shared


class Wide(dist.Normal):
    """Draws wider than it says."""

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return self.loc + 1.2 * (super().rsample(sample_shape) - self.loc)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            return self.rsample(sample_shape)


class Liar(Sound):
    family = Wide


class Unused(Sound):
    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__(data_dim, latent_dim)
        self.forgotten = nn.Parameter(torch.zeros(3))


class Detached(Sound):
    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = super().parts(x)
        return loc.detach(), scale.detach()


class Cut(dist.Normal):
    """Draws without gradient."""

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return super().rsample(sample_shape).detach()


class CutOff(Sound):
    family = Cut


class Turned(dist.Normal):
    """Draws whose gradient with the scale has the wrong sign."""

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        noise = super().rsample(sample_shape) - self.loc
        return self.loc - noise + 2 * noise.detach()


class WrongWay(Sound):
    family = Turned


class Placed(Sound):
    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = super().parts(x)
        return loc + torch.arange(len(x)).to(x)[:, None], scale


class Crowd(Sound):
    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().parts(x - x.mean(0))


class Forgetful(Sound):
    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__(data_dim, latent_dim)
        self.offset = torch.randn(latent_dim)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = super().parts(x)
        return loc + self.offset.to(loc), scale


class Alias(Sound):
    def __deepcopy__(self, memo: dict) -> Alias:
        return self


class NoCopy(Sound):
    def __deepcopy__(self, memo: dict) -> Alias:
        raise TypeError("no copies")


class Single(Sound):
    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = super().parts(x)
        return loc.float(), scale.float()


class Own(dist.Normal):
    """Noise from elsewhere."""

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        with torch.random.fork_rng():
            torch.manual_seed(NUMBERS.randrange(2**31))
            return super().rsample(sample_shape)


class Unseeded(Sound):
    family = Own


class Stored(Sound):
    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        loc, scale = self.parts(x)
        return dist.Normal(loc + pyro.param("stored", torch.zeros(1)).to(loc), scale).to_event(1)


class Owner(Sound):
    def bind(self, program: GenerativeProgram) -> None:
        super().bind(program)
        self.kept = program


class Low(dist.Normal):
    """Less density than its draws have: a bound by it is above the truth."""

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) - 0.4


class Boaster(Sound):
    family = Low


class Claims(Sound):
    expresses = "normal"


class Misspelt(Sound):
    expresses = "gaussian"


# check -> guides with the fault, and a word of the sentence that is for them
FAULTS: dict[str, list[tuple[type[GuideProgram], str]]] = {
    "pairing": [(Choosy, "wants another program")],
    "latent sites": [
        (Extra, "adds ['w']"),
        (Observing, "observes"),
        (Plateless, "plate"),
        (Torchs, "no Pyro distribution"),
    ],
    "shapes": [(Longer, "event shape (4,)")],
    "support": [(Discrete, "discrete"), (Point, "a point mass")],
    "finite numbers": [(Endless, "NaN or infinite")],
    "leading dimensions": [(Sharing, "one draw repeated")],
    "draws fit log_prob": [(Liar, "")],
    "gradients": [(Unused, "forgotten"), (Detached, "net")],
    "reparameterization": [(CutOff, "is missing"), (WrongWay, "is not that of log_prob")],
    "images in any order": [(Placed, "another order")],
    "images on their own": [(Crowd, "the rest of its batch")],
    "saved state": [(Forgetful, "register_buffer")],
    "deep copy": [(Alias, "changes the original"), (NoCopy, "no copies")],
    "float64": [(Single, "float32")],
    "one seed, one draw": [(Unseeded, "torch's generator")],
    "parameter store": [(Stored, "stored")],
    "program kept apart": [(Owner, "kept")],
    "bound below exact evidence": [(Boaster, "above the exact log p(x)")],
    "exact where it can be": [(Claims, "it claims to express normal"), (Misspelt, "'gaussian'")],
}


def test_every_check_has_a_fault() -> None:
    assert set(FAULTS) == {step.name for step in STEPS}


@pytest.mark.parametrize(("name", "kind", "words"), [(n, k, w) for n, faults in FAULTS.items() for k, w in faults])
def test_a_fault_is_found_by_the_check_that_is_for_it(name: str, kind: type[GuideProgram], words: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_guide(kind(6, 2), VAE(6, 2, (8,)), X)
    check = caught.value.report[name]
    assert check.outcome == "failed", caught.value.report
    assert words in check.sentence
    assert "\n" not in check.sentence
    pyro.clear_param_store()


def test_without_a_fault_none_fails() -> None:
    report = check_guide(Sound(6, 2), VAE(6, 2, (8,)), X)
    assert [check.name for check in report.skipped] == ["exact where it can be"]
