"""Run folders: what is saved is what is loaded, what is continued is what was begun, and what is there is kept."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from inference import Run, load_run
from inference import train as script
from inference.estimators import Elbo, ImportanceWeighted
from inference.run import commit, runs_in
from ppl_models.errors import InvalidInput
from ppl_models.ordering import shifted
from ppl_models.programs import MADE

EVERY_IMAGE = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 6)


@pytest.fixture
def trained(monkeypatch):
    """The objectives that were trained in this test: their modules hold what ought to have been saved."""
    seen = []

    def fit(objective, *arguments, **options):
        seen.append(objective)
        return original(objective, *arguments, **options)

    original = script.fit
    monkeypatch.setattr(script, "fit", fit)
    return seen


@pytest.mark.parametrize("ordering", ["random:3", "shifted:2", "[5,0,4,1,3,2]"])
def test_made_scores_as_it_did(ordering, trained, call, settings, recipes, tmp_path) -> None:
    call("train", *recipes["made"], *settings, "--recipe.ordering", ordering, "--out", tmp_path / "x")
    run = load_run(tmp_path / "x")
    with torch.no_grad():
        before = trained[0].program.eval().log_prob(EVERY_IMAGE)
        after = run.program.log_prob(EVERY_IMAGE)
    assert torch.equal(before, after)
    assert run.program.ordering == trained[0].program.ordering
    assert float(after.double().exp().sum()) == pytest.approx(1, abs=1e-5)


def test_vae_scores_as_it_did(trained, call, settings, recipes, tmp_path) -> None:
    call("train", *recipes["vae"], *settings, "--out", tmp_path / "x")
    run = load_run(tmp_path / "x")
    for kind in (Elbo, ImportanceWeighted):
        before = kind(trained[0].guide, 20, seed=5)(trained[0].program, EVERY_IMAGE)
        after = kind(run.guide, 20, seed=5)(run.program, EVERY_IMAGE)
        assert torch.equal(before.values, after.values)
        assert torch.equal(before.stderr, after.stderr)
    assert not run.program.training
    assert not run.guide.training
    assert run.guide.program is run.program


def test_the_best_weights_are_loaded_not_the_last(copied) -> None:
    run = copied("made")
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    state["last"] = {key: torch.zeros_like(value) for key, value in state["last"].items()}
    expected = load_run(run).program.log_prob(EVERY_IMAGE)
    torch.save(state, run / "checkpoint.pt")
    assert torch.equal(load_run(run).program.log_prob(EVERY_IMAGE), expected)


def test_a_loaded_made_takes_the_saved_ordering(copied) -> None:
    """Masks and ordering are saved with the weights, and a config that says otherwise does not tear them apart."""
    run = copied("made")
    expected = load_run(run).program.log_prob(EVERY_IMAGE)
    config = json.loads((run / "config.json").read_text())
    config["recipe_arguments"]["ordering"] = "raster"
    (run / "config.json").write_text(json.dumps(config))
    program = load_run(run).program
    assert program.ordering == shifted(6, 2)
    assert torch.equal(program.log_prob(EVERY_IMAGE), expected)
    by_hand = MADE(6, (8,), ordering="reversed", dropout=0.3).eval()
    best = torch.load(run / "checkpoint.pt", weights_only=True)["best"]
    by_hand.load_state_dict({key.removeprefix("program."): value for key, value in best.items()})
    assert torch.equal(by_hand.log_prob(EVERY_IMAGE), expected)
    draws = [p.distribution().sample((4,), noise=torch.rand(4, 6, generator=torch.Generator().manual_seed(0)))
             for p in (program, by_hand)]  # fmt: skip
    assert torch.equal(*draws)


def test_config_is_what_is_in_the_file(runs) -> None:
    run = load_run(runs / "vae")
    assert isinstance(run, Run)
    assert run.config == json.loads((runs / "vae" / "config.json").read_text())
    assert run.epoch == torch.load(runs / "vae" / "checkpoint.pt", weights_only=True)["best_epoch"] > 0


def test_loading_changes_no_random_state(runs) -> None:
    before = torch.get_rng_state()
    run = load_run(runs / "vae")
    ImportanceWeighted(run.guide, 3)(run.program, EVERY_IMAGE)
    assert torch.equal(before, torch.get_rng_state())


class Evil:
    """Unpickling this writes a file."""

    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def half(path, tmp_path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {
    "truncated": half,
    "empty": lambda path, tmp_path: path.write_bytes(b""),
    "garbage": lambda path, tmp_path: path.write_bytes(b"garbage" * 99),
    "foreign object": lambda path, tmp_path: torch.save({"best": Evil(tmp_path / "evil")}, path),
    "a list": lambda path, tmp_path: torch.save([1], path),
    "no best": lambda path, tmp_path: torch.save({"last": {}}, path),
    "best is a number": lambda path, tmp_path: torch.save({"best": 3, "last": 3}, path),
    "only best": lambda path, tmp_path: torch.save({"best": {}}, path),
    "missing": lambda path, tmp_path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint(damage, copied, expect_refused, untouched, recipes, settings, tmp_path) -> None:
    run = copied("made")
    DAMAGE[damage](run / "checkpoint.pt", tmp_path)
    with untouched(tmp_path):
        expect_refused("evaluate", [run, "--estimators", "exact"], "checkpoint", str(run))
        expect_refused("sample", [run], "checkpoint", str(run))
        if damage != "missing":  # a run that was stopped before its first checkpoint begins again
            expect_refused(
                "train", [*recipes["made"], *settings, "--out", run, "--resume"], "checkpoint", "--overwrite"
            )
    assert not (tmp_path / "evil").exists()


def test_a_checkpoint_of_another_program(copied, runs, expect_refused, untouched, recipes, settings, tmp_path) -> None:
    run = copied("made")
    shutil.copy(runs / "vae" / "checkpoint.pt", run / "checkpoint.pt")
    with untouched(tmp_path):
        expect_refused("evaluate", [run, "--estimators", "exact"], "checkpoint", "do not fit MADE")
        expect_refused(
            "train", [*recipes["made"], *settings, "--out", run, "--resume"], "checkpoint", "do not fit MADE"
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["corrupt", "--overwrite"]),
        ('{"format": 1, "recipe": "ma', ["corrupt", "--overwrite"]),
        ("[1]", ["not written by inference.train"]),
        ('{"name": "another project"}', ["not written by inference.train", "recipe"]),
    ],
)
def test_a_damaged_config(text, words, copied, expect_refused, untouched, recipes, settings, tmp_path) -> None:
    run = copied("made")
    (run / "config.json").write_text(text)
    with untouched(tmp_path):
        expect_refused("evaluate", [run, "--estimators", "exact"], "run", str(run), *words)
        expect_refused("sample", [run], "run", str(run), *words)
        expect_refused("train", [*recipes["made"], *settings, "--out", run, "--resume"], str(run), *words)


@pytest.mark.parametrize("damage", ["remove", "garbage", "short"])
def test_a_damaged_history_is_not_continued(damage, copied, expect_refused, untouched, recipes, settings) -> None:
    run = copied("made")
    file = run / "history.jsonl"
    first = file.read_text().splitlines()[0]
    {
        "remove": file.unlink,
        "garbage": lambda: file.write_text("garbage\n"),
        "short": lambda: file.write_text(first),
    }[damage]()
    with untouched(run):
        expect_refused(
            "train", [*recipes["made"], *settings, "--out", run, "--resume"], "history", "2 epochs", "--overwrite"
        )


def test_folders_without_a_run(runs, tmp_path, expect_refused, untouched) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "seed-x").mkdir()
    shutil.copy(runs / "made" / "config.json", tmp_path / "seed-x")
    with untouched(tmp_path):
        for path in (tmp_path, tmp_path / "empty", tmp_path / "gone", tmp_path / "file", runs):
            expect_refused(
                "evaluate", [path, "--estimators", "exact"], "run", str(path), "holds no run", "inference.train"
            )
            expect_refused("sample", [path], "run", str(path), "holds no run")


def test_a_study_is_no_run(runs, tmp_path, expect_refused) -> None:
    shutil.copytree(runs / "made", tmp_path / "made" / "seed-0")
    (tmp_path / "study.json").write_text("{}")
    expect_refused("evaluate", [tmp_path, "--estimators", "exact"], "is a study", str(tmp_path / "made"))


def test_seeds_are_found_in_order(runs, tmp_path) -> None:
    for seed in (10, 9, 1):
        shutil.copytree(runs / "made", tmp_path / f"seed-{seed}")
    (tmp_path / "seed-x").mkdir()
    assert [path.name for path in runs_in(tmp_path)] == ["seed-1", "seed-9", "seed-10"]
    with pytest.raises(InvalidInput, match=r"several seeds \(seed-1, seed-9, seed-10\).*name one"):
        load_run(tmp_path)


def test_a_folder_with_one_seed_is_that_run(runs, tmp_path) -> None:
    shutil.copytree(runs / "made", tmp_path / "seed-4")
    assert load_run(tmp_path).path == tmp_path / "seed-4"


def test_commit_without_git(monkeypatch, tmp_path) -> None:
    assert commit()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == "unknown"
