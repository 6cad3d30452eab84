"""The table of an evaluation as it is printed: means over images, each with its claim."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from .evidence_file import read_evidence
from .sandwich import SANDWICH, SIMULATED


def print_evidence(folder: Path, dataset: xr.Dataset, names: Sequence[str]) -> None:
    """The table of the images of a split, and of simulated images where these were asked for as well."""
    print(f"{folder}: {dataset.attrs['program']} on {dataset.attrs['data']} {dataset.attrs['split']}")
    print(table(dataset))
    if dataset.attrs["split"] != SIMULATED and any(name.startswith("bdmc:") for name in names):
        print(f"{folder}: {dataset.attrs['program']}, images simulated from it")
        print(table(read_evidence(folder / SANDWICH)))


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
