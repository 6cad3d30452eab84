"""The tables of an evaluation as they are printed: means over images, each with its claim."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from .evidence_file import read_evidence
from .sandwich import SANDWICH, SIMULATED


def print_evidence(folder: Path, dataset: xr.Dataset, names: Sequence[str]) -> None:
    """The table of the images of a split, and of simulated images where these were asked for as well."""
    print(f"{folder}: {dataset.attrs['program']} on {dataset.attrs['data']} {dataset.attrs['split']}")
    print(sandwich_table(dataset))
    if dataset.attrs["split"] != SIMULATED and any(name.startswith("bdmc:") for name in names):
        print(f"{folder}: {dataset.attrs['program']}, images simulated from it")
        print(sandwich_table(read_evidence(folder / SANDWICH)))


def table(dataset: xr.Dataset) -> str:
    """Means over images with their claims, one line per estimator."""
    lines = [
        f"{'estimator':<12} {'claim':<12} {'mean log p(x), nats':>20} {'s.e. over images':>17} {'images':>7}  k>0.7"
    ]
    for name in dataset.estimator.values:
        row = dataset.sel(estimator=name)
        values = row.log_evidence.dropna("image")
        error = f"{float(values.std(ddof=1)) / len(values) ** 0.5:.3f}" if len(values) > 1 else "-"
        k = row.pareto_k.dropna("image")
        share = f"{float((k > 0.7).mean()):.0%}" if len(k) else "-"
        numbers = f"{float(values.mean()):>20.3f} {error:>17} {len(values):>7}  {share}"
        lines.append(f"{name!s:<12} {row.claim.item():<12} {numbers}")
    return "\n".join(lines)


def sandwich_table(dataset: xr.Dataset) -> str:
    """The bounds on simulated images, and under them the width of each number of temperatures: mean over images of the
    upper bound minus the lower one, with the standard error of the paired differences."""
    lines, names = [table(dataset)], dataset.estimator.values.tolist()
    for upper in (name for name in names if name.startswith("bdmc:")):
        lower = upper.replace("bdmc:", "ais:")
        if lower in names:
            both = dataset.log_evidence
            width = (both.sel(estimator=upper) - both.sel(estimator=lower)).dropna("image")
            error = f" ± {float(width.std(ddof=1)) / len(width) ** 0.5:.3f}" if len(width) > 1 else ""
            lines.append(f"{upper} - {lower}: width {float(width.mean()):.3f}{error} nats over {len(width)} images")
    return "\n".join(lines)
