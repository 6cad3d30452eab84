from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest
import torch

from ppl_models import InvalidInput
from ppl_models.autoencoder import NotADensity
from ppl_models.guides import DiagonalNormal
from ppl_models.recipes import RECIPES, build, build_guide

DIGITS = {"data_dim": 64, "levels": 2, "shape": [1, 8, 8]}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("levels", [2, 4])
def test_every_recipe_builds_a_pair_for_the_data(name: str, levels: int) -> None:
    program, guide = build(name, DIGITS | {"levels": levels})
    assert program.data_dim == 64
    assert program.levels == levels
    assert (guide is None) == (program.latents == ())
    if not isinstance(program, NotADensity):
        if guide is not None:
            guide.bind(program)
        assert program(torch.zeros(3, 64)).shape == (3, 64)
        program.check(program(size=2).detach())


def test_what_a_recipe_does_not_have_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="did you mean made"):
        build("mades", DIGITS)
    with pytest.raises(InvalidInput, match="did you mean hidden"):
        build("made", DIGITS, {"hiden": [3]})
    with pytest.raises(InvalidInput, match="no such option"):
        build("made", DIGITS, {"levels": 3})
    with pytest.raises(InvalidInput, match="hidden"):
        build_guide(DiagonalNormal, 3, DIGITS, {"hiddden": [3]})


class Wider(DiagonalNormal):
    """A guide that hands its options on."""

    def __init__(self, data_dim: int, latent_dim: int, extra: int = 1, **options: object) -> None:
        super().__init__(data_dim, latent_dim, **options)
        self.extra = extra


def test_a_guide_that_hands_its_options_on_gets_them_and_the_levels_of_the_data() -> None:
    guide = build_guide(Wider, 3, DIGITS | {"levels": 17}, {"hidden": [5], "extra": 2})
    assert (guide.levels, guide.encoder[0].out_features, guide.extra) == (17, 5, 2)
    with pytest.raises(InvalidInput, match="did you mean hidden"):
        build_guide(Wider, 3, DIGITS, {"hiddden": [5]})


def test_an_error_survives_the_way_back_from_a_worker_process() -> None:
    error = InvalidInput("--x", 3, "too large", "give 2")
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301  these bytes are our own
    assert str(arrived) == str(error) == "--x 3: too large; give 2"


def test_importing_the_package_changes_no_global_state() -> None:
    script = """
import json, sys, warnings
import torch, pyro
from torch.distributions import Distribution
def state():
    return [Distribution._validate_args, str(torch.get_default_dtype()), torch.get_num_threads(),
            torch.is_grad_enabled(), len(warnings.filters), torch.get_rng_state().sum().item(),
            list(pyro.get_param_store().keys())]
before = state()
import ppl_models, ppl_models.recipes
print(json.dumps([before, state()]))
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    before, after = json.loads(output)
    assert before == after
