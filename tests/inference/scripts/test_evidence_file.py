"""``evidence.nc``: its layout is docs/files.md to the letter, and evidence of different things is never merged."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import xarray as xr

from inference import load_data, load_run
from inference.claims import Claim
from inference.estimators import Elbo, Estimate, Exact, ImportanceWeighted
from inference.evaluate import write_refusal
from inference.evidence_file import Row, attributes, read_evidence, write_evidence
from ppl_models.errors import InvalidInput

DIMS = {
    "log_evidence": ("estimator", "image"), "stderr": ("estimator", "image"), "ess": ("estimator", "image"),
    "pareto_k": ("estimator", "image"), "seconds": ("estimator",),
}  # fmt: skip
COORDS = {
    "estimator": ("estimator",), "claim": ("estimator",), "num_particles": ("estimator",), "tolerance": ("estimator",),
    "reason": ("estimator",), "image": ("image",),
}  # fmt: skip
ATTRIBUTES = {"units", "measure", "levels", "program", "guide", "data", "data_digest", "split", "seed", "epoch"}


def evidence(run) -> xr.Dataset:
    return xr.load_dataset(run / "evidence.nc", engine="h5netcdf")


def check_layout(dataset: xr.Dataset, estimators: list[str]) -> None:
    assert {name: variable.dims for name, variable in dataset.data_vars.items()} == DIMS
    assert {name: variable.dims for name, variable in dataset.coords.items()} == COORDS
    assert set(dataset.attrs) == ATTRIBUTES
    assert all(isinstance(value, str | int | np.integer) for value in dataset.attrs.values())
    assert not any(isinstance(value, bool | np.bool_) for value in dataset.attrs.values())
    assert dataset.estimator.values.tolist() == estimators
    for name in DIMS:
        assert dataset[name].dtype == np.float64
    assert dataset.tolerance.dtype == np.float64
    assert dataset.num_particles.dtype.kind == dataset.image.dtype.kind == "i"
    assert all(isinstance(value, str) for value in [*dataset.claim.values.tolist(), *dataset.reason.values.tolist()])


def test_exact_evidence(copied, call, tiny) -> None:
    run = copied("made")
    call("evaluate", run, "--estimators", "exact", "--quiet")
    found, data = evidence(run), load_data(str(tiny))
    check_layout(found, ["exact"])
    assert found.claim.item() == "EXACT"
    assert (found.num_particles.item(), found.reason.item()) == (0, "")
    assert found.image.values.tolist() == list(range(12))
    for name in ("stderr", "ess", "pareto_k"):
        assert np.isnan(found[name]).all()
    assert math.isnan(found.tolerance.item())
    assert found.seconds.item() > 0
    direct = Exact()(load_run(run).program, data.split("test"))
    assert np.allclose(found.log_evidence.values[0], direct.values.double().numpy(), atol=1e-5, rtol=0)
    attributes = {
        "units": "nats", "measure": "mass", "levels": 2, "program": "MADE", "guide": "", "data": str(tiny),
        "data_digest": data.digest, "split": "test", "seed": 0, "epoch": load_run(run).epoch,
    }  # fmt: skip
    assert found.attrs == attributes


def test_bounds(copied, call, tiny) -> None:
    run = copied("vae")
    call("evaluate", run, "--estimators", "elbo:8", "iw:30", "--quiet")
    found, loaded, x = evidence(run), load_run(run), load_data(str(tiny)).split("test")
    check_layout(found, ["elbo:8", "iw:30"])
    assert found.claim.values.tolist() == ["LOWER_BOUND"] * 2
    assert found.num_particles.values.tolist() == [8, 30]
    assert found.attrs["guide"] == "DiagonalNormal"
    for row, estimator in enumerate((Elbo(loaded.guide, 8), ImportanceWeighted(loaded.guide, 30))):
        direct = estimator(loaded.program, x)
        assert np.array_equal(found.log_evidence.values[row], direct.values.double().numpy())
        assert np.array_equal(found.stderr.values[row], direct.stderr.double().numpy())
        for name in ("ess", "pareto_k"):
            expected = direct.diagnostics.get(name, torch.full((12,), math.nan)).double().numpy()
            assert np.array_equal(found[name].values[row], expected, equal_nan=True)
    assert (found.ess.values[1] >= 1).all()
    assert (found.ess.values[1] <= 30).all()


def test_one_particle_has_no_standard_error(copied, call) -> None:
    run = copied("vae")
    call("evaluate", run, "--estimators", "elbo:1", "--quiet")
    assert np.isnan(evidence(run).stderr).all()
    assert not np.isnan(evidence(run).log_evidence).any()


def test_evaluating_again_replaces_that_estimator_and_keeps_the_others(copied, call) -> None:
    run = copied("vae")
    call("evaluate", run, "--estimators", "elbo:8", "iw:8", "--quiet")
    first = evidence(run)
    call("evaluate", run, "--estimators", "iw:16", "elbo:8", "elbo:8", "--quiet")
    second = evidence(run)
    check_layout(second, ["iw:8", "iw:16", "elbo:8"])
    for name in ("elbo:8", "iw:8"):
        assert np.array_equal(first.sel(estimator=name).log_evidence, second.sel(estimator=name).log_evidence)
    assert first.sel(estimator="iw:8").seconds == second.sel(estimator="iw:8").seconds
    assert first.sel(estimator="elbo:8").seconds != second.sel(estimator="elbo:8").seconds


def test_longer_words_are_added_whole(tmp_path) -> None:
    """A file kept its words at the width of its first ones: iw:5000 after exact came out as iw:50."""
    config = {"levels": 2, "program": "P", "guide": None, "data": "d", "data_digest": "sha256:a", "seed": 0}
    attrs, file = attributes(config, "test", 1), tmp_path / "evidence.nc"
    values = torch.tensor([-1.0, -2.0])
    write_evidence(file, [Row("exact", estimate=Estimate(values, Claim.EXACT))], [0, 1], attrs)
    write_evidence(file, [Row("iw:5000", 5000, Estimate(values, Claim.LOWER_BOUND, values * 0))], [0, 1], attrs)
    write_evidence(file, [Row("elbo:64", reason="a reason longer than none")], [0, 1], attrs)
    found = read_evidence(file)
    assert found.estimator.values.tolist() == ["exact", "iw:5000", "elbo:64"]
    assert found.claim.values.tolist() == ["EXACT", "LOWER_BOUND", "none"]
    assert found.reason.values.tolist() == ["", "", "a reason longer than none"]


@pytest.mark.parametrize("limits", [(3, 12), (12, 3)])
def test_other_images_are_missing_not_invented(limits, copied, call) -> None:
    run = copied("vae")
    for name, limit in zip(("elbo:8", "iw:8"), limits, strict=True):
        call("evaluate", run, "--estimators", name, "--limit", limit, "--quiet")
    found = evidence(run)
    check_layout(found, ["elbo:8", "iw:8"])
    assert found.image.values.tolist() == list(range(12))
    for name, limit in zip(("elbo:8", "iw:8"), limits, strict=True):
        values = found.sel(estimator=name).log_evidence.values
        assert not np.isnan(values[:limit]).any()
        assert np.isnan(values[limit:]).all()
        assert found.sel(estimator=name).claim.item() == "LOWER_BOUND"


def test_replaced_by_fewer_images_leaves_none_of_the_old(copied, call) -> None:
    run = copied("made")
    for limit in (12, 4):
        call("evaluate", run, "--estimators", "exact", "--limit", limit, "--quiet")
    assert evidence(run).image.values.tolist() == [0, 1, 2, 3]


def test_evidence_of_another_split_lies_beside_that_of_the_test_images(copied, call) -> None:
    run = copied("vae")
    call("evaluate", run, "--estimators", "elbo:8", "--quiet")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    call("evaluate", run, "--estimators", "elbo:8", "--split", "valid", "--quiet")
    after = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert set(after) - set(before) == {"evidence-valid.nc"}
    assert all(after[name] == content for name, content in before.items()), "latents.nc stays that of the test images"
    valid = read_evidence(run / "evidence-valid.nc")
    assert (valid.attrs["split"], valid.sizes["image"]) == ("valid", 10)
    assert (evidence(run).attrs["split"], evidence(run).sizes["image"]) == ("test", 12)


def test_a_file_of_another_split_in_its_place_is_refused_and_may_be_replaced(
    copied, call, expect_refused, untouched
) -> None:
    run = copied("made")
    call("evaluate", run, "--estimators", "exact", "--split", "valid", "--quiet")
    (run / "evidence-valid.nc").rename(run / "evidence.nc")
    again = [run, "--estimators", "exact", "--quiet"]
    with untouched(run):
        expect_refused("evaluate", again, "evidence.nc", "split 'valid' there, 'test' asked", "--overwrite")
    call("evaluate", *again, "--overwrite")
    assert (evidence(run).attrs["split"], evidence(run).sizes["image"]) == ("test", 12)


def test_numbers_of_an_unfinished_training_are_not_mixed_with_later_ones(
    copied, call, expect_refused, untouched
) -> None:
    """Whoever looks before the training ends has scored other weights."""
    run = copied("vae")
    call("evaluate", run, "--estimators", "elbo:8", "--quiet")
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    torch.save({**state, "best_epoch": state["best_epoch"] + 3}, run / "checkpoint.pt")
    with untouched(run):
        expect_refused("evaluate", [run, "--estimators", "iw:8", "--quiet"], "evidence.nc", "epoch", "--overwrite")


@pytest.mark.parametrize("key", ["data_digest", "seed", "program", "guide", "levels", "measure"])
def test_evidence_of_something_else_is_refused(key, copied, call, expect_refused, untouched) -> None:
    run = copied("vae")
    call("evaluate", run, "--estimators", "elbo:2", "--quiet")
    dataset = evidence(run)
    dataset.attrs[key] = 7 if key in ("seed", "levels") else "something else"
    dataset.to_netcdf(run / "evidence.nc", engine="h5netcdf")
    with untouched(run):
        expect_refused("evaluate", [run, "--estimators", "iw:2", "--quiet"], "evidence.nc", key, "--overwrite")


def test_writing_checks_what_is_there_itself(copied, call, tiny, untouched) -> None:
    """``write_evidence`` does not rely on its caller to have looked."""
    run = copied("made")
    call("evaluate", run, "--estimators", "exact", "--quiet")
    loaded = load_run(run)
    row = Row("exact", estimate=Exact()(loaded.program, load_data(str(tiny)).split("valid")))
    other = attributes(loaded.config, "valid", loaded.epoch)
    with untouched(run), pytest.raises(InvalidInput, match="split 'test' there, 'valid' asked"):
        write_evidence(run / "evidence.nc", [row], range(10), other)


def test_a_file_that_cannot_be_read(copied, call, expect_refused, untouched) -> None:
    run = copied("made")
    (run / "evidence.nc").write_bytes(b"no netCDF")
    with untouched(run):
        expect_refused("evaluate", [run, "--estimators", "exact"], "evidence.nc", "cannot be read", "--overwrite")
    call("evaluate", run, "--estimators", "exact", "--quiet", "--overwrite")
    check_layout(evidence(run), ["exact"])


def test_a_refusal_is_written_with_its_reason(copied, tiny) -> None:
    run = copied("autoencoder")
    write_refusal(load_run(run), load_data(str(tiny)), ["exact", "elbo:64", "iw:5000"])
    found = evidence(run)
    check_layout(found, ["exact", "elbo:64", "iw:5000"])
    assert found.claim.values.tolist() == ["none"] * 3
    assert found.num_particles.values.tolist() == [0, 0, 0]
    assert np.isnan(found.log_evidence).all()
    assert found.sizes["image"] == 12
    assert all("no distribution over x" in reason for reason in found.reason.values)
    assert found.attrs["program"] == "Autoencoder" == json.loads((run / "config.json").read_text())["program"]
    reconstructions = xr.load_dataset(run / "reconstructions.nc", engine="h5netcdf")
    assert reconstructions.x.dims == reconstructions.reconstruction.dims == ("image", "pixel")
    assert not (run / "latents.nc").exists()
