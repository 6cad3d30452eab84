"""``python -m analysis.import_evidence FILE.csv --claim LOWER_BOUND ...``: anyone's log p(x) joins a comparison.

A file of per-image log-likelihoods from another framework becomes a run folder with ``config.json`` and
``evidence.nc``. What the numbers are is declared and never guessed: their claim, unit, sign and images.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from analysis.claims import Claim
from analysis.command_line import Parser
from analysis.declared import Declared, check_nats, images_of
from analysis.errors import InvalidInput
from analysis.imported_run import Row, Subject, check_place, given_subject, subject_like, write_run
from analysis.imported_study import check_join, join_study
from analysis.imported_values import DEFAULT_COLUMN, UNITS, Column, in_nats, read_column


def import_evidence(
    path: str | Path,
    *,
    claim: str | Claim,
    estimator: str,
    program: str,
    out: str | Path,
    like: str | Path | None = None,
    subject: Subject | None = None,
    column: str = DEFAULT_COLUMN,
    stderr_column: str | None = None,
    units: str = "nats",
    negative: bool = False,
    tolerance: float | None = None,
    num_particles: int = 0,
    limit: int | None = None,
    split: str = "test",
    measure: str | None = None,
    seed: int = 0,
    join: str | Path | None = None,
) -> Path:
    """Read per-image log-likelihoods and write a run folder that `analysis.read_study` takes beside others.

    Args:
        path: ``.csv`` with a header or ``.nc``; a column ``image`` holds the indices in the split, without it the rows
            are in the split's order.
        claim: of the value v = log p(x) that results, after unit and sign: ``EXACT``, ``NUMERICAL`` (with
            ``tolerance``), ``LOWER_BOUND`` (E[v] <= log p(x), so an upper bound on the negative is one) or
            ``ESTIMATE``.
        estimator: its name, for example ``iw:5000``. An annealed value named ``ais:N`` that is a lower bound may
            indicate a verdict as ours may.
        program: the name of the program that gave the numbers.
        out: the run folder. If it holds imported numbers of the same program on the same images, the estimator is
            added or replaced.
        like: a run on the same data: levels, digest, images and base measure are taken from it.
        subject: the same, given instead of ``like``.
        column, stderr_column: which columns to read.
        units: ``nats``, ``bits`` or ``bits_per_dim``; converted to nats by 1, ln 2 and D ln 2.
        negative: the file holds negative log-likelihoods; they are multiplied by -1.
        tolerance: nats, for ``NUMERICAL`` alone.
        num_particles: K of the estimator, 0 if there is none.
        limit: only the first so many images of the split are in the file; all must be otherwise.
        split: of which split the images are.
        measure: ``mass`` or ``density``, if another than that of ``like``.
        seed: of the training that gave the numbers; the runs of one member differ in it.
        join: a study that holds ``out``: the program is added to its ``study.json``. Digest, levels and size of the
            images must be those of its runs.

    Returns:
        The run folder.

    Raises:
        InvalidInput: an upper bound or a refusal as claim; an exact log mass above 0; missing, unknown or repeated
            images; a value that is no number, named by its line; a contradiction in what is declared. Nothing is
            written then.
    """
    path, out, join = Path(path), Path(out), None if join is None else Path(join)
    declared = Declared.checked(claim, units, negative, tolerance, stderr_column)
    _check_names(estimator=estimator, program=program)
    if num_particles < 0:
        raise InvalidInput("--num-particles", num_particles, "counts samples", "give K, or 0 where there are none")
    if seed < 0:
        raise InvalidInput("--seed", seed, "is no seed", "give 0 or more, the one of the training")
    about = _about(like, subject, split, measure)
    found = read_column(path, column, stderr_column, units)
    nats, stderr = _by_image(path, found, about, declared, units, negative, limit)
    row = Row(estimator, declared.claim, nats, stderr, num_particles, declared.tolerance)
    check_place(out)
    if join is not None:
        check_join(join, out, program, seed, about)
    source = {"column": column, "units": units, "negative": negative}
    folder = write_run(out, path, row, program, about, seed, source)
    if join is not None:
        join_study(join, folder, program)
    return folder


def _about(like: str | Path | None, subject: Subject | None, split: str, measure: str | None) -> Subject:
    """What the numbers are about, which one of the two has to say."""
    if (like is None) == (subject is None):
        remedy = "give --like RUN, or all of --data --data-digest --levels --data-dim --num-images"
        raise InvalidInput("--like", like or "(missing)", "the data are named twice or not at all", remedy)
    return subject_like(Path(like), split, measure) if subject is None else subject


def _by_image(
    path: Path, found: Column, about: Subject, declared: Declared, units: str, negative: bool, limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """log p(x) and its standard error of every image of the split, nats: (N,), NaN where the file has none."""
    places = np.searchsorted(about.images, images_of(path, found, about, limit))
    values = in_nats(found.values, units, about.data_dim) * (-1 if negative else 1)
    check_nats(path, found.rows, values, declared, about)
    nats, stderr = (np.full(about.images.size, np.nan) for _ in range(2))
    nats[places] = values
    if found.stderr is not None:
        stderr[places] = in_nats(found.stderr, units, about.data_dim)
    return nats, stderr


def _check_names(**names: str) -> None:
    for argument, name in names.items():
        if not name or name != name.strip() or any(character in name for character in "/\\\n"):
            raise InvalidInput(f"--{argument}", repr(name), "is no name", "give a word without slashes")


def _parser() -> Parser:
    p = Parser("python -m analysis.import_evidence", __doc__.splitlines()[0])
    p.add_argument("file", type=Path, help=".csv with a header, or .nc; column image: index in the split")
    p.add_argument(
        "--claim", required=True, help="EXACT, NUMERICAL, LOWER_BOUND or ESTIMATE: of log p(x), sign applied"
    )
    p.add_argument("--estimator", required=True, help="its name, for example iw:5000")
    p.add_argument("--program", required=True, help="the name of the program that gave the numbers")
    p.add_argument("--out", required=True, type=Path, help="the run folder to write")
    p.add_argument("--like", type=Path, help="a run on the same data, from which the five options below are taken")
    p.add_argument("--data", help="name of the data set")
    p.add_argument("--data-digest", help="sha256:... of its images, as in config.json of a run on them")
    p.add_argument("--levels", type=int, help="number of grey levels; 0 for real values")
    p.add_argument("--data-dim", type=int, help="number of pixels D; bits per dimension need it")
    p.add_argument("--num-images", type=int, help="number of images in the split")
    p.add_argument("--measure", choices=("mass", "density"), help="default: of --like; mass, or density of real values")
    p.add_argument("--column", default=DEFAULT_COLUMN, help=f"default: {DEFAULT_COLUMN}")
    p.add_argument("--stderr-column", help="Monte Carlo standard errors, in the same unit")
    p.add_argument("--units", choices=UNITS, default="nats", help="of the file; default: nats")
    p.add_argument("--negative", action="store_true", help="the file holds negative log-likelihoods")
    p.add_argument("--tolerance", type=float, help="nats, for NUMERICAL")
    p.add_argument("--num-particles", type=int, default=0, help="K of the estimator")
    p.add_argument("--limit", type=int, help="the file holds the first so many images of the split")
    p.add_argument("--split", default="test", choices=("test", "valid", "train"))
    p.add_argument("--seed", type=int, default=0, help="of the training that gave the numbers")
    p.add_argument("--join", type=Path, help="a study that holds --out: add the program to its study.json")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """The script. Returns 0, or 2 after one line on standard error."""
    options: dict[str, Any] = vars(_parser().parse_args(arguments))
    try:
        subject = given_subject(options)
        path = options.pop("file")
        folder = import_evidence(path, subject=subject, **options)
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{folder}: {options['estimator']} of {options['program']}, {options['claim']}, imported from {path}")
    return 0


class _CallableModule(ModuleType):
    """``analysis.import_evidence`` is the function until this module is imported, then the module: both are called."""

    def __call__(self, *arguments: Any, **options: Any) -> Path:
        return import_evidence(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule

if __name__ == "__main__":
    sys.exit(main())
