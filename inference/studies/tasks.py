"""Tasks of a study in parallel processes, on this machine or on a Dask cluster: a failure of one is not one of the
others, and what is finished is not done again."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import torch

from ppl_models.errors import InvalidInput

from ..run import write_json
from .pools import Pool

# Where a study folder keeps what became of each task.
MARKS = "tasks"
DIED = "the process that ran it died: killed from outside, out of memory, or by a fault in compiled code"


@dataclass(frozen=True)
class Task:
    """One thing to be made in one folder.

    Args:
        name: its folder, relative to the study's.
        make: makes it; it and its arguments must be picklable.
    """

    name: str
    make: Callable[[], object]


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Args:
        name: of the task.
        seconds: wall time it took.
        error: why it failed, in one line; empty where it is finished.
        earlier: whether an earlier call finished it.
    """

    name: str
    seconds: float
    error: str = ""
    earlier: bool = False


def mark_of(out: Path, name: str) -> Path:
    """The file that says what became of a task; names of tasks are paths, and a mark is one file."""
    return out / MARKS / f"{name.replace('/', '--')}.json"


def read_mark(out: Path, name: str) -> dict[str, Any]:
    """What became of a task: ``state`` is ``started``, ``finished`` or ``failed``; empty before it was started."""
    path = mark_of(out, name)
    return json.loads(path.read_text()) if path.is_file() else {}


def attempt(task: Task, out: Path) -> Outcome:
    """Make one task and write its mark; whatever it raises becomes its outcome."""
    path, start = mark_of(out, task.name), time.monotonic()
    write_json(path, {"task": task.name, "state": "started"})
    try:
        with one_thread():
            task.make()
    except (Exception, SystemExit) as error:  # noqa: BLE001  a failure is listed with its cause, and the others go on
        outcome = Outcome(task.name, time.monotonic() - start, in_one_line(error))
        write_mark(path, outcome, traceback.format_exc())
        return outcome
    outcome = Outcome(task.name, time.monotonic() - start)
    write_mark(path, outcome)
    return outcome


def write_mark(path: Path, outcome: Outcome, trace: str = "") -> None:
    """Write what became of a task."""
    content = {"task": outcome.name, "state": "finished", "seconds": round(outcome.seconds, 2)}
    if outcome.error:
        content |= {"state": "failed", "error": outcome.error, "traceback": trace}
    write_json(path, content)


def in_one_line(error: BaseException) -> str:
    """An error as the scripts would print it."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InvalidInput) else f"{type(error).__name__}: {text}".removesuffix(": ")


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes on one thread: processes in parallel share the cores, and results do not depend on how
    many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_tasks(
    tasks: Sequence[Task], out: Path, pool: Pool, report: Callable[[str], None], *, resume: bool = False
) -> list[Outcome]:
    """Make all tasks and say what became of each, in their order.

    A task that raises is listed as failed and the others go on. Where a worker process dies, those that were running
    are tried again, each in a process of its own: the one that dies again is listed as failed.

    Args:
        tasks: with different names.
        out: the study folder.
        pool: where they run.
        report: told of progress, a line each, with the time left by the mean of those made so far.
        resume: keep what an earlier call finished; what failed or was cut off is made again.
    """
    (out / MARKS).mkdir(parents=True, exist_ok=True)
    outcomes = {task.name: kept for task in tasks if resume and (kept := finished(out, task.name))}
    waiting = [task for task in tasks if task.name not in outcomes]
    for task in waiting:
        mark_of(out, task.name).unlink(missing_ok=True)
    if outcomes:
        report(f"{len(outcomes)} of {len(tasks)} are finished already")
    start = time.monotonic()
    for number, outcome in enumerate(made(waiting, out, pool), 1):
        outcomes[outcome.name] = outcome
        left = (time.monotonic() - start) / number * (len(waiting) - number)
        report(progress(outcome, len(tasks) - len(waiting) + number, len(tasks), left))
    return [outcomes[task.name] for task in tasks]


def finished(out: Path, name: str) -> Outcome | None:
    """The outcome of a task that an earlier call finished; ``None`` for others."""
    mark = read_mark(out, name)
    return Outcome(name, float(mark["seconds"]), earlier=True) if mark.get("state") == "finished" else None


def progress(outcome: Outcome, number: int, total: int, left: float) -> str:
    """One line on one task, with the time left."""
    what = f"failed: {outcome.error}" if outcome.error else f"{outcome.seconds:.0f} s"
    return f"[{number}/{total}] {outcome.name}: {what}{f'; about {in_words(left)} left' if number < total else ''}"


def in_words(seconds: float) -> str:
    """A duration to one unit."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def made(tasks: Sequence[Task], out: Path, pool: Pool) -> Iterator[Outcome]:
    """The outcomes as they come, whatever becomes of the processes."""
    waiting = {task.name: task for task in tasks}
    while waiting:
        try:
            for outcome in in_pool(list(waiting.values()), out, pool):
                del waiting[outcome.name]
                yield outcome
        except pool.deaths:
            # Which one killed the process is not known: those that were running are tried one at a time.
            for name in [name for name in waiting if read_mark(out, name)] or list(waiting)[:1]:
                yield finished(out, name) or alone(waiting[name], out, pool)
                del waiting[name]


def alone(task: Task, out: Path, pool: Pool) -> Outcome:
    """A task in a process of its own, after one in which it ran has died."""
    start = time.monotonic()
    try:
        return next(iter(in_pool([task], out, pool)))
    except pool.deaths:
        outcome = Outcome(task.name, time.monotonic() - start, DIED)
        write_mark(mark_of(out, task.name), outcome)
        return outcome


def in_pool(tasks: Sequence[Task], out: Path, pool: Pool) -> Iterator[Outcome]:
    """The outcomes as they come, until a process dies."""
    with pool.opened() as settings:
        yield from joblib.Parallel(return_as="generator_unordered", batch_size=1, **settings)(
            joblib.delayed(attempt)(task, out) for task in tasks
        )
