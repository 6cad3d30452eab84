"""Make the runs that answer one question. The report reads them out.

python -m inference.study compare --data digits --out runs/compare
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from ppl_models.errors import InvalidInput, nearest

from .cli import parse, run_script
from .data import load_data
from .studies import STUDIES, Plan, Pool, of_budget, run_plan


def parser() -> ArgumentParser:
    """The options of this script."""
    p = ArgumentParser(prog="python -m inference.study", exit_on_error=False, allow_abbrev=False, description=__doc__)
    p.add_argument("study", help=f"one of: {', '.join(STUDIES)}")
    p.add_argument("--data", default="digits", help="a data set's name or an .npz file")
    p.add_argument(
        "--data-dir",
        type=str | None,
        default=None,
        help="where larger data sets lie; else $PPL_DATA",
    )
    p.add_argument("--out", required=True, help="the study folder")
    p.add_argument("--budget", default="quick", help="quick or full")
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time, one thread each")
    p.add_argument("--sweep", type=str | None, default=None, help="collapse: make the sweeps of this file instead")
    p.add_argument("--dask", type=str | None, default=None, help="collapse: use the workers of this Dask scheduler")
    p.add_argument("--resume", action="store_true", help="keep the runs that are finished")
    p.add_argument("--overwrite", action="store_true", help="make all runs again")
    return p


def plan_of(options: Any) -> Plan:
    """The plan that the command line asks for.

    Raises:
        InvalidInput: for an unknown study, budget or data set, or fewer than one job.
    """
    if options.study not in STUDIES:
        raise InvalidInput("study", options.study, "unknown study", nearest(options.study, STUDIES))
    study = STUDIES[options.study]
    if options.budget not in study.SEEDS:
        raise InvalidInput("--budget", options.budget, "unknown budget", f"use {' or '.join(study.SEEDS)}")
    if options.jobs < 1:
        raise InvalidInput("--jobs", options.jobs, "must be at least 1", "give a number of processes")
    for option, value in (("--sweep", options.sweep), ("--dask", options.dask)):
        if value is not None and not hasattr(study, "run"):
            able = " or ".join(name for name, each in STUDIES.items() if hasattr(each, "run"))
            raise InvalidInput(option, value, f"the study {options.study} has no such option", f"use it with {able}")
    if options.resume and options.overwrite:
        raise InvalidInput("--resume", "--overwrite", "continuing and replacing exclude each other", "give one of them")
    data_dir = Path(options.data_dir) if options.data_dir else None
    load_data(options.data, data_dir)
    return Plan(
        options.study, study.QUESTION, of_budget(study.MEMBERS, options.budget), study.SEEDS[options.budget],
        options.data, data_dir, Path(options.out), options.budget, options.resume, options.overwrite,
    )  # fmt: skip


def tell(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)


def main(argv: Sequence[str]) -> None:
    """Make the study that the command line asks for; exits with code 1 where a part of it failed."""
    options = parse(parser(), argv)
    plan = plan_of(options)
    command = shlex.join(["python", "-m", "inference.study", *argv])
    study, pool = STUDIES[options.study], Pool(options.jobs, options.dask)
    if hasattr(study, "run"):
        sweep = Path(options.sweep) if options.sweep else None
        outcomes = study.run(plan, pool, command, tell, sweep)
    else:
        outcomes = run_plan(plan, pool, command, tell)
    failed = [each for each in outcomes if each.error]
    for each in failed:
        tell(f"failed: {each.name}: {each.error}")
    print(f"{plan.out}/study.json written; read it with: python -m analysis.report {plan.out}")
    if failed:
        count = f"{len(failed)} of {len(outcomes)} failed"
        print(f"{count}: {plan.out}/tasks says why; --resume tries again", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run_script(main)
    sys.exit(0)
