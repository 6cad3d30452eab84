"""Options: every complaint is one line that names the option as the user wrote it, the value and the remedy."""

from __future__ import annotations

import pytest

from inference.cli import parse_options, run_script, take_prefixed
from inference.rehearsal import NonFiniteLossError
from inference.train_options import jobs
from inference.weights import NonFiniteError
from ppl_models.errors import InvalidInput, NotADensityError

# script, what is written, what the line must say
COMPLAINTS = [
    ("train", "", ["--recipe", "--out", "required"]),
    ("train", "--out x", ["--recipe", "required"]),
    ("train", "--recipe made", ["--out", "required"]),
    ("train", "--recipe made --out", ["--out", "expected one argument"]),
    ("train", "--recipe made --out x --epochs x", ["--epochs", "'x'", "whole number"]),
    ("train", "--recipe made --out x --epochs 2.5", ["--epochs", "'2.5'", "whole number"]),
    ("train", "--recipe made --out x --batch-size x", ["--batch-size", "'x'", "whole number"]),
    ("train", "--recipe made --out x --learning-rate x", ["--learning-rate", "'x'", "finite number"]),
    ("train", "--recipe made --out x --learning-rate nan", ["--learning-rate", "'nan'", "finite number"]),
    ("train", "--recipe made --out x --patience x", ["--patience", "'x'", "whole number or null"]),
    ("train", "--recipe made --out x --seed x", ["--seed", "'x'", "whole number"]),
    ("train", "--recipe made --out x --seeds", ["--seeds", "at least one"]),
    ("train", "--recipe made --out x --seeds 0 x", ["--seeds", "'x'", "whole number"]),
    ("train", "--recipe made --out x --epohcs 3", ["--epohcs", "'3'", "did you mean --epochs"]),
    ("train", "--recipe made --out x --epoch 3", ["--epoch", "'3'", "did you mean --epochs"]),
    ("train", "--recipe made --out x --foo.bar 3", ["--foo.bar", "'3'", "no option"]),
    ("train", "--recipe made --out x astray", ["astray", "no option"]),
    ("train", "--recipe made --out x --resume=5", ["--resume", "'5'"]),
    ("train", "--recipe made --out x --resume --overwrite", ["--resume", "--overwrite", "exclude"]),
    ("train", "--recipe made --out x --recipe.hiden [8]", ["--recipe.hiden", "[8]", "did you mean hidden"]),
    ("train", "--recipe made --out x --recipe.hiden=[8]", ["--recipe.hiden", "[8]", "did you mean hidden"]),
    ("train", "--recipe made --out x --recipe.levels 4", ["--recipe.levels", "'4'", "no such option"]),
    ("train", "--recipe made --out x --recipe.hidden 500", ["--recipe.hidden", "'500'", "list such as [500]"]),
    ("train", "--recipe made --out x --recipe.hidden [a]", ["--recipe.hidden", "'a'", "whole number"]),
    ("train", "--recipe made --out x --recipe.hidden", ["--recipe.hidden", "expected one argument"]),
    ("train", "--recipe vae --out x --recipe.latent_dim 2.5", ["--recipe.latent_dim", "'2.5'", "whole number"]),
    ("train", "--recipe vae --out x --guide.hidden [4]", ["--guide.hidden", "[4]", "add --guide"]),
    ("train", "--recipe vae --out x --objective.kl sampled", ["--objective.kl", "'sampled'", "add --objective"]),
    ("train", "--recipe vae --out x --guide DiagonalNormal --guide.hiden [4]", ["--guide.hiden", "mean hidden"]),
    ("train", "--recipe vae --out x --guide DiagonalNormal --guide.hidden 4", ["--guide.hidden", "list such as"]),
    ("train", "--recipe vae --out x --guide DiagonalNormal --guide.latent_dim 4", ["--guide.latent_dim", "no such"]),
    ("train", "--recipe vae --out x --objective elbo --objective.foo 1", ["--objective.foo", "'1'", "num_particles"]),
    ("evaluate", "", ["run", "required"]),
    ("evaluate", "x", ["--estimators", "required"]),
    ("evaluate", "--estimators exact", ["run", "required"]),
    ("evaluate", "x --estimators", ["--estimators", "at least one"]),
    ("evaluate", "x --estimators exact --limit x", ["--limit", "'x'", "whole number or null"]),
    ("evaluate", "x --estimators exact --spilt test", ["--spilt", "'test'", "did you mean --split"]),
    ("sample", "", ["run", "required"]),
    ("sample", "x --num x", ["--num", "'x'", "whole number"]),
    ("sample", "x --seed 1.5", ["--seed", "'1.5'", "whole number"]),
    ("study", "", ["study", "--out", "required"]),
    ("study", "compare", ["--out", "required"]),
    ("study", "compare --out x --jobs x", ["--jobs", "'x'", "whole number"]),
    ("study", "compare --out x --resume --overwrite", ["--resume", "--overwrite", "exclude"]),
]


