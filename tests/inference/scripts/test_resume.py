"""A run that was stopped and continued is the run that was never stopped, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference import loop
from inference.data import load_data
from inference.jobs import Job
from inference.train import train
from inference.training import Training

SMALL = {"made": {"hidden": [8], "ordering": "random:1"}, "vae": {"hidden": [8], "latent_dim": 2},
         "autoencoder": {"hidden": [8], "latent_dim": 2}}  # fmt: skip
SETTINGS = Training(epochs=6, batch_size=15, average=0.9, patience=None, clip_norm=1.0, learning_rate=0.05)


class Killed(BaseException):
    """What stops a run here, at a place no handler expects."""


def stop_after(monkeypatch: pytest.MonkeyPatch, method: str, calls: int) -> None:
    """Let the ``calls``-th call of a method of the loop, and no later one, raise."""
    original: Callable = getattr(loop.Loop, method)
    count = iter(range(1, 10**6))

    def counted(self, *arguments, **options):
        if next(count) == calls:
            raise Killed
        return original(self, *arguments, **options)

    monkeypatch.setattr(loop.Loop, method, counted)


def differences(one: object, other: object, where: str = "") -> list[str]:
    """Where two checkpoints differ, by any bit."""
    if isinstance(one, Tensor):
        same = isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [where]
    if isinstance(one, dict):
        if not isinstance(other, dict) or one.keys() != other.keys():
            return [where]
        return [found for key in one for found in differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [where]
        return [f for i, (a, b) in enumerate(zip(one, other, strict=True)) for f in differences(a, b, f"{where}[{i}]")]
    return [] if one == other else [where]


def state(folder: Path) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def history(folder: Path) -> list[dict]:
    """Without what a clock said."""
    records = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in records]


@pytest.mark.parametrize("recipe", SMALL)
# 40 images in batches of 15 are 3 updates an epoch. The save of an epoch follows its line in the history.
@pytest.mark.parametrize(
    ("method", "calls"), [("descend", 2), ("descend", 8), ("descend", 13), ("validate", 4), ("save", 1), ("save", 4)]
)
def test_continued_is_uninterrupted(recipe, method, calls, tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = Job(recipe, load_data(str(tiny)), tmp_path / "whole", 3, SMALL[recipe], training=SETTINGS)
    stopped = whole.with_seed(3, tmp_path / "stopped")
    expected = train(whole, progress=False)
    with monkeypatch.context() as patch:
        stop_after(patch, method, calls)
        with pytest.raises(Killed):
            train(stopped, progress=False)
    torch.manual_seed(99)  # the state of the process that continues is another
    found = train(stopped, resume=True, progress=False)
    assert differences(state(whole.out), state(stopped.out)) == []
    assert history(stopped.out) == history(whole.out)
    assert [record["epoch"] for record in found.records] == [1, 2, 3, 4, 5, 6]
    assert (found.best_epoch, found.best_value) == (expected.best_epoch, expected.best_value)


def test_stopped_twice_and_a_line_cut_in_the_middle(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = Job("made", load_data(str(tiny)), tmp_path / "whole", 0, SMALL["made"], training=SETTINGS)
    stopped = whole.with_seed(0, tmp_path / "stopped")
    train(whole, progress=False)
    for number, resume in enumerate((False, True)):
        with monkeypatch.context() as patch:
            stop_after(patch, "descend", 8)
            with pytest.raises(Killed):
                train(stopped, resume=resume, progress=False)
        assert state(stopped.out)["epoch"] == 2 * (number + 1)
        with (stopped.out / "history.jsonl").open("a") as file:
            file.write('{"epoch": 9, "upda')
    train(stopped, resume=True, progress=False)
    assert differences(state(whole.out), state(stopped.out)) == []
    assert history(stopped.out) == history(whole.out)


def test_early_stopping_counts_on(tiny, tmp_path, monkeypatch) -> None:
    """Patience is counted over the interruption, and a run that has stopped stays stopped."""
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    settings = Training(epochs=40, batch_size=15, average=0.0, patience=2, learning_rate=0.5)
    whole = Job("made", load_data(str(tiny)), tmp_path / "whole", 0, SMALL["made"], training=settings)
    stopped = whole.with_seed(0, tmp_path / "stopped")
    expected = train(whole, progress=False)
    assert expected.stopped == "patience"
    with monkeypatch.context() as patch:
        stop_after(patch, "descend", 3 * (len(expected.records) - 1) + 1)
        with pytest.raises(Killed):
            train(stopped, progress=False)
    for _ in range(2):
        found = train(stopped, resume=True, progress=False)
        assert (found.stopped, found.best_epoch) == ("patience", expected.best_epoch)
        assert history(stopped.out) == history(whole.out)


def test_a_finished_run_is_not_trained_on(runs, copied, call, recipes, settings, tmp_path) -> None:
    run = copied("made")
    config = (run / "config.json").read_bytes()
    call("train", *recipes["made"], *settings, "--out", run, "--resume")
    assert differences(state(runs / "made"), state(run)) == []
    assert (run / "history.jsonl").read_bytes() == (runs / "made" / "history.jsonl").read_bytes()
    assert (run / "config.json").read_bytes() == config


KILL = """
import os, signal, sys
from inference import loop
from inference.train import main
loop.SECONDS_BETWEEN_CHECKPOINTS = 0.0
original, count = loop.Loop.descend, iter(range(1, 999))
def update(self, *arguments, **options):
    if next(count) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *arguments)
loop.Loop.descend = update
main(sys.argv[1:])
"""


def test_a_killed_process(tiny, call, recipes, settings, tmp_path) -> None:
    arguments = [*recipes["made"], *settings, "--epochs", "5"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    call("train", *arguments, "--out", whole)
    command = [sys.executable, "-c", KILL, *arguments, "--out", str(killed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, check=False, env=environment).returncode == -signal.SIGKILL
    assert state(killed)["epoch"] == 2
    call("train", *arguments, "--out", killed, "--resume")
    assert differences(state(whole), state(killed)) == []
    assert history(killed) == history(whole)
