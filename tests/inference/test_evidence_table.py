"""The tables that ``evaluate`` prints, of numbers written down by hand."""

from __future__ import annotations

import numpy as np
import xarray as xr

from inference.evidence_table import sandwich_table, table


def evidence(**rows: list[float]) -> xr.Dataset:
    names = [name.replace("_", ":") for name in rows]
    values = np.array(list(rows.values()))
    pareto_k = np.array([[0.9 if name == "iw:8" else np.nan] * values.shape[1] for name in names])
    claims = ["UPPER_BOUND" if name.startswith("bdmc") else "LOWER_BOUND" for name in names]
    return xr.Dataset(
        {
            "log_evidence": (("estimator", "image"), values),
            "pareto_k": (("estimator", "image"), pareto_k),
            "claim": ("estimator", claims),
        },
        coords={"estimator": names, "image": np.arange(values.shape[1])},
    )


def test_means_have_errors_over_images_and_only_importance_weights_a_share_of_bad_ones() -> None:
    lines = table(evidence(iw_8=[-3.0, -5.0, -4.0], ais_2=[-4.0, np.nan, -2.0])).splitlines()
    assert lines[1].split() == ["iw:8", "LOWER_BOUND", "-4.000", "0.577", "3", "100%"]
    assert lines[2].split() == ["ais:2", "LOWER_BOUND", "-3.000", "1.000", "2", "-"]


def test_the_width_of_a_sandwich_is_paired_over_images() -> None:
    found = evidence(ais_2=[-10.0, -2.0, -30.0], bdmc_2=[-9.0, -2.0, -28.0], bdmc_4=[-9.5, -2.0, -29.0])
    lines = sandwich_table(found).splitlines()
    assert lines[4:] == ["bdmc:2 - ais:2: width 1.000 ± 0.577 nats over 3 images"]
    assert lines[:4] == table(found).splitlines()


def test_one_image_has_no_error() -> None:
    assert sandwich_table(evidence(ais_2=[-10.0], bdmc_2=[-9.0])).endswith("width 1.000 nats over 1 images")
