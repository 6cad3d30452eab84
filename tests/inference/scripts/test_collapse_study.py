"""``inference.study collapse``: failures are listed, a killed sweep resumes to the same table, other folders are
refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from inference.data import load_data
from inference.studies import Plan, collapse, cures, linear
from inference.studies.collapse import claim_folder, identity, tasks_of
from inference.studies.sweeps import Sweep, built_in
from ppl_models import InvalidInput

SWEEP = """
[[sweep]]
name = "window"
recipe = "lossy_vae"
seeds = 1
[sweep.axes]
window = [1, 2, 3]
[sweep.fixed]
epochs = 2
batch_size = 20
hidden = [8]
latent_dim = 2
prior = "standard-normal"
"""


def failing(call: Callable[..., str], *arguments: str) -> None:
    """Call the study where a part of it fails, which its exit code says."""
    with pytest.raises(SystemExit) as stopped:
        call("study", *arguments)
    assert stopped.value.code == 1


@pytest.fixture
def sweep_file(tmp_path) -> Path:
    (tmp_path / "sweep.toml").write_text(SWEEP)
    return tmp_path / "sweep.toml"


@pytest.fixture
def arguments(tiny, tmp_path, sweep_file) -> list[str]:
    return ["collapse", "--data", str(tiny), "--sweep", str(sweep_file), "--out", str(tmp_path / "out"), "--jobs", "1"]


def plan_of(out: Path, tiny: Path, budget: str = "quick", **flags: bool) -> Plan:
    flags = {"resume": False, "overwrite": False, **flags}
    return Plan("collapse", "?", cures.members(budget)[:2], (0, 1), str(tiny), None, out, budget, **flags)


def table(out: Path) -> dict[str, np.ndarray]:
    """What the finished runs say: rate and log p(x) of each image."""
    found = {}
    for folder in sorted((out / "sweeps" / "window").glob("*/seed-0")):
        if (folder / "collapse.nc").exists():
            measures = xr.load_dataset(folder / "collapse.nc", engine="h5netcdf")
            evidence = xr.load_dataset(folder / "evidence.nc", engine="h5netcdf")
            found[folder.parent.name] = np.stack([measures["rate"].values, evidence["log_evidence"].values[0]])
    return found


@pytest.mark.slow
def test_a_point_that_fails_is_listed_and_a_killed_sweep_resumes_to_the_same_table(
    arguments, call, tmp_path, capsys
) -> None:
    failing(call, *arguments)
    assert "1 of 3 failed" in capsys.readouterr().err
    out = tmp_path / "out"
    study = json.loads((out / "study.json").read_text())
    assert [failure["run"] for failure in study["failures"]] == ["sweeps/window/window-2/seed-0"]
    assert "odd width" in study["failures"][0]["error"]
    whole = table(out)
    assert set(whole) == {"window-1", "window-3"}
    assert [point["runs"] for point in study["sweeps"][0]["points"]] == [
        [f"sweeps/window/window-{window}/seed-0"] for window in (1, 2, 3)
    ]

    arguments[arguments.index("--out") + 1] = str(tmp_path / "killed")
    command = [sys.executable, "-m", "inference.study", *arguments]
    first = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    mark, deadline = tmp_path / "killed/tasks/sweeps--window--window-1--seed-0.json", time.monotonic() + 300
    while not (mark.is_file() and '"finished"' in mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "killed/study.json").exists()
    kept = (tmp_path / "killed/sweeps/window/window-1/seed-0/evidence.nc").stat().st_mtime_ns
    failing(call, *arguments, "--resume")
    assert (tmp_path / "killed/sweeps/window/window-1/seed-0/evidence.nc").stat().st_mtime_ns == kept
    again = table(tmp_path / "killed")
    assert set(again) == set(whole)
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)


def test_options_of_this_study_are_refused_by_others(tiny, tmp_path, expect_refused) -> None:
    base = ["compare", "--data", str(tiny), "--out", str(tmp_path / "out")]
    expect_refused("study", [*base, "--sweep", "x.toml"], "--sweep", "use it with collapse")
    expect_refused("study", [*base, "--dask", "tcp://x:1"], "--dask", "use it with collapse")


def test_a_sweep_that_cannot_be_made_writes_nothing(arguments, sweep_file, tmp_path, expect_refused) -> None:
    sweep_file.write_text(SWEEP.replace("window =", "windw ="))
    expect_refused("study", arguments, "windw", "did you mean window")
    arguments[arguments.index("--sweep") + 1] = str(tmp_path / "none.toml")
    expect_refused("study", arguments, "none.toml", "cannot be read")
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_does_not_answer_is_told_before_anything_is_written(
    arguments, tmp_path, expect_refused, monkeypatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("inference.studies.pools.SECONDS_TO_CONNECT", 1)
    expect_refused("study", [*arguments, "--dask", "tcp://127.0.0.1:1"], "--dask", "no Dask scheduler")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_sweep_is_refused(tiny, tmp_path) -> None:
    out, data = tmp_path / "out", load_data(str(tiny), None)
    one, other = (Sweep("s", "vae", {"latent_dim": [2, size]}) for size in (3, 4))
    first = plan_of(out, tiny)
    claim_folder(first, identity(first, data, first.members, [one]))
    before = (out / "plan.json").read_bytes()
    for flags in ({}, {"resume": True}, {"overwrite": True}):
        again = plan_of(out, tiny, **flags)
        with pytest.raises(InvalidInput, match=r"another study or sweep \(other sweeps\)"):
            claim_folder(again, identity(again, data, first.members, [other]))
    with pytest.raises(InvalidInput, match="--resume or --overwrite"):
        claim_folder(first, identity(first, data, first.members, [one]))
    resumed = plan_of(out, tiny, resume=True)
    claim_folder(resumed, identity(resumed, data, first.members, [one]))
    longer = plan_of(out, tiny, "full", resume=True)
    with pytest.raises(InvalidInput, match="other budget"):
        claim_folder(longer, identity(longer, data, first.members, [one]))
    assert (out / "plan.json").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="no such study"):
        claim_folder(plan_of(tmp_path / "mine", tiny), {})
    with pytest.raises(InvalidInput, match="is a file"):
        claim_folder(plan_of(tmp_path / "mine/notes.txt", tiny), {})


def test_cures_are_probed_and_points_are_not(tiny, tmp_path) -> None:
    plan, sweeps = plan_of(tmp_path / "out", tiny), built_in("quick", 8)
    points = [member for sweep in sweeps for member in sweep.members()]
    tasks = {task.name: task for task in tasks_of(plan, plan.members, points, with_theory=True)}
    assert list(tasks)[:2] == ["linear/images", "linear/synthetic"]
    assert {"decoder/seed-0", "decoder/seed-1", "plain/seed-0", "plain/seed-1"} <= set(tasks)
    assert len(tasks) == 2 + 4 + len(points)  # built-in sweeps have one seed in the quick budget
    assert tasks["plain/seed-1"].make.args[-1] is cures.after_run
    assert tasks["plain/seed-1"].make.args[2:4] == (1, "plain/seed-1")
    assert tasks[f"{points[0].name}/seed-0"].make.args[-1] is None
    alone = [task.name for task in tasks_of(plan, points, points, with_theory=False)]
    assert alone == [f"{point.name}/seed-0" for point in points]


def test_the_budgets_of_the_study_are_those_of_the_cures_and_the_theory() -> None:
    assert set(collapse.SEEDS) == set(collapse.MEMBERS) == set(linear.RESTARTS) == set(linear.LATENTS)
    assert len(collapse.SEEDS["quick"]) == 2