@pytest.mark.parametrize(("script", "written", "words"), COMPLAINTS)
def test_a_wrong_option_is_named_as_written(
    script, written, words, expect_refused, tmp_path, monkeypatch, untouched
) -> None:
    monkeypatch.chdir(tmp_path)
    with untouched(tmp_path):
        expect_refused(script, written.split(), *words)


def test_the_nearest_names_are_the_users_own(expect_refused) -> None:
    """The parser's private options are not offered."""
    line = expect_refused("train", ["--recipe", "made", "--out", "x", "--epohcs", "3"])
    assert "--print" not in line
    line = expect_refused("train", ["--recipe", "made", "--out", "x", "--recipe.foo", "3"])
    assert "hidden+" not in line


PINNED = {
    "train": "--recipe --data --out --seed --epochs --device --resume --guide --objective --recipe.NAME --guide.NAME",
    "evaluate": "--estimators --split --limit --guide",
    "sample": "--num --method",
    "study": "--data --out --budget --jobs",
}


@pytest.mark.parametrize("script", PINNED)
def test_help_lists_the_pinned_options_and_exits_0(script, call, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        call(script, "--help")
    assert caught.value.code == 0
    printed = capsys.readouterr()
    assert printed.err == ""


@pytest.mark.parametrize(("script", "options"), PINNED.items())
def test_help_text(script, options, capsys) -> None:
    from inference import evaluate, sample, study, train_options

    module = {"train": train_options, "evaluate": evaluate, "sample": sample, "study": study}[script]
    text = module.parser().format_help()
    assert [option for option in options.split() if option not in text] == []


def test_prefixed_options_are_cut_off() -> None:
    argv = ["--recipe", "made", "--recipe.hidden", "[8]", "--out", "x", "--recipe.direct=false", "--quiet"]
    rest, taken = take_prefixed(argv, ("recipe", "guide"))
    assert rest == ["--recipe", "made", "--out", "x", "--quiet"]
    assert taken == {"recipe": ["--hidden", "[8]", "--direct=false"], "guide": []}


def test_a_value_with_a_dot_is_no_prefixed_option() -> None:
    rest, taken = take_prefixed(["--guide=my.py:G", "--out", "a.b"], ("guide",))
    assert rest == ["--guide=my.py:G", "--out", "a.b"]
    assert taken == {"guide": []}


def test_options_come_with_their_types_and_defaults() -> None:
    def recipe(data_dim: int, *, width: int = 3, sizes: tuple[int, ...] = (4, 5), name: str = "a") -> None: ...

    found = parse_options(recipe, ["--width", "7"], "recipe", ("data_dim",))
    assert found == {"width": 7, "sizes": [4, 5], "name": "a"}
    with pytest.raises(InvalidInput, match=r"--recipe.width 'x': must be a whole number"):
        parse_options(recipe, ["--width", "x"], "recipe", ("data_dim",))


def test_a_parameter_without_a_default_must_be_given() -> None:
    class Needs:
        def __init__(self, data_dim: int, width) -> None: ...

    with pytest.raises(InvalidInput, match=r"--guide.width"):
        parse_options(Needs, [], "guide", ("data_dim",))
    assert parse_options(Needs, ["--width", "3"], "guide", ("data_dim",)) == {"width": 3}


def test_the_command_line_becomes_a_job(tiny, tmp_path) -> None:
    (job,), options = jobs(
        ["--recipe", "vae", "--recipe.hidden", "[8,4]", "--data", str(tiny), "--out", str(tmp_path / "x"),
         "--seed", "7", "--epochs", "3", "--patience", "null", "--objective", "elbo", "--objective.num_particles", "2"]
    )  # fmt: skip
    expected = {"latent_dim": 16, "hidden": [8, 4], "nonlinearity": "tanh", "likelihood": "auto"}
    assert job.recipe_arguments == {**expected, "prior": "standard-normal"}
    assert (job.seed, job.settings().epochs, job.settings().patience) == (7, 3, None)
    assert job.objective == "elbo"
    assert job.objective_arguments == {"num_particles": 2}
    assert not options.resume


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("--a", 1, "b", "c"),
        NotADensityError("no density"),
        NonFiniteLossError("loss is nan"),
        NonFiniteError("iw:5: site 'z' at image 3"),
    ],
)
def test_errors_of_the_user_end_with_one_line_and_code_2(error, capsys) -> None:
    def main(argv) -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        run_script(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_errors_of_the_program_keep_their_traceback() -> None:
    def main(argv) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run_script(main)


def test_an_interrupt_says_how_to_go_on(capsys) -> None:
    def main(argv) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run_script(main)
    assert caught.value.code == 130
    assert "--resume" in capsys.readouterr().err
