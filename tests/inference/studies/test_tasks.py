"""Tasks in processes: what fails, dies or is cut off is that task's affair alone.

What the tasks do is written with functions of the standard library, which any worker process can import.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from inference.studies import tasks as module
from inference.studies.pools import Pool
from inference.studies.tasks import DIED, Task, in_words, mark_of, one_thread, read_mark, run_tasks
from ppl_models import InvalidInput


def appending(path: Path, line: str = "made") -> partial:
    """A call that adds a line to a file: how often it was made can be counted."""
    return partial(subprocess.run, ["sh", "-c", f"echo {line} >> {path}"], check=True)


def count(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def lines() -> list[str]:
    return []


def test_a_failure_is_listed_with_its_cause_and_the_others_go_on(tmp_path: Path, lines: list[str]) -> None:
    tasks = [
        Task("a/seed-0", appending(tmp_path / "a")),
        Task("b/seed-0", partial(int, "no number")),
        Task("c/seed-0", partial(sys.exit, 3)),
        Task("d/seed-0", appending(tmp_path / "d")),
    ]
    outcomes = run_tasks(tasks, tmp_path, Pool(jobs=2), lines.append)
    assert [outcome.name for outcome in outcomes] == [task.name for task in tasks]
    assert [bool(outcome.error) for outcome in outcomes] == [False, True, True, False]
    assert outcomes[1].error == "ValueError: invalid literal for int() with base 10: 'no number'"
    assert outcomes[2].error == "SystemExit: 3"
    mark = read_mark(tmp_path, "b/seed-0")
    assert mark["state"] == "failed"
    assert "Traceback" in mark["traceback"]
    assert count(tmp_path / "a") == count(tmp_path / "d") == 1
    assert sum("failed: ValueError" in line for line in lines) == 1


def test_progress_counts_and_says_how_much_time_is_left(tmp_path: Path, lines: list[str]) -> None:
    tasks = [Task(f"t{i}", partial(time.sleep, 0.01)) for i in range(3)]
    run_tasks(tasks, tmp_path, Pool(), lines.append)
    assert [line[:5] for line in lines] == ["[1/3]", "[2/3]", "[3/3]"]
    assert all("left" in line for line in lines[:2])
    assert "left" not in lines[2]


def test_what_is_left_is_the_mean_of_what_was_made_times_the_rest(
    tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 100.0, 300.0, 600.0])  # the start, then one task after 100 s, two after 300, three after 600
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    outcomes = [module.Outcome(f"t{i}", 1.0) for i in range(3)]
    monkeypatch.setattr(module, "made", lambda *_: iter(outcomes))
    run_tasks([Task(f"t{i}", print) for i in range(3)], tmp_path, Pool(), lines.append)
    assert [line.split("; ")[1:] for line in lines] == [["about 3 min left"], ["about 2 min left"], []]


def test_durations_in_words() -> None:
    assert [in_words(s) for s in (3, 80, 90, 5000, 5400)] == ["3 s", "80 s", "2 min", "83 min", "2 h"]


def test_what_is_finished_is_kept_and_what_failed_is_tried_again(tmp_path: Path, lines: list[str]) -> None:
    good, bad = Task("good", appending(tmp_path / "good")), tmp_path / "bad"
    broken = Task("bad", partial(subprocess.run, ["sh", "-c", f"echo made >> {bad}; exit 1"], check=True))
    run_tasks([good, broken], tmp_path, Pool(), lines.append)
    outcomes = run_tasks([good, broken], tmp_path, Pool(), lines.append, resume=True)
    assert [outcome.earlier for outcome in outcomes] == [True, False]
    assert (count(tmp_path / "good"), count(bad)) == (1, 2)
    assert "1 of 2 are finished already" in lines
    assert outcomes[0].seconds == pytest.approx(read_mark(tmp_path, "good")["seconds"])
    run_tasks([good], tmp_path, Pool(), lines.append)  # without resume all are made again
    assert count(tmp_path / "good") == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_process_that_dies_takes_no_other_task_with_it(tmp_path: Path, lines: list[str], jobs: int) -> None:
    slow = partial(subprocess.run, ["sh", "-c", f"sleep 0.3; echo made >> {tmp_path / 'slow'}"], check=True)
    tasks = [
        Task("slow", slow),
        Task("dies", partial(os._exit, 9)),
        *[Task(f"after-{i}", appending(tmp_path / "after")) for i in range(3)],
    ]
    outcomes = run_tasks(tasks, tmp_path, Pool(jobs), lines.append)
    assert [outcome.error for outcome in outcomes] == ["", DIED, "", "", ""]
    assert read_mark(tmp_path, "dies")["state"] == "failed"
    assert count(tmp_path / "after") == 3
    assert count(tmp_path / "slow") >= 1


def test_a_process_that_is_killed_once_costs_no_task(tmp_path: Path, lines: list[str]) -> None:
    """As the system does where memory runs out: the task is tried again, and succeeds."""
    flag = tmp_path / "flag"
    once = f"if [ -e {flag} ]; then exit 0; fi; touch {flag}; kill -9 $PPID; sleep 5"
    outcomes = run_tasks(
        [Task("once", partial(subprocess.run, ["sh", "-c", once], check=True))], tmp_path, Pool(), lines.append
    )
    assert outcomes[0].error == ""


def test_tasks_run_on_one_thread(tmp_path: Path, lines: list[str]) -> None:
    told = partial(subprocess.run, ["sh", "-c", f"echo $OMP_NUM_THREADS > {tmp_path / 'omp'}"], check=True)
    run_tasks([Task("told", told)], tmp_path, Pool(2), lines.append)
    assert (tmp_path / "omp").read_text().strip() == "1"
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


SCRIPT = """
import subprocess, sys
from functools import partial
from pathlib import Path
from inference.studies.pools import Pool
from inference.studies.tasks import Task, run_tasks
out = Path(sys.argv[1])
made = lambda i: partial(subprocess.run, ["sh", "-c", f"sleep 0.2; echo made >> {out}/made-{i}"], check=True)
run_tasks([Task(f"t{i}", made(i)) for i in range(int(sys.argv[2]))], out, Pool(), print, resume=True)
"""


def test_after_a_kill_the_finished_tasks_are_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), "40"]
    first = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240  # a process that imports torch on a busy machine takes its time
    while count(tmp_path / "made-2") == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = [i for i in range(40) if read_mark(tmp_path, f"t{i}").get("state") == "finished"]
    assert 2 <= len(kept) < 40
    command[-1] = str(len(kept) + 2)
    subprocess.run(command, check=True, capture_output=True)
    assert all(count(tmp_path / f"made-{i}") == 1 for i in kept)
    assert all(read_mark(tmp_path, f"t{i}")["state"] == "finished" for i in range(len(kept) + 2))


def test_marks_are_one_file_each_and_valid_json(tmp_path: Path, lines: list[str]) -> None:
    run_tasks([Task("sweeps/a/seed-0", partial(int, "1"))], tmp_path, Pool(), lines.append)
    assert json.loads(mark_of(tmp_path, "sweeps/a/seed-0").read_text())["task"] == "sweeps/a/seed-0"
    assert mark_of(tmp_path, "sweeps/a/seed-0").parent == tmp_path / "tasks"


needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="dask.distributed is missing")


def test_without_dask_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InvalidInput, match=r"--dask 'tcp://x:1': .* not installed; pip install 'ppl-models\[dask\]'"):
        Pool(dask="tcp://x:1").check()


@needs_dask
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.slow
def test_on_a_dask_cluster(tmp_path: Path, lines: list[str]) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        pool = Pool(dask=cluster.scheduler_address)
        pool.check()
        tasks = [
            Task("good", appending(tmp_path / "good")),
            Task("bad", partial(int, "x")),
            Task("dies", partial(os._exit, 9)),
            *[Task(f"after-{i}", appending(tmp_path / "after")) for i in range(3)],
        ]
        outcomes = {outcome.name: outcome.error for outcome in run_tasks(tasks, tmp_path, pool, lines.append)}
    assert outcomes == {
        "good": "", "bad": outcomes["bad"], "dies": DIED, "after-0": "", "after-1": "", "after-2": "",
    }  # fmt: skip
    assert outcomes["bad"].startswith("ValueError")
    assert count(tmp_path / "after") >= 3


@needs_dask
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.slow
def test_a_cluster_whose_runs_would_mix_their_random_numbers_is_refused() -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
        with pytest.raises(InvalidInput, match="--nthreads 1"):
            Pool(dask=cluster.scheduler_address).check()
        cluster.scale(0)


@needs_dask
def test_an_address_without_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.studies.pools.SECONDS_TO_CONNECT", 1)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(InvalidInput, match="no Dask scheduler"):
            Pool(dask=address).check()
