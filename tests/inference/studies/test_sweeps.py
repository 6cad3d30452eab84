"""Sweeps: what a file asks for, point by point, and what it cannot ask for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inference.data import load_data
from inference.studies.members import Plan, job_of
from inference.studies.sweeps import Sweep, built_in, read_sweeps
from inference.train import prepare
from ppl_models import InvalidInput

TOML = """
[[sweep]]
name = "mine"
recipe = "lossy_vae"
seeds = 1
[sweep.axes]
window = [1, 3]
beta = [0.5, 1.0]
[sweep.fixed]
epochs = 2
"training.schedule" = "cosine"
"objective.schedule" = "linear"
"""


def test_a_file_becomes_a_grid_with_each_option_where_it_belongs(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML)
    (sweep,) = read_sweeps(tmp_path / "a.toml")
    members = sweep.members()
    assert [member.name for member in members] == [
        "sweeps/mine/window-1--beta-0.5", "sweeps/mine/window-1--beta-1.0",
        "sweeps/mine/window-3--beta-0.5", "sweeps/mine/window-3--beta-1.0",
    ]  # fmt: skip
    second = members[1]
    assert second.recipe_arguments == {"window": 1}
    assert second.objective_arguments == {"beta": 1.0, "schedule": "linear"}
    assert second.training == {"epochs": 2, "schedule": "cosine"}
    assert second.folders((5, 6)) == {5: "sweeps/mine/window-1--beta-1.0/seed-5"}
    assert sweep.as_json((5, 6))["points"][1] == {
        "values": {"window": 1, "beta": 1.0}, "runs": ["sweeps/mine/window-1--beta-1.0/seed-5"],
    }  # fmt: skip


def test_json_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML)
    entry = {
        "name": "mine", "recipe": "lossy_vae", "seeds": 1, "axes": {"window": [1, 3], "beta": [0.5, 1.0]},
        "fixed": {"epochs": 2, "training.schedule": "cosine", "objective.schedule": "linear"},
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps({"sweep": [entry]}))
    assert read_sweeps(tmp_path / "a.json") == read_sweeps(tmp_path / "a.toml")


GOOD = {"name": "s", "recipe": "vae", "axes": {"latent_dim": [2, 4]}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": {"latentdim": [2]}}, ["latentdim", "did you mean latent_dim"]),
        ({"axes": {"betta": [2]}}, ["betta", "did you mean beta"]),
        ({"axes": {"recipe.beta": [2]}}, ["recipe.beta", "no option of vae"]),
        ({"axes": {"levels": [2]}}, ["levels", "no option"]),
        ({"fixed": {"epoch": 2}}, ["epoch", "did you mean epochs"]),
        ({"fixed": {"latent_dim": 2}}, ["latent_dim", "is an axis too"]),
        ({"axes": {}}, ["axes", "needs an axis"]),
        ({"axes": {"latent_dim": []}}, ["latent_dim", "list of values"]),
        ({"axes": {"latent_dim": 3}}, ["latent_dim", "list of values"]),
        ({"axes": {"prior": "vamp"}}, ["prior", "list of values"]),
        ({"axes": {"latent_dim": [2, 2]}}, ["latent_dim", "twice"]),
        ({"name": "../a"}, ["../a", "no name of a folder"]),
        ({"recipe": "vea"}, ["vea", "vae"]),
        ({"recipe": ["vae", "skip_vae"]}, ["recipe", "must be one name"]),
        ({"objective": ["elbo"]}, ["objective", "must be one name"]),
        ({"objective": "elb"}, ["elb", "did you mean elbo"]),
        ({"seeds": 0}, ["seeds", "at least 1"]),
        ({"seeds": True}, ["seeds", "at least 1"]),
        ({"fixed": ["epochs"]}, ["fixed", "table of options"]),
        ({"estimators": "iw:50"}, ["estimators", "list of names"]),
        ({"estimators": []}, ["estimators", "list of names"]),
        ({"estimators": ["elbo:64", "iv:50"]}, ["iv:50", "did you mean iw"]),
        ({"estimators": ["iw"]}, ["iw", "takes a number"]),
        ({"estimators": [50]}, ["50", "unknown estimator"]),
        ({"axis": {}}, ["axis", "did you mean axes"]),
    ],
)
def test_what_it_cannot_ask_is_named(tmp_path: Path, change: dict, words: list[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"sweep": [{**GOOD, **change}]}))
    with pytest.raises(InvalidInput) as caught:
        read_sweeps(tmp_path / "a.json")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("a.toml", "sweep = ", "no TOML or JSON"),
        ("a.json", "{", "no TOML or JSON"),
        ("a.json", "[]", "holds no sweeps"),
        ("a.toml", "[other]\n", "holds no sweeps"),
        ("a.json", json.dumps({"sweep": [GOOD], "sweeps": []}), "did you mean sweep"),
        ("a.json", json.dumps({"sweep": [GOOD, GOOD]}), "one name twice"),
        ("a.json", json.dumps({"sweep": [{"name": "s", "recipe": "vae"}]}), "is missing"),
        ("a.toml", None, "cannot be read"),
    ],
)
def test_a_file_that_holds_no_sweep_is_refused(tmp_path: Path, name: str, text: str | None, word: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=word):
        read_sweeps(tmp_path / name)


@pytest.mark.parametrize("budget", ["quick", "full"])
def test_built_in_windows_go_from_no_pixel_to_the_whole_image(budget: str) -> None:
    decoder, code = built_in(budget, 8)
    windows = decoder.axes["window"]
    assert (windows[0], windows[-1]) == (1, 15)
    assert decoder.axes["depth"][0] < decoder.axes["depth"][-1]
    assert 1.0 in code.axes["beta"]
    assert set(code.axes) == {"latent_dim", "beta"}
    assert len(decoder.members()) == len(decoder.axes["window"]) * len(decoder.axes["depth"])
    assert built_in(budget, 2)[0].axes["window"] == [1, 3]


def test_every_built_in_point_can_be_trained(tmp_path: Path) -> None:
    data = load_data("digits", None)
    plan = Plan("collapse", "", (), (0,), "digits", None, tmp_path / "out", "quick", False, False)
    for sweep in built_in("quick", 8):
        for member in (sweep.members()[0], sweep.members()[-1]):
            config = prepare(job_of(plan, data, member, 0, member.name)).config
            assert config["recipe"] == sweep.recipe
            assert config["data"] == "digits"


def test_a_sweep_of_another_objective_has_its_options() -> None:
    sweep = Sweep("s", "vae", {"num_particles": [5]}, objective="iwae")
    assert sweep.place("num_particles") == ("objective", "num_particles")
    with pytest.raises(InvalidInput, match="beta"):
        Sweep("s", "vae", {"beta": [1.0]}, objective="iwae")
