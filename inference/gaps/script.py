"""``--gap`` of ``inference.evaluate``: its options, the split of a run's gap, and the table that is printed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from ppl_models.errors import InvalidInput

from ..cli import parse_options
from ..evidence_file import attributes, read_evidence
from ..run import Run
from .bracket import Bracket, bracket_of, nothing_known
from .closed_form import closed_form_gap
from .decompose import decompose
from .family import check_splittable
from .gap_file import as_dataset, read_gap, write_gap
from .settings import GapSettings

# What must agree for a file to answer the question that is asked: of the run, and of the search.
OF_THE_RUN = ("data_digest", "split", "program", "guide", "seed", "epoch")
OF_THE_SEARCH = ("starts", "steps", "learning_rate", "num_particles", "final_particles")


def gap_settings(asked: bool, tokens: Sequence[str], scored: bool = True) -> GapSettings | None:
    """What ``--gap.NAME VALUE`` sets; ``None`` without ``--gap``.

    Args:
        asked: whether ``--gap`` was given.
        tokens: its options.
        scored: whether estimators were named: the gap is what the ELBO lacks of what they say.

    Raises:
        InvalidInput: for an unknown option, a value that cannot be used, options without ``--gap``, or no estimators.
    """
    if asked and not scored:
        problem = "log p(x), of which the ELBO falls short, is to be estimated too"
        raise InvalidInput("--gap", "", problem, "add for example --estimators elbo:64 iw:5000")
    if not asked and tokens:
        raise InvalidInput(f"--gap.{tokens[0][2:]}", " ".join(tokens[1:2]), "belongs to --gap", "add --gap")
    return GapSettings(**parse_options(GapSettings, list(tokens), "gap", ())) if asked else None


def gap_path(folder: Path, split: str) -> Path:
    """The file of a split's gaps: ``gap.nc`` for the test images, ``gap-SPLIT.nc`` beside it for others."""
    return folder / ("gap.nc" if split == "test" else f"gap-{split}.nc")


def check_gap(run: Run, x: Tensor, path: Path, settings: GapSettings, *, overwrite: bool, resume: bool) -> None:
    """What can be known before anything is computed.

    Args:
        run: whose gap is to be split.
        x: the images that are scored, at least one (N, D).
        path: the file to be written.
        settings: of the search.
        overwrite: whether a file that is there may be replaced.
        resume: whether it may be kept.

    Raises:
        InvalidInput: as ``check_splittable``; for more images than are scored; or for a file that is there already.
    """
    check_splittable(run.program, run.guide, x)
    if settings.images is not None and settings.images > len(x):
        problem = f"only {len(x)} images are scored, and the bracket of the others would not be known"
        raise InvalidInput("--gap.images", settings.images, problem, f"give at most {len(x)}, or a larger --limit")
    if path.exists() and not (overwrite or resume):
        remedy = "delete it, or begin anew with --overwrite, which forgets the evidence too"
        raise InvalidInput("--gap", str(path), "is there already", remedy)


def answers(path: Path, attrs: Mapping[str, Any], settings: GapSettings, index: list[int], bracket: Bracket) -> bool:
    """Whether a file holds the gaps that are asked for: of the same weights and images, by the same search, and
    against log p(x) from the same estimators."""
    if not path.is_file():
        return False
    present = read_gap(path)
    asked = {**attrs, **asdict(settings)}
    same = all(present.attrs.get(key) == asked[key] for key in (*OF_THE_RUN, *OF_THE_SEARCH))
    sources = [present.attrs.get(f"{side}_source") for side in ("lower", "upper")]
    known = sources == [bracket.lower_source, bracket.upper_source]
    return same and known and present.image.values.tolist() == index


def gap_of_run(
    run: Run, x: Tensor, index: Sequence[int], split: str, evidence: Path, settings: GapSettings, *,
    resume: bool = False, progress: bool = False,
) -> xr.Dataset:  # fmt: skip
    """Split the gap of a run's ELBO on the images, write the file, and return its content.

    log p(x) is bracketed by what the evidence file holds of these images (``bracket_of``), whoever put it there.

    Args:
        run: the trained pair.
        x, index: images (N, D) and their indices in the split.
        split: its name.
        evidence: file with evidence on that split; need not exist.
        settings: of the search.
        resume: keep a file that answers the same question.
        progress: show a bar.
    """
    x, index = x[: settings.images], list(index)[: settings.images]
    path, attrs = gap_path(run.path, split), attributes(run.config, split, run.epoch)
    bracket = bracket_of(read_evidence(evidence), index) if evidence.is_file() else nothing_known(len(x))
    if resume and answers(path, attrs, settings, index, bracket):
        return read_gap(path)
    start = time.monotonic()
    gap = decompose(run.program, run.guide, x, index, bracket, settings, seed=run.config["seed"], progress=progress)
    attrs["seconds"] = time.monotonic() - start
    dataset = as_dataset(gap, index, attrs, settings, closed_form_gap(run.program, run.guide))
    write_gap(path, dataset)
    return dataset


# Row of the table -> (variable, what its mean is to the quantity).
ROWS = (
    ("log p(x)", "log_evidence_lower", "at least"),
    ("log p(x)", "log_evidence_upper", "at most"),
    ("ELBO of the guide", "elbo", "lower bound"),
    ("ELBO of the best member found", "best_elbo", "lower bound"),
    ("gap of the ELBO", "gap_lower", "at least"),
    ("gap of the ELBO", "gap_upper", "at most"),
    ("  amortization gap", "amortization_gap_lower", "at least"),
    ("  approximation gap", "approximation_gap_upper", "at most"),
    ("  approximation gap", "approximation_gap_if_converged", "at least, if the search found the best"),
)


def gap_table(dataset: xr.Dataset) -> str:
    """Means over images with what they claim, one line per quantity; a side that is not known says so."""
    attrs = dataset.attrs
    head = f"gap of the ELBO, {dataset.sizes['image']} images, log p(x) {sides(attrs)}; nats per image"
    lines = [head, f"{'quantity':<30} {'claim':<38} {'mean':>10} {'s.e. over images':>17}"]
    for label, name, claim in ROWS:
        values = dataset[name].values
        if np.isnan(values).any():
            lines.append(f"{label:<30} {claim:<38} {'not known':>10}")
            continue
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        lines.append(f"{label:<30} {claim:<38} {values.mean():>10.3f} {error:>17.3f}")
    if "approximation_gap_closed_form" in attrs:
        known = attrs["approximation_gap_closed_form"]
        lines.append(f"{'  approximation gap':<30} {'is, in closed form':<38} {known:>10.3f}")
    return "\n".join([*lines, agreement(dataset)])


def sides(attrs: Mapping[str, Any]) -> str:
    """Where the bracket comes from, in words."""
    lower, upper = attrs["lower_source"] or "nothing but the ELBO", attrs["upper_source"] or "nothing"
    return f"by {lower}" if lower == upper else f"from below by {lower}, from above by {upper}"


def agreement(dataset: xr.Dataset) -> str:
    """Which starts won, and how far apart they ended: a search whose starts disagree has not found the best member."""
    names, chosen = dataset.candidate.values.tolist(), dataset.chosen.values
    shares = ", ".join(f"{name} {np.mean(chosen == place):.0%}" for place, name in enumerate(names))
    ends = dataset.elbo_of_candidate.values[1:]
    spread = float(np.median(ends.max(0) - ends.min(0)))
    return f"best member: {shares}; the starts end {spread:.3f} nats apart (median over images)"
