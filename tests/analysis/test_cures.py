"""The table of cures and its verdict, on studies that are written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from analysis import report
from analysis.claims import Claim
from analysis.cure_verdicts import statements
from analysis.cures import CureRow, cure_rows
from analysis.errors import InvalidInput
from analysis.plots_cures import cure_figure, frontier
from analysis.runs import read_study
from analysis.sections_cures import cures

N, L = 250, 4
HARD = np.random.default_rng(0).gamma(9, 1.9, N)
CHECK = {"what": "rate, at least 3", "value": 3.2, "bound": 3.0, "holds": True}


def collapse(folder: Path, rate: float, information: tuple[float, float], spread: float = 0.3, **attrs: Any) -> None:
    """``collapse.nc`` as docs/files.md says: a rate per image, its distortion 20, two active units."""
    rng = np.random.default_rng(int(rate * 100))
    rates = rate + rng.normal(0, spread, N)
    rates += rate - rates.mean()
    values = {
        "rate": rate, "distortion": 20.0, "elbo": -20.0 - rate, "active_units": 2, "num_latents": L,
        "information_lower": information[0], "information_upper": information[1],
    }  # fmt: skip
    names, empty = list(values), np.full(L, np.nan)
    words = {"meaning": "m", "reason": "", "units": "nats", "claim": "ESTIMATE"}
    columns: dict[str, Any] = {
        "value": ("measure", list(map(float, values.values()))),
        "stderr": ("measure", np.zeros(len(names))), "stderr_monte_carlo": ("measure", np.zeros(len(names))),
        "rate": ("image", rates), "log_likelihood": ("image", np.full(N, -20.0)), "elbo": ("image", -20 - rates),
        "kl": (("image", "latent"), np.zeros((N, L))),
        "active": ("latent", [1, 1, 0, 0]), "active_scaled": ("latent", [1, 1, 0, 0]),
    }  # fmt: skip
    for name in ("log_likelihood_shuffled", "log_likelihood_prior", "accuracy", "reconstruction_error"):
        columns[name] = ("image", np.full(N, np.nan))
    for name in ("information_lower", "information_upper", "marginal_kl"):
        columns[name] = ("image", np.full(N, information[0]))
    for name in ("mean_variance", "mean_variance_stderr", "prior_scale", "information_latent"):
        columns[name] = ("latent", empty)
    columns["information_latent_stderr"] = ("latent", empty)
    coords: dict[str, Any] = {key: ("measure", [word] * len(names)) for key, word in words.items()}
    coords |= {"measure": names, "image": np.arange(N), "latent": [f"z[{i}]" for i in range(L)]}
    coords["site"] = ("latent", ["z"] * L)
    own = {
        "units": "nats", "measure": "mass", "levels": 2, "program": "VAE", "guide": "DiagonalNormal", "data": "digits",
        "data_digest": "sha256:aaaa", "split": "test", "seed": 0, "num_images": N, "num_draws": 16, "threshold": 0.01,
    }  # fmt: skip
    xr.Dataset(columns, coords, own | attrs).to_netcdf(folder / "collapse.nc", engine="h5netcdf")


class CureStudy:
    """Writes a study of cures: a member has a gain over the decoder alone, a rate, and an information bracket."""

    def __init__(self, folders: Any) -> None:
        self.folders, self.members = folders, {}

    def decoder(self, seeds: int = 1) -> None:
        for seed in range(seeds):
            noise = np.random.default_rng(seed).normal(0, 0.2, N)
            nats = -HARD - 0.01 * seed + noise - noise.mean()
            folder = self.folders.config(f"decoder/seed-{seed}", "MADE", seed=seed)
            self.folders.evidence(f"decoder/seed-{seed}", {"exact": ("EXACT", nats)}, seed=seed)
            self.mark("decoder", seed, folder, "decoder", None, 20.0)

    def member(
        self,
        name: str,
        gain: float,
        rate: float,
        information: tuple[float, float] = (2.0, 2.1),
        purpose: str = "cure",
        check: dict | None = None,
        seconds: float = 40.0,
        seeds: int = 1,
        wobble: float = 0.02,
        accuracy: float | None = 0.8,
        claim: str = "LOWER_BOUND",
    ) -> None:
        for seed in range(seeds):
            noise = np.random.default_rng(len(name) + 10 * seed).normal(0, 0.3, N)
            nats = -HARD + gain + wobble * (seed - (seeds - 1) / 2) + noise - noise.mean()
            bounds = {"iw:500": (claim, nats)}
            folder = self.folders.config(f"{name}/seed-{seed}", "VAE", seed=seed)
            self.folders.evidence(f"{name}/seed-{seed}", bounds, program="VAE", seed=seed, stderr=0.03)
            collapse(folder, rate, information, seed=seed)
            self.mark(name, seed, folder, purpose, check, seconds)
            probe = {"accuracy": accuracy, "chance": None if accuracy is None else 0.1, "stderr": 0.02}
            (folder / "probe.json").write_text(json.dumps(probe))

    def mark(self, name: str, seed: int, folder: Path, purpose: str, check: dict | None, seconds: float) -> None:
        content = {"format": 1, "cure": f"cure {name}", "setting": "4 nats", "purpose": purpose, "check": check}
        (folder / "cure.json").write_text(json.dumps(content))
        line = {"epoch": 1, "updates": int(10 * seconds), "seconds": seconds, "train_loss": 1.0, "train_loss_name": "L"}
        line |= {"valid_claim": "LOWER_BOUND", "valid_log_evidence": -1.0, "valid_estimator": "elbo:1", "best": True}
        (folder / "history.jsonl").write_text(json.dumps(line) + "\n")
        self.members.setdefault(name, []).append(f"{name}/seed-{seed}")

    def rows(self) -> dict[str, CureRow]:
        return {row.name: row for row in cure_rows(self.study())[0]}

    def study(self) -> Any:
        return read_study(self.folders.study(self.members))


@pytest.fixture
def study(folders) -> CureStudy:
    made = CureStudy(folders)
    made.decoder()
    made.member("plain", -0.1, 0.02, (0.0, 0.01), purpose="plain", seconds=20)
    return made


@pytest.fixture
def two_seeds(folders) -> CureStudy:
    made = CureStudy(folders)
    made.decoder(2)
    made.member("plain", -0.1, 0.02, (0.0, 0.01), purpose="plain", seconds=20, seeds=2)
    return made


def test_a_row_says_what_the_files_say(two_seeds: CureStudy) -> None:
    two_seeds.member("bits", 0.5, 3.5, check=CHECK, seconds=50, purpose="proposed", seeds=2)
    rows = two_seeds.rows()
    row, plain, decoder = rows["bits"], rows["plain"], rows["decoder"]
    assert (row.what, row.setting, row.purpose, row.seeds) == ("cure bits", "4 nats", "proposed", (0, 1))
    assert (row.estimator, row.claim) == ("iw:500, lower bound", Claim.LOWER_BOUND)
    assert row.evidence.mean == pytest.approx(-HARD.mean() + 0.5)
    assert (row.rate.mean, row.distortion, row.elbo) == pytest.approx((3.5, 20.0, -23.5))
    assert (row.active, row.latents, row.information) == (2, 4, (2.0, 2.1))
    assert (row.accuracy, row.chance) == (0.8, 0.1)
    assert (row.updates, row.seconds, row.cost) == (500, 50, (2.5, 2.5))
    assert (row.check.value, row.check.holds) == (3.2, True)
    assert row.loss["plain"].mean == pytest.approx(-0.6)
    assert row.loss["decoder"].mean == pytest.approx(-0.505, abs=0.02)
    assert set(plain.loss) == {"decoder"}
    assert set(decoder.loss) == {"plain"}
    assert (decoder.rate, decoder.check, decoder.latents) == (None, None, 0)
    assert decoder.distortion == pytest.approx(-decoder.evidence.mean)
    assert np.isnan([decoder.accuracy, decoder.active]).all()


@pytest.mark.parametrize(
    ("gain", "rate", "in_these_runs", "verdict"),
    [
        (0.5, 3.5, True, "cures, over seeds too"),
        (-0.02, 3.5, True, "cures, over seeds too"),
        (-0.19, 3.5, False, "loses evidence, or may"),
        (-1.0, 3.5, False, "loses evidence, or may"),
        (0.5, 3.0, False, "rate too low"),
        (0.5, 1.0, False, "rate too low"),
        (0.5, 0.1, False, "collapsed all the same"),
    ],
)
def test_a_cure_has_a_rate_and_loses_little(
    two_seeds: CureStudy, gain: float, rate: float, in_these_runs: bool, verdict: str
) -> None:
    two_seeds.member("a", gain, rate, wobble=0.005, seeds=2)
    row = two_seeds.rows()["a"]
    assert row.succeeds() == in_these_runs
    assert row.verdict == verdict


def test_the_loss_is_held_against_both_references(study: CureStudy, folders) -> None:
    """Even with the decoder alone, and half a nat below a plain VAE that is better than it."""
    study.member("strong_plain", 0.5, 0.02, (0.0, 0.01))
    study.member("a", 0.0, 3.5)
    assert study.rows()["a"].succeeds()
    file = folders.root / "strong_plain/seed-0/cure.json"
    file.write_text(file.read_text().replace('"purpose": "cure"', '"purpose": "plain"'))
    study.members.pop("plain")
    row = study.rows()["a"]
    assert row.loss["decoder"].upper < 0.2 < row.loss["plain"].upper
    assert not row.succeeds()


def test_seeds_that_disagree_cure_in_these_runs_only(two_seeds: CureStudy) -> None:
    two_seeds.member("a", 0.3, 3.5, wobble=1.0, seeds=2)
    row = two_seeds.rows()["a"]
    assert row.succeeds()
    assert not row.succeeds(over_seeds=True)
    assert row.verdict == "cures in these runs"
    assert any("As methods, over 2 seeds, 0 of them do." in sentence for sentence in statements([row]))


def test_a_cure_without_a_check_of_its_own_must_inform_more_than_the_plain_one(study: CureStudy) -> None:
    study.member("more", 0.5, 3.5, (0.011, 0.3))
    study.member("less", 0.5, 3.5, (0.009, 0.3))
    study.member("floor", 0.5, 3.5, (0.0, 0.3), check=CHECK)
    study.member("broken", 0.5, 3.5, (2.0, 2.1), check=CHECK | {"holds": False})
    rows = study.rows()
    assert [rows[name].check.holds for name in ("more", "less", "floor", "broken")] == [True, False, True, False]
    assert (rows["more"].check.value, rows["more"].check.bound) == (0.011, 0.01)
    assert rows["plain"].check is None
    sentence = next(s for s in statements(list(rows.values())) if "Did not do" in s)
    assert sentence.endswith("less, broken.")


def test_the_verdict_counts_and_names(study: CureStudy) -> None:
    for name, gain, rate in (("a", 0.9, 3.6), ("b", 0.3, 4.0), ("c", 0.0, 3.3), ("d", 0.4, 1.5), ("e", -2.0, 5.0)):
        study.member(name, gain, rate, purpose="proposed" if name == "b" else "cure")
    found = statements(list(study.rows().values()))
    assert found[0].startswith("The plain VAE collapses: rate 0.02 nats, 95% upper limit 0.05")
    assert found[1] == (
        "3 of 5 reach a rate above 3 nats with the 95% upper limit of the loss of evidence against the decoder alone "
        "and the plain VAE below 0.2 nats in these runs: a, b, c."
    )
    gains = [sentence for sentence in found if "over the decoder alone, by" in sentence]
    assert gains[0].startswith("The largest gain over the decoder alone, by a is at least 0.9")
    assert gains[1].startswith("The gain over the decoder alone, by b, the proposed objective, is at least 0.3")


def test_a_plain_vae_that_keeps_its_code_is_not_called_collapsed(folders) -> None:
    made = CureStudy(folders)
    made.member("plain", 0.0, 0.6, purpose="plain")
    made.member("a", 0.5, 3.5)
    found = statements(list(made.rows().values()))
    assert "does not collapse beyond doubt" in found[0]
    assert "against the plain VAE below" in found[1]
    assert not any("over the decoder alone, by" in sentence for sentence in found)


def test_without_a_reference_nothing_is_cured(folders) -> None:
    made = CureStudy(folders)
    made.member("a", 0.5, 3.5)
    row = made.rows()["a"]
    assert not row.succeeds()
    assert np.isnan(row.cost).all()
    assert statements([row]) == ["There is neither a decoder alone nor a plain VAE that cures could be held against."]


def test_runs_that_cannot_be_read_are_left_out_by_name(study: CureStudy, folders) -> None:
    study.member("other", 0.5, 3.5)
    folders.evidence("other/seed-0", {"iw:500": ("LOWER_BOUND", -HARD)}, data_digest="sha256:bbbb")
    study.member("bare", 0.5, 3.5, seeds=2)
    (folders.root / "bare/seed-1/collapse.nc").unlink()
    rows, left_out = cure_rows(study.study())
    assert {row.name for row in rows} == {"decoder", "plain"}
    assert dict(left_out)["bare"] == "a run of it has no collapse.nc"
    assert "digest" in dict(left_out)["other"] or "data" in dict(left_out)["other"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"purpose": "remedy"}, "purpose remedy"),
        ({"check": {"what": "w"}}, "check"),
        ({"check": 3}, "check"),
        ({"cure": None}, "cure"),
    ],
)
def test_a_malformed_mark_is_refused(study: CureStudy, folders, change: dict, words: str) -> None:
    file = folders.root / "plain/seed-0/cure.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InvalidInput, match=words):
        cure_rows(study.study())


def test_the_frontier_is_what_no_other_beats_in_both() -> None:
    points = np.array([[0.0, 20.0], [1.0, 18.0], [2.0, 19.0], [3.0, 15.0], [3.0, 16.0], [4.0, 15.0]])
    assert frontier(points).tolist() == [[0.0, 20.0], [1.0, 18.0], [3.0, 15.0]]


def test_the_figure_draws_every_member_and_lines_of_equal_elbo(study: CureStudy) -> None:
    study.member("a", 0.5, 3.5)
    rows = list(study.rows().values())
    figure = cure_figure(rows)
    assert isinstance(figure, Figure)
    left = figure.axes[0]
    labels = {line.get_label(): line for line in left.lines if not line.get_label().startswith("_")}
    assert {name: (line.get_xdata()[0], line.get_ydata()[0]) for name, line in labels.items()} == {
        row.name: (row.rate.mean if row.rate else 0.0, row.distortion) for row in rows
    }
    iso = [line for line in left.lines if line.get_linestyle() in ("--", ":")]
    assert len(iso) == 2
    for line in iso:
        total = line.get_xdata() + line.get_ydata()
        assert total[0] == pytest.approx(total[1])
    assert cure_figure([]) is None


def test_the_report_shows_table_verdict_and_failures(
    study: CureStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "SECTIONS", [section for section in report.SECTIONS if section.key == "cures"])
    study.member("a", 0.5, 3.5, accuracy=None)
    root = study.study().path
    content = json.loads((root / "study.json").read_text())
    failures = [{"run": "skip/seed-0", "error": "InvalidInput: prior vamp: does not fit <it>"}]
    (root / "study.json").write_text(json.dumps(content | {"study": "collapse", "failures": failures}))
    entry = cures(read_study(root))
    assert [row.name for row in entry.rows][:2] in (["decoder", "plain"], ["plain", "decoder"])
    assert report.main([str(root)]) == 0
    assert "  cures: 1 of 1 reach a rate above 3 nats" in capsys.readouterr().out
    page = (root / "report.html").read_text()
    for text in ("1 of 1 reach a rate above 3 nats", "skip/seed-0", "does not fit &lt;it&gt;", "cures in these runs"):
        assert text in page
    assert "nan" not in page.split('id="cures"')[1].split("</section>")[0].split("base64")[0]
