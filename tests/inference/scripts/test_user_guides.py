"""Guides from a user's own file: they train, are evaluated, and fail with a line that names them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from inference import load_run
from inference.user_guides import find_guide, source_of
from ppl_models.errors import InvalidInput
from ppl_models.guides import DiagonalNormal, GuideProgram

IMPORTS = """
import pyro, torch
import pyro.distributions as dist
from torch import nn
from ppl_models.guides import DiagonalNormal, Guide, GuideProgram
"""
# A guide as the documentation tells users to write one.
LAPLACE = """
class Laplace(Guide):
    def __init__(self, data_dim, latent_dim, hidden=(7,), floor: float = 1e-3, levels=2):
        super().__init__(data_dim, latent_dim)
        self.floor = floor
        self.net = nn.Sequential(nn.Linear(data_dim, hidden[0]), nn.Tanh(), nn.Linear(hidden[0], 2 * latent_dim))
    def posterior(self, x):
        loc, raw = self.net(x).chunk(2, -1)
        return dist.Laplace(loc, nn.functional.softplus(raw) + self.floor).to_event(1)
class Other(Laplace):
    pass
"""
FITS = """
class G(Guide):
    def __init__(self, data_dim, latent_dim):
        super().__init__(data_dim, latent_dim)
        self.net = nn.Linear(data_dim, latent_dim + {more})
    def posterior(self, x):
        {posterior}
