"""The code of docs/arviz.md runs, on files written by hand, under the ArviZ that is installed."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import numpy as np
import xarray as xr

from analysis import arviz_compat
from tests.analysis.arviz_files import linear_latents

PAGE = (Path(__file__).parents[2] / "docs/arviz.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_walk_through(make_comparison, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    study = make_comparison(tmp_path / "runs/compare", images=30)
    linear_latents(study / "vae/seed-0/latents.nc", np.linspace(-2, 2, 5), draws=400)
    for member in ("made", "independent_pixels"):
        for run in (study / member).iterdir():
            evidence = xr.load_dataset(run / "evidence.nc", engine="h5netcdf").assign_attrs(split="valid")
            evidence.to_netcdf(run / "evidence-valid.nc", engine="h5netcdf")
    assert len(BLOCKS) == 6
    names: dict = {}
    arviz_compat.load_arviz()  # the notice that 0.23 prints once a day is an error here
    for block in BLOCKS:
        exec(compile(block, "docs/arviz.md", "exec"), names)
    printed = capsys.readouterr().out
    assert names["tree"]["posterior"]["z"].shape == (2, 200, 5, 4)
    assert (tmp_path / "forest.png").stat().st_size > 1000
    assert (tmp_path / "compare.png").stat().st_size > 1000
    assert "log_evidence[iw:5000] LOWER_BOUND" in printed
    assert "exact: made 1.00, independent_pixels 0.00" in printed
    assert "not mixed: vae: no evidence of the validation images" in printed
    assert names["loo"].sizes == {"image": 5}
