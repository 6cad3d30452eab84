"""``inference.study``: its runs, its file, and that finished runs are kept."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
import xarray as xr

from analysis.report import write_report
from inference import jobs
from inference import study as script
from inference.data import ImageData, load_data
from inference.studies import STUDIES, Plan, compare, members
from inference.studies.members import Member, of_budget
from inference.studies.pools import Pool
from inference.training import Training

MEMBERS = (
    Member("made", "made", ("exact",), samples=5),
    Member("vae", "vae", ("elbo:4", "iw:8"), samples=5),
    Member("autoencoder", "autoencoder", ("exact", "elbo:4", "iw:8"), samples=0),
    Member("independent_pixels", "independent_pixels", ("exact",), role="baseline", seeds=1, samples=5),
)
RUNS = ["made/seed-0", "made/seed-1", "vae/seed-0", "vae/seed-1", "autoencoder/seed-0", "autoencoder/seed-1",
        "independent_pixels/seed-0"]  # fmt: skip


@pytest.fixture
def small(monkeypatch):
    """The study with few particles and seeds and a short training, in this process, where patches hold."""
    monkeypatch.setattr(Pool, "opened", lambda pool: contextlib.nullcontext({"n_jobs": 1}))
    monkeypatch.setattr(compare, "MEMBERS", MEMBERS)
    monkeypatch.setattr(compare, "SEEDS", {"quick": (0, 1), "full": (0, 1, 2)})
    monkeypatch.setattr(jobs, "default_training", lambda *given: Training(epochs=2, batch_size=20))


@pytest.fixture
def arguments(tiny, tmp_path):
    return ["compare", "--data", str(tiny), "--out", str(tmp_path / "study"), "--jobs", "1"]


def evidence(path) -> xr.Dataset:
    return xr.load_dataset(path / "evidence.nc", engine="h5netcdf")


def test_the_whole_study(small, arguments, call, tiny, tmp_path, expect_refused, untouched) -> None:
    out = tmp_path / "study"
    printed = call("study", *arguments)
    assert "[7/7]" in printed
    found = json.loads((out / "study.json").read_text())
    assert found.pop("seconds") > 0
    assert found.pop("commit")
    assert found == {
        "format": 1, "study": "compare", "question": compare.QUESTION, "data": str(tiny), "budget": "quick",
        "members": [
            {"name": "made", "runs": RUNS[:2], "role": "model"},
            {"name": "vae", "runs": RUNS[2:4], "role": "model"},
            {"name": "autoencoder", "runs": RUNS[4:6], "role": "model"},
            {"name": "independent_pixels", "runs": RUNS[6:], "role": "baseline"},
        ],
        "seeds": [0, 1], "failures": [], "command": f"python -m inference.study {' '.join(arguments)}",
    }  # fmt: skip
    for run in RUNS:
        member = next(member for member in MEMBERS if run.startswith(member.name))
        dataset = evidence(out / run)
        assert dataset.estimator.values.tolist() == list(member.estimators)
        assert (dataset.attrs["split"], dataset.sizes["image"]) == ("test", 12)
        assert (out / run / "samples.nc").exists() == bool(member.samples)
        assert (out / run / "reconstructions.nc").exists() == (member.name in ("vae", "autoencoder"))
        baseline = member.name == "autoencoder"
        assert np.isnan(dataset.log_evidence.values).all() == baseline
        assert (dataset.claim.values == "none").all() == baseline
        assert all(reason for reason in dataset.reason.values) == baseline

    with untouched(out):
        expect_refused("study", arguments, "--out", str(out), "holds a study already", "--resume", "--overwrite")
        expect_refused("evaluate", [out, "--estimators", "exact"], "is a study")

    values = {run: evidence(out / run).log_evidence.values for run in RUNS}
    history = {run: (out / run / "history.jsonl").read_bytes() for run in RUNS}
    configs = {run: (out / run / "config.json").read_bytes() for run in RUNS}
    (out / "study.json").unlink()  # as after an interruption
    call("study", *arguments, "--resume")
    assert (out / "study.json").is_file()
    assert {run: (out / run / "history.jsonl").read_bytes() for run in RUNS} == history
    assert {run: (out / run / "config.json").read_bytes() for run in RUNS} == configs
    for run in RUNS:
        assert np.array_equal(evidence(out / run).log_evidence.values, values[run], equal_nan=True)
    page = write_report(out)[0].read_text()  # what was written can be read, the refusals of the autoencoder among it
    assert "Autoencoder" in page


def test_a_run_that_fails_is_listed_and_the_others_go_on(small, arguments, tmp_path, monkeypatch, capsys) -> None:
    """As a disk that is full would make it fail: nothing that could be known before the first run was trained."""
    original = members.evaluate

    def evaluate(run, *positional, **options):
        if run.path.parent.name == "vae":
            raise OSError("no space left on device")
        return original(run, *positional, **options)

    monkeypatch.setattr(members, "evaluate", evaluate)
    with pytest.raises(SystemExit) as stopped:
        script.main(arguments)
    assert stopped.value.code == 1
    assert "2 of 7 failed" in capsys.readouterr().err
    out = tmp_path / "study"
    failures = json.loads((out / "study.json").read_text())["failures"]
    assert failures == [{"run": run, "error": "OSError: no space left on device"} for run in RUNS[2:4]]
    assert all((out / run / "evidence.nc").is_file() == (run not in RUNS[2:4]) for run in RUNS)
    monkeypatch.setattr(members, "evaluate", original)
    script.main([*arguments, "--resume"])
    assert json.loads((out / "study.json").read_text())["failures"] == []
    assert all((out / run / "evidence.nc").is_file() for run in RUNS)


def test_a_study_that_was_stopped_before_its_first_run_is_continued(small, arguments, call, tmp_path) -> None:
    (tmp_path / "study" / "tasks").mkdir(parents=True)
    call("study", *arguments, "--resume")
    assert all((tmp_path / "study" / run / "evidence.nc").is_file() for run in RUNS)


def test_a_run_whose_process_died_is_continued_in_the_same_call(small, tiny, tmp_path, monkeypatch) -> None:
    """The task is tried again: it finds a folder that was not there when the study was allowed to start."""
    out, original = tmp_path / "study", members.evaluate
    plan = Plan("compare", "?", MEMBERS, (0,), str(tiny), None, out, "quick", False, False)

    def die(*positional, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(members, "evaluate", die)
    with pytest.raises(KeyboardInterrupt):
        members.make_run(plan, MEMBERS[0], 0, RUNS[0])
    history = (out / RUNS[0] / "history.jsonl").read_bytes()
    monkeypatch.setattr(members, "evaluate", original)
    members.make_run(plan, MEMBERS[0], 0, RUNS[0])
    assert (out / RUNS[0] / "history.jsonl").read_bytes() == history
    assert evidence(out / RUNS[0]).estimator.values.tolist() == ["exact"]


def test_a_larger_budget_goes_on_from_a_smaller_one(small, arguments, call, tmp_path) -> None:
    call("study", *arguments)
    made = evidence(tmp_path / "study" / "vae" / "seed-0")
    call("study", *arguments, "--resume", "--budget", "full")
    xr.testing.assert_identical(evidence(tmp_path / "study" / "vae" / "seed-0"), made)  # its seconds too
    found = json.loads((tmp_path / "study" / "study.json").read_text())
    assert found["seeds"] == [0, 1, 2]
    assert (tmp_path / "study" / "vae" / "seed-2" / "evidence.nc").is_file()
    assert not (tmp_path / "study" / "independent_pixels" / "seed-1").exists()


def test_a_study_of_other_data_is_not_continued(
    small, arguments, call, arrays, expect_refused, untouched, tmp_path
) -> None:
    call("study", *arguments)
    np.savez(tmp_path / "other.npz", **{**arrays, "test": 1 - arrays["test"]})
    with untouched(tmp_path / "study"):
        other = [*arguments, "--data", tmp_path / "other.npz"]
        expect_refused("study", [*other, "--resume"], "--out", "another data, data_digest", "--overwrite")
    call("study", *other, "--overwrite")
    assert json.loads((tmp_path / "study" / "study.json").read_text())["data"].endswith("other.npz")


def test_a_fault_of_one_run_stops_the_study_before_the_first(
    small, arguments, call, expect_refused, untouched, tmp_path
) -> None:
    call("study", *arguments)
    (tmp_path / "study" / "vae" / "seed-1" / "checkpoint.pt").write_bytes(b"garbage")
    with untouched(tmp_path / "study"):
        expect_refused("study", [*arguments, "--resume"], "checkpoint", "vae/seed-1")


def test_the_test_split_is_opened_after_training_only(small, arguments, call, monkeypatch) -> None:
    """House rule 10: by the study's final readings."""
    events = []

    class Watched(ImageData):
        def split(self, name):
            events.append(name)
            return super().split(name)

    def load(name, folder):
        data = load_data(name, folder)
        return Watched(data.name, data.shape, data.levels, data.digest, data._splits, data._labels)

    def train(*positional, **options):
        result = original(*positional, **options)
        events.append("trained")
        return result

    original = members.train
    monkeypatch.setattr(members, "load_data", load)
    monkeypatch.setattr(members, "train", train)
    call("study", *arguments)
    assert events.count("test") == events.count("trained") == len(RUNS)
    trained = 0
    for event in events:
        trained += {"trained": 1, "test": -1}.get(event, 0)
        assert trained in (0, 1)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("compar", ["study", "'compar'", "did you mean compare"]),
        ("compare --budget qick", ["--budget", "'qick'", "quick or full"]),
        ("compare --jobs 0", ["--jobs", "0", "at least 1"]),
        ("compare --data dgits", ["--data", "'dgits'", "did you mean digits"]),
        ("compare --data gone.npz", ["--data", "'gone.npz'", "does not exist"]),
    ],
)
def test_refused_and_nothing_written(extra, words, expect_refused, untouched, tmp_path) -> None:
    with untouched(tmp_path):
        expect_refused("study", [*extra.split(), "--out", tmp_path / "study"], *words)


