"""How imported numbers join a study: they get verdicts by their claim, or are refused with nothing changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import InvalidInput
from analysis.import_evidence import import_evidence
from analysis.imported_run import Subject
from analysis.pairs import judge_study
from analysis.report import find, render_report
from analysis.runs import read_study
from tests.analysis.imported_files import THEIRS, N, declared, table, trained


@pytest.fixture
def like(folders) -> Path:
    return trained(folders)


def test_they_join_the_comparison_and_get_verdicts_by_their_claim(like, tmp_path) -> None:
    """Ours exact, theirs a bound 1 nat above: established. As an estimate the same numbers decide nothing."""
    file = table(tmp_path / "t.csv", log_evidence=THEIRS)
    study = like.parents[1]
    for program, claim in (("theirs", "LOWER_BOUND"), ("guess", "ESTIMATE")):
        out = study / program / "seed-0"
        import_evidence(file, **declared(like, tmp_path, claim=claim, program=program, out=out, join=study))
    members = [member.name for member in read_study(study).members]
    assert members == ["made", "theirs", "guess"]
    verdicts = {(v.left, v.right): (v.word, v.higher) for v in judge_study(read_study(study)).verdicts}
    assert verdicts[("made/seed-0", "theirs/seed-0")] == ("established", "theirs/seed-0")
    assert verdicts[("made/seed-0", "guess/seed-0")] == ("undecided", None)
    page = render_report(find(read_study(study)))
    assert "Imported numbers" in page
    assert "t.csv" in page
    assert "made/seed-0" in page.split("Parts that are missing")[1]
    assert "theirs" not in page.split("Parts that are missing")[1], "no command here would make them"


def test_folders_and_studies_that_may_not_be_written(like, tmp_path) -> None:
    file, study = table(tmp_path / "t.csv", log_evidence=THEIRS), like.parents[1]
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    first = import_evidence(file, **declared(like, tmp_path, out=study / "theirs/seed-0", join=study))
    refused = {
        "is a run that was trained here": {"out": like},
        "is not an empty folder": {"out": tmp_path / "full"},
        "holds numbers about something else": {"out": first, "measure": "density"},
        "no study": {"join": tmp_path / "full", "out": tmp_path / "full/y"},
        "does not lie in the study": {"join": study, "out": tmp_path.parent / f"{tmp_path.name}-x"},
        "is a member that was trained here": {"join": study, "program": "made", "out": study / "made/seed-9"},
        "theirs has it already": {"join": study, "out": study / "theirs/again"},
        "seed 0 there, 1 here": {"out": first, "seed": 1},
    }
    before = {path: path.read_bytes() for path in sorted(study.rglob("*")) if path.is_file()}
    for message, changes in refused.items():
        with pytest.raises(InvalidInput, match=message):
            import_evidence(file, **declared(like, tmp_path, **changes))
    assert {path: path.read_bytes() for path in sorted(study.rglob("*")) if path.is_file()} == before
    second = import_evidence(file, **declared(like, tmp_path, out=study / "theirs/seed-1", seed=1, join=study))
    assert [run.path for run in read_study(study).members[1].runs] == [first, second]


@pytest.mark.parametrize(("change", "said"), [
    ({"data_digest": "sha256:other"}, r"--data-digest sha256:other: the runs of .* have sha256:aaaa .*--like .*made"),
    ({"levels": 256}, r"--levels 256: the runs of .* have 2 "),
    ({"data_dim": 784}, r"--data-dim 784: the runs of .* have 64 "),
])  # fmt: skip
def test_numbers_about_other_images_join_no_study(like, tmp_path, change: dict, said: str) -> None:
    """A wrong D is the dangerous one: bits per dimension become other nats, under a digest that agrees."""
    config, study = json.loads((like / "config.json").read_text()), like.parents[1]
    same = {name: config[name] for name in ("data", "data_digest", "levels", "data_dim")} | {"images": np.arange(N)}
    file, out = table(tmp_path / "t.csv", log_evidence=THEIRS), study / "theirs/seed-0"
    before = (study / "study.json").read_bytes()
    with pytest.raises(InvalidInput, match=said):
        import_evidence(file, **declared(None, tmp_path, subject=Subject(**same | change), out=out, join=study))
    assert not out.exists()
    assert (study / "study.json").read_bytes() == before
    import_evidence(file, **declared(None, tmp_path, subject=Subject(**same), out=out, join=study))
    import_evidence(file, **declared(None, tmp_path, subject=Subject(**same), out=out, join=study))  # again
    assert [member.name for member in read_study(study).members] == ["made", "theirs"]
