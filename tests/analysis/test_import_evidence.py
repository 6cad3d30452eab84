"""Someone's numbers, with a declared claim: read as they were declared, or refused in one line."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import analysis
from analysis.claims import Claim
from analysis.errors import InvalidInput
from analysis.import_evidence import import_evidence, main
from analysis.imported_run import Subject
from analysis.runs import read_study
from tests.analysis.imported_files import OURS, THEIRS, N, declared, table, trained

ROOT = Path(__file__).parents[2]


@pytest.fixture
def like(folders) -> Path:
    return trained(folders)


def read_back(folder: Path) -> analysis.Evidence:
    return analysis.read_evidence(folder / "evidence.nc")


def test_a_csv_of_nats_becomes_a_run(like, tmp_path) -> None:
    file = table(tmp_path / "t.csv", log_evidence=THEIRS, error=np.full(N, 0.25))
    folder = import_evidence(file, **declared(like, tmp_path), stderr_column="error", num_particles=5000, seed=3)
    evidence = read_back(folder)
    values = evidence["iw:5000"]
    assert values.nats == pytest.approx(THEIRS, abs=1e-12)
    assert values.stderr.tolist() == [0.25] * N
    assert (values.claim, values.num_particles) == (Claim.LOWER_BOUND, 5000)
    assert (evidence.program, evidence.seed, evidence.measure, evidence.levels) == ("theirs", 3, "mass", 2)
    assert (evidence.data_digest, evidence.split) == ("sha256:aaaa", "test")
    assert evidence.images.tolist() == list(range(N))
    config = json.loads((folder / "config.json").read_text())
    assert config["commit"] == "imported"
    entry = config["imported"]["test iw:5000"]
    assert entry["file"] == "t.csv"
    assert entry["sha256"].startswith("sha256:")
    assert read_study(folder).members[0].runs[0].missing == {}


@pytest.mark.parametrize(
    ("units", "negative", "factor"),
    [
        ("nats", False, 1.0),
        ("nats", True, -1.0),
        ("bits", False, 0.6931471805599453),
        ("bits", True, -0.6931471805599453),
        ("bits_per_dim", True, -64 * 0.6931471805599453),
    ],
)
def test_units_and_sign_are_converted_as_declared(like, tmp_path, units: str, negative: bool, factor: float) -> None:
    """One bit is ln 2 nats, one bit per dimension 64 of them; errors change their unit and never their sign."""
    written = THEIRS / factor
    file = table(tmp_path / "t.csv", nll=written, error=np.full(N, 0.5))
    options = declared(like, tmp_path, units=units, negative=negative, column="nll", stderr_column="error")
    values = read_back(import_evidence(file, **options))["iw:5000"]
    assert values.nats == pytest.approx(THEIRS, rel=1e-12)
    assert values.stderr == pytest.approx(np.full(N, 0.5 * abs(factor)), rel=1e-12)


def test_an_index_column_puts_values_in_their_place(like, tmp_path) -> None:
    order = np.random.default_rng(0).permutation(N)
    file = table(tmp_path / "t.csv", image=order, log_evidence=THEIRS[order])
    assert read_back(import_evidence(file, **declared(like, tmp_path)))["iw:5000"].nats == pytest.approx(THEIRS)


def test_the_first_images_alone_when_it_is_said(like, tmp_path) -> None:
    file = table(tmp_path / "t.csv", log_evidence=THEIRS[:10])
    with pytest.raises(InvalidInput, match=r"has 10 values for 12 images; add a column image, or --limit N"):
        import_evidence(file, **declared(like, tmp_path))
    nats = read_back(import_evidence(file, **declared(like, tmp_path), limit=10))["iw:5000"].nats
    assert nats[:10] == pytest.approx(THEIRS[:10])
    assert np.isnan(nats[10:]).all()


def test_a_netcdf_variable_with_its_images(like, tmp_path) -> None:
    order = np.random.default_rng(1).permutation(N)
    dataset = xr.Dataset({"lls": ("image", THEIRS[order] / math.log(2))}, {"image": order}, {"units": "bits"})
    dataset.to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    options = declared(like, tmp_path, column="lls")
    with pytest.raises(InvalidInput, match="--units nats: the file says units bits; give --units bits"):
        import_evidence(tmp_path / "t.nc", **options)
    values = read_back(import_evidence(tmp_path / "t.nc", **options, units="bits"))["iw:5000"]
    assert values.nats == pytest.approx(THEIRS)


def test_data_described_by_hand(tmp_path) -> None:
    subject = Subject("digits", "sha256:aaaa", 2, 64, np.arange(N), shape=(1, 1, 64))
    options = declared(None, tmp_path, claim="NUMERICAL", tolerance=0.25, subject=subject)
    evidence = read_back(import_evidence(table(tmp_path / "t.csv", log_evidence=THEIRS), **options))
    assert (evidence["iw:5000"].tolerance, evidence.data_digest) == (0.25, "sha256:aaaa")


def test_estimators_gather_in_one_run_and_replace_their_own(like, tmp_path) -> None:
    for estimator, shift in (("elbo:1", -3.0), ("iw:5000", 0.0), ("elbo:1", -2.0)):
        file = table(tmp_path / "t.csv", log_evidence=THEIRS + shift)
        folder = import_evidence(file, **declared(like, tmp_path, estimator=estimator))
    evidence = read_back(folder)
    assert [v.estimator for v in evidence.values] == ["iw:5000", "elbo:1"]
    assert evidence["elbo:1"].nats == pytest.approx(THEIRS - 2)
    assert set(json.loads((folder / "config.json").read_text())["imported"]) == {"test elbo:1", "test iw:5000"}


def test_validation_numbers_lie_beside(folders, like, tmp_path) -> None:
    folders.evidence("made/seed-0", {"exact": ("EXACT", OURS[:5])}, file="evidence-valid.nc", split="valid")
    import_evidence(table(tmp_path / "t.csv", log_evidence=THEIRS), **declared(like, tmp_path))
    folder = import_evidence(
        table(tmp_path / "v.csv", log_evidence=THEIRS[:5]), **declared(like, tmp_path, split="valid")
    )
    run = read_study(folder).members[0].runs[0]
    assert (run.evidence.images.size, run.validation.images.size, run.validation.split) == (N, 5, "valid")


def test_function_and_module_are_called_alike(like, tmp_path) -> None:
    file = table(tmp_path / "t.csv", log_evidence=THEIRS)
    assert analysis.import_evidence(file, **declared(like, tmp_path)) == tmp_path / "theirs"


LINES = [f"{i},{value}" for i, value in enumerate(THEIRS)]
HEAD = "image,log_evidence"
BAD_FILES = {
    "nan": ([HEAD, *LINES[:5], "5,nan", "6,nan", *LINES[7:]], r"line 7: is NaN in log_evidence \(and 1 more\)"),
    "empty": ([HEAD, *LINES[:5], "5,", *LINES[6:]], "line 7 '': is empty in column log_evidence"),
    "text": ([HEAD, "0,1e", *LINES[1:]], "line 2 '1e': is no number"),
    "underscore": ([HEAD, "0,-1_0", *LINES[1:]], "line 2 '-1_0': is no number"),
    "comma": ([HEAD, "0,-1,5", *LINES[1:]], r"line 2: has another number of columns .* write 1\.5, not 1,5"),
    "short": ([HEAD, "0", *LINES[1:]], "line 2: has another number of columns"),
    "missing": ([HEAD, *LINES[:3], *LINES[5:]], "images 3, 4: 2 of 12 are missing"),
    "unknown": ([HEAD, *LINES, "12,-3"], "line 14 image 12: is not among the 12 images of digits"),
    "twice": ([HEAD, *LINES[:-1], LINES[0]], "line 13: names image 0 again"),
    "fraction": ([HEAD, *LINES[:-1], "0.5,-3"], r"line 13 0\.5: is no image index"),
    "no header": (LINES, "line 1: is no header"),
    "same name": (["log_evidence,log_evidence", "1,2"], "names a column twice"),
    "other name": (["image,nll", *LINES], r"--column log_evidence: is not in t\.csv; it has: image, nll"),
    "nothing": ([], "is empty"),
    "header only": ([HEAD], "holds no numbers"),
    "infinite": ([HEAD, "0,inf", *LINES[1:]], r"line 2: gives log p\(x\) = \+infinity"),
    "positive": ([HEAD, *(f"{i},{-v}" for i, v in enumerate(THEIRS))], "is above 0.*give --negative"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_files_that_cannot_be_read_as_declared(like, tmp_path, kind: str) -> None:
    lines, message = BAD_FILES[kind]
    (tmp_path / "t.csv").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(InvalidInput, match=message):
        import_evidence(tmp_path / "t.csv", **declared(like, tmp_path))
    assert not (tmp_path / "theirs").exists(), "nothing is written"


BAD_DECLARATIONS = {
    "upper": ({"claim": "UPPER_BOUND"}, "--claim UPPER_BOUND: no upper bound exists on given images"),
    "none": ({"claim": "none"}, "--claim none: cannot be imported"),
    "unknown": ({"claim": "BOUND"}, "--claim BOUND: cannot be imported; declare LOWER_BOUND"),
    "misspelt": ({"claim": "exakt"}, "--claim exakt: cannot be imported; declare EXACT"),
    "far off": ({"claim": "nll"}, "declare one of EXACT, NUMERICAL, LOWER_BOUND, ESTIMATE"),
    "units": ({"units": "bits/dim"}, "--units bits/dim: is not known; give one of nats, bits, bits_per_dim"),
    "no tolerance": ({"claim": "NUMERICAL"}, r"--tolerance \(missing\): belongs to NUMERICAL"),
    "tolerance": ({"tolerance": 0.1}, r"--tolerance 0\.1: belongs to NUMERICAL"),
    "negative tolerance": ({"claim": "NUMERICAL", "tolerance": -0.1}, "--tolerance"),
    "exact error": ({"claim": "EXACT", "stderr_column": "image"}, "EXACT values have no Monte Carlo error"),
    "limit": ({"limit": 13}, "--limit 13: is no number of images; give 1 to 12"),
    "name": ({"program": "a/b"}, "--program 'a/b': is no name"),
    "particles": ({"num_particles": -1}, "--num-particles -1"),
    "seed": ({"seed": -3}, "--seed -3: is no seed"),
    "no data": ({"like": None}, "the data are named twice or not at all"),
    "no run": ({"like": Path("nowhere")}, "--like nowhere: is no run folder"),
    "split": ({"split": "valid"}, r"has no evidence-valid\.nc, .*inference\.evaluate .* --split valid"),
}


@pytest.mark.parametrize("kind", BAD_DECLARATIONS)
def test_declarations_that_contradict_themselves(like, tmp_path, kind: str) -> None:
    changes, message = BAD_DECLARATIONS[kind]
    file = table(tmp_path / "t.csv", image=range(N), log_evidence=THEIRS)
    with pytest.raises(InvalidInput, match=message):
        import_evidence(file, **declared(like, tmp_path, **changes))
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(("claim", "tolerance", "value", "refused"), [
    ("EXACT", None, 0.0005, False),
    ("EXACT", None, 0.1, True),
    ("NUMERICAL", 0.2, 0.1, False),
    ("NUMERICAL", 0.05, 0.1, True),
    ("LOWER_BOUND", None, 0.1, False),
])  # fmt: skip
def test_a_probability_above_one(like, tmp_path, claim: str, tolerance, value: float, refused: bool) -> None:
    """Rounding passes, a tolerance covers itself, and the noise of a bound may take a single value above 0."""
    file = table(tmp_path / "t.csv", log_evidence=[*THEIRS[:4], value, *THEIRS[5:]])
    options = declared(like, tmp_path, claim=claim, tolerance=tolerance)
    if not refused:
        assert read_back(import_evidence(file, **options))["iw:5000"].nats[4] == pytest.approx(value)
        return
    with pytest.raises(InvalidInput, match=r"line 6: .* log mass 0\.1 nats is above 0, a probability above 1"):
        import_evidence(file, **options)
    density = read_back(import_evidence(file, **options, measure="density"))
    assert density.measure == "density", "a density may be above 1"


def test_negative_errors_and_shapes_of_netcdf(like, tmp_path) -> None:
    file = table(tmp_path / "t.csv", log_evidence=THEIRS, error=[*np.ones(N - 1), -1.0])
    with pytest.raises(InvalidInput, match="line 13: has a negative standard error"):
        import_evidence(file, **declared(like, tmp_path, stderr_column="error"))
    variables = {"two": (("k", "image"), np.ones((2, N))), "text": ("image", ["a"] * N), "one": ("image", THEIRS)}
    xr.Dataset(variables).to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    for column, message in (("two", "one estimator at a time"), ("text", "floating point"), ("x", "it has: two, text")):
        with pytest.raises(InvalidInput, match=message):
            import_evidence(tmp_path / "t.nc", **declared(like, tmp_path, column=column))
    (tmp_path / "broken.nc").write_bytes(b"no")
    with pytest.raises(InvalidInput, match="not a readable netCDF file"):
        import_evidence(tmp_path / "broken.nc", **declared(like, tmp_path))
    for name, message in (("none.csv", "no such file"), ("t.txt", "neither")):
        (tmp_path / "t.txt").write_text("x")
        with pytest.raises(InvalidInput, match=message):
            import_evidence(tmp_path / name, **declared(like, tmp_path))


def script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "analysis.import_evidence", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_the_script(like, tmp_path) -> None:
    file = table(tmp_path / "t.csv", nll=-THEIRS)
    options = ["--claim", "LOWER_BOUND", "--estimator", "iw:5000", "--program", "theirs", "--out", tmp_path / "theirs"]
    result = script(file, *options, "--like", like, "--column", "nll", "--negative")
    assert (result.returncode, result.stderr) == (0, "")
    assert "iw:5000 of theirs, LOWER_BOUND, imported from" in result.stdout
    assert read_back(tmp_path / "theirs")["iw:5000"].nats == pytest.approx(THEIRS)
    result = script(file, *options, "--like", like, "--column", "nll")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "give --negative" in result.stderr


@pytest.mark.parametrize(("options", "code", "said"), [
    (["--like", "RUN", "--levels", "2"], 2, "--levels 2: is taken from --like"),
    (["--data", "digits"], 2, "give --like RUN, or --data-digest --levels --data-dim --num-images"),
    (["--data", "digits", "--data-digest", "sha256:aaaa", "--levels", "2", "--data-dim", "0", "--num-images", "12"], 2,
     "--data-dim 0: is no size"),
    (["--data", "digits", "--data-digest", "sha256:aaaa", "--levels", "2", "--data-dim", "64", "--num-images", "12"], 0,
     ""),
    (["--data", "real", "--data-digest", "sha256:aaaa", "--levels", "0", "--data-dim", "64", "--num-images", "12",
      "--measure", "mass"], 2, "--measure mass: real values (--levels 0) have no mass"),
    (["--data", "real", "--data-digest", "sha256:aaaa", "--levels", "0", "--data-dim", "64", "--num-images", "12"], 0,
     ""),
    (["--data", "real", "--data-digest", "sha256:aaaa", "--levels", "-1", "--data-dim", "64", "--num-images", "12"], 2,
     "--levels -1: is no size"),
    (["--like", "RUN", "--units", "bytes"], 2, "invalid choice: 'bytes'"),
    (["--like", "RUN", "--unit", "bits"], 2, "unrecognized arguments: --unit bits"),
])  # fmt: skip
def test_the_script_on_the_data(like, tmp_path, capsys, options: list[str], code: int, said: str) -> None:
    file = table(tmp_path / "t.csv", log_evidence=THEIRS)
    options = [str(like) if option == "RUN" else option for option in options]
    needed = ["--claim", "EXACT", "--estimator", "exact", "--program", "theirs", "--out", str(tmp_path / "theirs")]
    try:
        found = main([str(file), *needed, *options])
    except SystemExit as stopped:
        found = stopped.code
    printed = capsys.readouterr()
    assert found == code
    assert said in printed.err
    assert printed.err.count("\n") == (1 if code else 0)
    assert (tmp_path / "theirs").exists() is (code == 0)
    if code == 0:
        assert read_back(tmp_path / "theirs").measure == ("density" if "real" in options else "mass")