def test_every_study_says_what_the_script_needs() -> None:
    for study in STUDIES.values():
        assert study.QUESTION.endswith("?")
        assert {"quick", "full"} <= study.SEEDS.keys()
        assert set(study.SEEDS["quick"]) <= set(study.SEEDS["full"])
        for budget in study.SEEDS:
            members_of_study = of_budget(study.MEMBERS, budget)
            assert len({member.name for member in members_of_study}) == len(members_of_study)


@pytest.mark.slow
def test_runs_in_processes_of_their_own(tiny, call, tmp_path, monkeypatch) -> None:
    """Two at a time, the members cut to what does not take long."""
    monkeypatch.setattr(compare, "MEMBERS", tuple(m for m in MEMBERS if m.name in ("made", "independent_pixels")))
    monkeypatch.setattr(compare, "SEEDS", {"quick": (0,)})
    call("study", "compare", "--data", tiny, "--out", tmp_path / "two", "--jobs", 2)
    call("study", "compare", "--data", tiny, "--out", tmp_path / "one", "--jobs", 1)
    for run in ("made/seed-0", "independent_pixels/seed-0"):
        one, two = evidence(tmp_path / "one" / run), evidence(tmp_path / "two" / run)
        assert np.array_equal(one.log_evidence, two.log_evidence)
