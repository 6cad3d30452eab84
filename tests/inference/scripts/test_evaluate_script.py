"""``inference.evaluate``: what it refuses, and that its numbers depend on the run, the image and the seed alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import xarray as xr

from inference import load_data, load_run
from inference.evaluate import evaluate, images_of
from inference.evidence_file import read_evidence
from inference.train_options import jobs
from ppl_models.errors import InvalidInput

REASON = "no distribution over x"


def evidence(run) -> xr.Dataset:
    return xr.load_dataset(run / "evidence.nc", engine="h5netcdf")


@pytest.mark.parametrize(
    ("recipe", "arguments", "words"),
    [
        ("made", "--estimators exct", ["--estimators", "'exct'", "did you mean exact", "iw"]),
        ("made", "--estimators exact nonsense", ["--estimators", "'nonsense'", "known"]),
        ("made", "--estimators elbo:4", ["--estimators", "'elbo:4'", "no latents", "use exact"]),
        ("independent_pixels", "--estimators iw:4", ["--estimators", "'iw:4'", "use exact"]),
        ("vae", "--estimators exact", ["--estimators", "'exact'", "only bounds", "iw:5000"]),
        ("vae", "--estimators elbo:4 exact", ["--estimators", "'exact'", "only bounds"]),
        ("vae", "--estimators elbo:0", ["--estimators", "'elbo:0'", "at least 1", "elbo:64"]),
        ("vae", "--estimators iw:-3", ["--estimators", "'iw:-3'", "at least 1", "iw:5000"]),
        ("vae", "--estimators iw", ["--estimators", "'iw'", "takes a number"]),
        ("vae", "--estimators iw:", ["--estimators", "'iw:'", "iw:5000"]),
        ("vae", "--estimators exact:5", ["--estimators", "'exact:5'", "takes no number"]),
        ("vae", "--estimators iw:abc", ["--estimators", "'iw:abc'", "whole number"]),
        ("vae", "--estimators iw:5.5", ["--estimators", "'iw:5.5'", "whole number"]),
        ("vae", "--estimators elbo:4 iw:0", ["--estimators", "'iw:0'", "at least 1"]),
        ("vae", "", ["--estimators", "required and not given", "name some: elbo:64"]),
        ("vae", "--sbc --sbc.draws 19 --collapse --split tets", ["--split", "'tets'", "did you mean test"]),
        ("vae", "--gap", ["--gap", "log p(x)", "--estimators elbo:64 iw:5000"]),
        ("made", "--estimators ais:5", ["--estimators", "'ais:5'", "MADE has no latents", "use exact"]),
        ("made", "--estimators exact bdmc:5", ["--estimators", "'bdmc:5'", "MADE has no latents", "use exact"]),
        ("made", "--estimators quadrature", ["--estimators", "'quadrature'", "MADE has no latents", "use exact"]),
        ("made", "--estimators enumerate", ["--estimators", "'enumerate'", "MADE has no latents", "use exact"]),
        ("discrete_vae", "--estimators ais:5", ["--estimators", "'ais:5'", "discrete latents only", "use enumerate"]),
        ("vae", "--estimators enumerate", ["--estimators", "'enumerate'", "VAE has continuous", "quadrature"]),
        ("vae", "--estimators jackknife:1", ["--estimators", "'jackknife:1'", "leaves none", "K >= 2"]),
        ("autoencoder", "--estimators exact", ["exact", REASON]),
        ("autoencoder", "--estimators elbo:4", ["elbo:4", REASON]),
        ("autoencoder", "--estimators iw:4", ["iw:4", REASON]),
        ("autoencoder", "--estimators exct", ["--estimators", "'exct'", "did you mean exact"]),
        ("autoencoder", "--estimators iw:0", ["--estimators", "'iw:0'", "at least 1"]),
        ("made", "--estimators exact --limit 0", ["--limit", "0", "at least 1"]),
        ("made", "--estimators exact --limit -2", ["--limit", "-2", "at least 1"]),
        ("made", "--estimators exact --split tets", ["--split", "'tets'", "did you mean test"]),
        ("made", "--estimators exact --device tpu", ["--device", "'tpu'", "cpu or cuda"]),
        ("made", "--estimators exact --guide DiagonalNormal", ["--guide", "without a guide", "leave it out"]),
        ("made", "--estimators exact --data digits", ["--data", "'digits'", "another digest"]),
        ("vae", "--estimators elbo:2 --guide nowhere.py:G", ["--guide", "nowhere.py", "no file"]),
    ],
)
def test_refused_and_nothing_written(recipe, arguments, words, copied, expect_refused, untouched) -> None:
    run = copied(recipe)
    with untouched(run):
        expect_refused("evaluate", [run, "--quiet", *arguments.split()], *words)


def test_the_recipes_own_guide_may_be_named_and_no_other_of_its_name(copied, call, expect_refused, tmp_path) -> None:
    """Its options are the recipe's: the class alone, with the options it starts from, does not fit the weights."""
    run, score = copied("vae"), ["--estimators", "elbo:8", "--quiet"]
    call("evaluate", run, *score)
    first = evidence(run)
    call("evaluate", run, *score, "--guide", "DiagonalNormal", "--overwrite")
    assert evidence(run).log_evidence.identical(first.log_evidence)
    code = "from ppl_models import guides\nclass DiagonalNormal(guides.DiagonalNormal):\n    pass\n"
    (tmp_path / "mine.py").write_text(code)
    other = f"{tmp_path / 'mine.py'}:DiagonalNormal"
    expect_refused("evaluate", [run, *score, "--guide", other], "--guide", "the recipe's own", "leave it out")


