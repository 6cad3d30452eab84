"""Evidence files: what is read, what is refused, and what is never compared."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.errors import Incomparable, InvalidInput
from analysis.evidence import check_comparable, common_images, read_evidence, read_sandwich


def test_read_back(folders) -> None:
    file = folders.evidence("run", {"exact": ("EXACT", [-1.0, -2.0, -3.0]), "iw:50": ("none", "no guide")})
    evidence = read_evidence(file)
    assert evidence["exact"].nats.tolist() == [-1, -2, -3]
    assert [values.reason for values in evidence.refusals] == ["no guide"]
    assert evidence.measure == "mass"
    with pytest.raises(InvalidInput, match="known: exact, iw:50"):
        evidence["elbo:1"]


@pytest.mark.parametrize(
    ("estimators", "options", "message"),
    [
        ({"exact": ("CERTAIN", [-1.0])}, {}, "is no known claim; write one of EXACT"),
        ({"exact": ("EXACT", [0.5])}, {}, "exact log mass above 0"),
        ({"exact": ("EXACT", [np.inf])}, {}, "infinite"),
        ({"exact": ("EXACT", [np.nan])}, {}, "has no number"),
        ({"exact": ("NUMERICAL", [-1.0])}, {}, "without a tolerance"),
        ({"bdmc:10": ("UPPER_BOUND", [-1.0])}, {}, "given images does not exist; write it to sandwich.nc"),
        ({"elbo:4": ("LOWER_BOUND", [-1.0])}, {"stderr": -1.0}, "negative standard error"),
        ({"exact": ("none", "")}, {}, "without a reason"),
        ({"exact": ("EXACT", [-1.0])}, {"units": "bits"}, "units bits: are not nats"),
        ({"exact": ("EXACT", [-1.0])}, {"measure": "volume"}, "measure volume"),
        ({"exact": ("EXACT", [-1.0])}, {"measure": "none"}, "measure none"),
    ],
)
def test_malformed(folders, estimators: dict, options: dict, message: str) -> None:
    file = folders.evidence("run", estimators, **options)
    with pytest.raises(InvalidInput, match=message) as error:
        read_evidence(file)
    assert "\n" not in str(error.value)


def test_a_density_may_exceed_one(folders) -> None:
    file = folders.evidence("run", {"exact": ("EXACT", [3.0])}, measure="density")
    assert read_evidence(file)["exact"].nats.tolist() == [3.0]


def test_upper_bounds_live_in_the_sandwich(folders) -> None:
    rows = {"ais:10": ("LOWER_BOUND", [-2.0, -2.0]), "bdmc:10": ("UPPER_BOUND", [-1.0, -1.5])}
    file = folders.evidence("run", rows, file="sandwich.nc")
    assert read_sandwich(file)["bdmc:10"].nats.tolist() == [-1.0, -1.5]


def test_missing_and_broken_files(folders) -> None:
    with pytest.raises(InvalidInput, match=r"evidence\.nc \(missing\): there is no such file; make it again"):
        read_evidence(folders.root / "evidence.nc")
    (folders.root / "evidence.nc").write_bytes(b"not a netCDF file")
    with pytest.raises(InvalidInput, match="not a readable netCDF"):
        read_evidence(folders.root / "evidence.nc")


@pytest.mark.parametrize(
    ("name", "value"),
    [("measure", "density"), ("levels", 256), ("data_digest", "sha256:bbbb"), ("split", "valid")],
)
def test_never_compared_across(make_evidence, name: str, value: object) -> None:
    rows = {"exact": ("EXACT", [-1.0, -2.0])}
    with pytest.raises(Incomparable, match=name.replace("_", " ")):
        check_comparable(make_evidence(rows), make_evidence(rows, **{name: value}))


def test_never_compared_over_other_images(make_evidence) -> None:
    rows = {"exact": ("EXACT", [-1.0, -2.0])}
    with pytest.raises(Incomparable, match="images differ"):
        check_comparable(make_evidence(rows), make_evidence(rows, images=np.array([0, 5])))


def test_partly_evaluated_images() -> None:
    full, head = np.array([1.0, 2.0, 3.0]), np.array([1.0, np.nan, np.nan])
    assert common_images(full, full) == 3
    assert common_images(full, head) == 1
    with pytest.raises(Incomparable, match="with gaps"):
        common_images(full, np.array([1.0, np.nan, 3.0]))
    with pytest.raises(Incomparable, match="no image"):
        common_images(full, np.full(3, np.nan))