"""


def fits(posterior: str, more: int = 0) -> str:
    return FITS.format(posterior=posterior, more=more)


@pytest.fixture
def written(tmp_path):
    """``written(code)``: a file of that code, of a name that no other test imports."""

    def write(code: str, name: str = "guide_of_a_user.py") -> Path:
        folder = tmp_path / "elsewhere"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(IMPORTS + code)
        return folder / name

    yield write
    sys.modules.pop("guide_of_a_user", None)


BROKEN = {
    "no class": ("class H(Guide): pass", ["has no class G", "H"]),
    "nothing": ("", ["has no class G", "known: DiagonalNormal"]),
    "no guide": ("class G: pass", ["G is no guide", "subclass"]),
    "a value": ("G = 3", ["G is no guide", "subclass"]),
    "syntax": ("def (:", ["cannot be imported", "SyntaxError", "line 6"]),
    "import": ("import nowhere.at_all", ["cannot be imported", "nowhere"]),
    "fails on import": ("1 / 0", ["cannot be imported", "ZeroDivisionError", "guide_of_a_user.py:6"]),
    "abstract": ("class G(Guide): pass", ["'G'", "abstract", "posterior"]),
    "constructor": ("class G(DiagonalNormal):\n def __init__(self): super().__init__(6, 2)", ["'G'", "TypeError"]),
    "needs an option": (
        "class G(DiagonalNormal):\n def __init__(self, data_dim, latent_dim, width): super().__init__(6, 2)",
        ["--guide.width", "no default"],
    ),
    "event shape ()": (fits("return dist.Normal(self.net(x), 1.)"), ["guide G", "event shape", "to_event(1)"]),
    "another latent_dim": (fits("return dist.Normal(self.net(x), 1.).to_event(1)", 1), ["guide G", "event shape (3,)"]),
    "no distribution": (fits("return self.net(x)"), ["guide G", "posterior(x)"]),
    "nan": (fits("return dist.Normal(self.net(x) / 0 * 0, 1.).to_event(1)"), ["'G'"]),
    "a typo": (fits("return self.nte(x)"), ["'G'", "AttributeError", "nte", "guide_of_a_user.py:12"]),
    "adds a site": (
        "class G(DiagonalNormal):\n def forward(self, x=None, *, size=1):\n"
        "  pyro.sample('w', dist.Normal(0., 1.))\n  return super().forward(x)",
        ["guide", "adds ['w']"],
    ),
    "a parameter that is not used": (
        "class G(DiagonalNormal):\n def __init__(self, data_dim, latent_dim):\n"
        "  super().__init__(data_dim, latent_dim)\n  self.forgotten = nn.Parameter(torch.zeros(3))",
        ["guide 'G'", "no gradient reaches its parameters forgotten", "requires_grad_(False)"],
    ),
    # It would stay where it starts, and no checkpoint would hold it.
    "a parameter in Pyro's store": (
        fits("return dist.Normal(self.net(x) + pyro.param('shift', torch.ones(2)), 1.).to_event(1)"),
        ["guide 'G'", "parameters shift in Pyro's parameter store", "nn.Parameter on self"],
    ),
    "detached parameters": (
        fits("return dist.Normal(self.net(x).detach(), 1.).to_event(1)"),
        ["guide 'G'", "no gradient reaches its parameters net.bias, net.weight", "without detach"],
    ),
    # The density hangs on the net and the draws do not: trained so, it would not move in the mean.
    "detached draws": (
        "class Cut(dist.Normal):\n def rsample(self, shape=torch.Size()): return super().rsample(shape).detach()\n"
        + fits("return Cut(self.net(x), 1.).to_event(1)"),
        ["guide 'G'", "draws of site 'z' carry no gradient to net.bias, net.weight", "has_rsample = False"],
    ),
    "half of the draws detached": (
        "class Cut(dist.Normal):\n"
        " def rsample(self, shape=torch.Size()): return self.loc + (super().rsample(shape) - self.loc).detach()\n"
        + fits("return Cut(self.net(x), self.log_scale.exp()).to_event(1)").replace(
            "    def posterior", "        self.log_scale = nn.Parameter(torch.zeros(2))\n    def posterior"
        ),
        ["guide 'G'", "draws of site 'z' carry no gradient to log_scale,"],
    ),
    "misses a site": (
        "class G(GuideProgram):\n def __init__(self, data_dim, latent_dim):\n  super().__init__()\n"
        " def forward(self, x=None, *, size=1): return x",
        ["guide", "misses latents ['z']"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_guide_is_named_before_training(
    name, written, expect_refused, untouched, recipes, settings, tmp_path
) -> None:
    code, words = BROKEN[name]
    arguments = [*recipes["vae"], *settings, "--guide", f"{written(code)}:G", "--out", tmp_path / "out"]
    with untouched(tmp_path / "out"):
        expect_refused("train", arguments, *words)
    assert "guide_of_a_user" not in sys.modules or "import" not in name


SCORED = (
    "class Scored(dist.Normal):\n has_rsample = False\n" + fits("return Scored(self.net(x), 1.).to_event(1)")
)  # a sound guide that is trained by the score function


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("iwae --objective.gradient stl", ["--objective.gradient 'stl'", "use standard"]),
        ("iwae --objective.gradient dreg", ["--objective.gradient 'dreg'", "use standard"]),
        ("elbo --objective.kl analytic", ["--objective.kl 'analytic'", "use sampled"]),
        ("mmd", ["--objective 'mmd'"]),
    ],
)
def test_a_guide_without_reparameterization_is_refused_where_it_is_needed(
    objective, words, written, call, expect_refused, untouched, recipes, settings, tmp_path
) -> None:
    arguments = [*recipes["vae"], *settings, "--guide", f"{written(SCORED)}:G", "--out", tmp_path / "out"]
    with untouched(tmp_path / "out"):
        line = expect_refused("train", [*arguments, "--objective", *objective.split()], *words)
    assert "reparameterized" in line
    call("train", *arguments, "--objective", "elbo")
    assert (tmp_path / "out" / "checkpoint.pt").is_file()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("gone.py:G", ["there is no file gone.py", "FILE.py:CLASS"]),
        ("gone.py", ["FILE.py:CLASS"]),
        ("gone.py:", ["FILE.py:CLASS"]),
        (":G", ["FILE.py:CLASS"]),
        ("nowhere.at_all:G", ["cannot be imported", "nowhere"]),
        ("math:G", ["math has no class G"]),
        ("DiagnolNormal", ["did you mean DiagonalNormal"]),
        ("ppl_models.guides:DiagonalNorml", ["did you mean DiagonalNormal"]),
        (".:G", ["--guide", "'.:G'"]),
    ],
)
def test_a_guide_that_is_not_there(spec, words, expect_refused, untouched, recipes, settings, tmp_path) -> None:
    with untouched(tmp_path):
        expect_refused(
            "train", [*recipes["vae"], *settings, "--guide", spec, "--out", tmp_path / "x"], "--guide", *words
        )


@pytest.mark.parametrize("recipe", ["made", "autoencoder", "independent_pixels"])
def test_a_guide_where_there_are_no_latents(recipe, expect_refused, untouched, recipes, settings, tmp_path) -> None:
    arguments = [*recipes[recipe], *settings, "--guide", "DiagonalNormal", "--out", tmp_path / "x"]
    with untouched(tmp_path):
        expect_refused("train", arguments, "--guide", "'DiagonalNormal'", "no latents", "leave it out")


def test_a_guide_of_ones_own_from_end_to_end(
    written, call, expect_refused, untouched, recipes, settings, tmp_path
) -> None:
    path, run = written(LAPLACE), tmp_path / "run"
    spec = f"{path}:Laplace"
    start = [*recipes["vae"], *settings, "--guide", spec, "--guide.hidden", "[5]", "--guide.floor", 0.01, "--out", run]
    call("train", *start)
    config = json.loads((run / "config.json").read_text())
    assert (config["guide"], config["guide_source"]) == ("Laplace", "guide_of_a_user")
    assert config["guide_arguments"] == {"hidden": [5], "floor": 0.01}
    assert config["num_parameters"]["guide"] == 6 * 5 + 5 + 5 * 4 + 4
    sites = json.loads((run / "structure.json").read_text())["guide"]["sites"]
    assert [(site["name"], site["distribution"]) for site in sites] == [("z", "Laplace")]

    score = [run, "--estimators", "elbo:8", "--quiet"]
    with untouched(run):
        expect_refused("evaluate", score, "--guide", "trained with Laplace from guide_of_a_user", "pass it again")
        expect_refused("evaluate", [*score, "--guide", "DiagonalNormal"], "--guide", "trained with Laplace")
        expect_refused("evaluate", [*score, "--guide", f"{path}:Other"], "--guide", "'Other'", "trained with Laplace")
        expect_refused("train", [*start, "--guide.hidden", "[4]", "--resume"], "another guide_arguments")
    call("evaluate", *score, "--guide", spec)
    found = xr.load_dataset(run / "evidence.nc", engine="h5netcdf")
    assert found.attrs["guide"] == "Laplace"
    assert np.isfinite(found.log_evidence).all()
    call("sample", run, "--num", 3)  # the program alone is sampled: the guide is not needed
    call("train", *start, "--resume")


def test_its_parameters_are_trained(written, call, recipes, settings, tmp_path) -> None:
    spec = f"{written(LAPLACE)}:Laplace"
    states = []
    for epochs in (1, 4):
        call("train", *recipes["vae"], *settings, "--guide", spec, "--epochs", epochs, "--out", tmp_path / str(epochs))
        states.append(torch.load(tmp_path / str(epochs) / "checkpoint.pt", weights_only=True)["last"])
    moved = [key for key in states[0] if key.startswith("guide.") and not torch.equal(states[0][key], states[1][key])]
    assert len(moved) == 4


def test_load_run_takes_the_class_or_an_instance(written, call, recipes, settings, tmp_path) -> None:
    path, run = written(LAPLACE), tmp_path / "run"
    call("train", *recipes["vae"], *settings, "--guide", f"{path}:Laplace", "--out", run)
    with pytest.raises(InvalidInput, match="pass it again"):
        load_run(run)
    kind = find_guide(f"{path}:Laplace")
    by_class, by_instance = load_run(run, kind), load_run(run, kind(6, 2))
    x = torch.zeros(2, 6)
    assert torch.equal(by_class.guide.posterior(x).mean, by_instance.guide.posterior(x).mean)
    assert by_instance.guide.program is by_instance.program
    with pytest.raises(InvalidInput, match="do not fit"):
        load_run(run, kind(6, 2, hidden=(3,)))
    assert load_run(run, program_only=True).guide is None


def test_a_shipped_guide_needs_no_passing(call, recipes, settings, tmp_path) -> None:
    start = [*recipes["vae"], *settings, "--guide", "DiagonalNormal", "--guide.hidden", "[5]"]
    call("train", *start, "--out", tmp_path / "x")
    run = load_run(tmp_path / "x")
    assert run.config["guide_source"] == "shipped"
    assert run.guide.encoder[0].out_features == 5
    assert torch.equal(load_run(tmp_path / "x", DiagonalNormal).guide.encoder[0].weight, run.guide.encoder[0].weight)


def test_a_file_does_not_take_the_place_of_a_module(written) -> None:
    path = written("class G(DiagonalNormal): pass", "json.py")
    assert issubclass(find_guide(f"{path}:G"), GuideProgram)
    assert sys.modules["json"] is json


def test_a_file_may_hold_dataclasses(written) -> None:
    code = "from __future__ import annotations\n" + IMPORTS + "import dataclasses\n@dataclasses.dataclass\nclass A:\n"
    path = written("")
    path.write_text(code + " a: int = 1\nclass G(DiagonalNormal):\n a = A()\n")
    assert find_guide(f"{path}:G").a.a == 1


def test_sources() -> None:
    class Local(DiagonalNormal):
        pass

    assert source_of(DiagonalNormal) == "shipped"
    assert source_of(Local) == __name__
    assert find_guide("DiagonalNormal") is find_guide("ppl_models.guides:DiagonalNormal") is DiagonalNormal