def test_the_error_over_one_image_is_a_dash(copied, call, capsys) -> None:
    call("evaluate", copied("made"), "--estimators", "exact", "--limit", 1, "--quiet")
    assert "nan" not in capsys.readouterr().out


@pytest.mark.parametrize(("recipe", "estimators"), [("made", ["exact"]), ("vae", ["elbo:8", "iw:8"])])
def test_the_same_seed_gives_identical_numbers(recipe, estimators, copied, call) -> None:
    run = copied(recipe)
    found = []
    for number in range(2):
        torch.manual_seed(number)
        call("evaluate", run, "--estimators", *estimators, "--quiet", "--overwrite")
        found.append(evidence(run).drop_vars("seconds"))
    assert found[0].identical(found[1])


def test_the_runs_seed_is_the_key_of_the_noise(copied, call) -> None:
    run = copied("vae")
    call("evaluate", run, "--estimators", "elbo:8", "--quiet")
    first = evidence(run).log_evidence.values
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "seed": 8}))
    call("evaluate", run, "--estimators", "elbo:8", "--quiet", "--overwrite")
    assert (evidence(run).log_evidence.values != first).all()


@pytest.mark.parametrize(("recipe", "estimator"), [("made", "exact"), ("vae", "elbo:8"), ("vae", "iw:8")])
def test_a_value_does_not_depend_on_how_many_images_are_scored(recipe, estimator, copied, call) -> None:
    run = copied(recipe)
    values = []
    for limit in (5, 12):
        call("evaluate", run, "--estimators", estimator, "--limit", limit, "--quiet", "--overwrite")
        values.append(evidence(run).log_evidence.values[0])
    assert (len(values[0]), len(values[1])) == (5, 12)
    assert np.array_equal(values[0], values[1][:5])


@pytest.fixture(scope="module")
def of_digits(call, tmp_path_factory):
    """Runs on the digits, whose 250 test images are scored in slices of several."""
    folder = tmp_path_factory.mktemp("digits")
    for recipe in ("made", "vae"):
        call("train", "--recipe", recipe, "--recipe.hidden", "[16]", "--epochs", 1, "--quiet", "--out", folder / recipe)
    return folder


def test_slices_of_the_digits(of_digits) -> None:
    """Stochastic values are equal to the bit, exact ones to rounding (house rule 6)."""
    data = load_data("digits")
    for recipe, names, tolerance in (("made", ["exact"], 1e-3), ("vae", ["elbo:4", "iw:4"], 0.0)):
        run = load_run(of_digits / recipe)
        some = evaluate(run, data, names, limit=10, overwrite=True).log_evidence.values
        every = evaluate(run, data, names, overwrite=True).log_evidence.values
        assert every.shape == (len(names), 250)
        assert np.abs(every[:, :10] - some).max() <= tolerance


def test_progress_and_table_go_where_they_belong(copied, call, capfd) -> None:
    """The table is the output; the bar is not."""
    printed = call("evaluate", copied("vae"), "--estimators", "elbo:8", "iw:8")
    lines = printed.splitlines()
    assert "VAE on " in lines[0]
    assert [line.split()[:2] for line in lines[2:]] == [["elbo:8", "LOWER_BOUND"], ["iw:8", "LOWER_BOUND"]]
    assert "elbo:8" in capfd.readouterr().err


def test_a_limit_beyond_the_split_is_the_split(copied, call) -> None:
    run = copied("made")
    call("evaluate", run, "--estimators", "exact", "--limit", 1000, "--quiet")
    assert evidence(run).sizes["image"] == 12


@pytest.mark.parametrize(("split", "size"), [("valid", 10), ("train", 40)])
def test_other_splits_are_named_in_the_file(split, size, copied, call) -> None:
    run = copied("made")
    call("evaluate", run, "--estimators", "exact", "--split", split, "--quiet")
    found = read_evidence(run / f"evidence-{split}.nc")
    assert found.attrs["split"] == split
    assert found.sizes["image"] == size
    assert not (run / "evidence.nc").exists()


def test_the_test_split_is_opened_only_when_it_is_asked_for(runs, tiny) -> None:
    data, opened = load_data(str(tiny)), []
    original = type(data).split

    class Watched(type(data)):
        def split(self, name):
            opened.append(name)
            return original(self, name)

    watched = Watched(data.name, data.shape, data.levels, data.digest, data._splits, data._labels)
    images_of(load_run(runs / "made"), watched, "valid", None, "cpu")
    assert opened == ["valid"]


def test_reading_the_options_opens_no_split(tiny, monkeypatch, tmp_path) -> None:
    from inference.data import ImageData

    opened: list[str] = []
    monkeypatch.setattr(ImageData, "split", lambda self, name: opened.append(name))
    (job,), _ = jobs(["--recipe", "made", "--data", str(tiny), "--out", str(tmp_path / "x")])
    assert (job.recipe, opened) == ("made", [])


def test_evaluate_in_python_refuses_as_the_script_does(runs, tiny) -> None:
    with pytest.raises(InvalidInput, match="only bounds"):
        evaluate(load_run(runs / "vae"), load_data(str(tiny)), ["exact"])
