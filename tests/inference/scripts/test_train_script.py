"""``inference.train``: what it writes, what it refuses, and that it never opens the test split."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from inference.data import ImageData, load_data
from inference.jobs import Job, complete
from inference.train import prepare, train
from inference.training import Training
from ppl_models.errors import InvalidInput
from ppl_models.recipes import RECIPES

KEYS = {
    "format", "recipe", "recipe_arguments", "program", "latents", "guide", "guide_source", "guide_arguments",
    "objective", "objective_arguments", "data", "data_digest", "shape", "levels", "data_dim", "seed", "training",
    "num_parameters", "versions", "commit", "measure",
}  # fmt: skip
PROGRAMS = {
    "fvsbn": ("FVSBN", None, "nll", "exact", "EXACT"),
    "nade": ("NADE", None, "nll", "exact", "EXACT"),
    "order_mixture": ("OrderMixture", None, "nll", "exact", "EXACT"),
    "pixel_rnn": ("PixelRNN", None, "nll", "exact", "EXACT"),
    "pixel_cnn": ("PixelCNN", None, "nll", "exact", "EXACT"),
    "gated_pixel_cnn": ("GatedPixelCNN", None, "nll", "exact", "EXACT"),
    "pixel_transformer": ("PixelTransformer", None, "nll", "exact", "EXACT"),
    "made": ("MADE", None, "nll", "exact", "EXACT"),
    "vae": ("VAE", "DiagonalNormal", "elbo", "elbo:16", "LOWER_BOUND"),
    "iwae": ("VAE", "DiagonalNormal", "iwae", "elbo:16", "LOWER_BOUND"),
    "vae_iaf": ("VAE", "InverseAutoregressive", "elbo", "elbo:16", "LOWER_BOUND"),
    "vae_vamp": ("VAE", "DiagonalNormal", "elbo", "elbo:16", "LOWER_BOUND"),
    "vae_flow_prior": ("VAE", "DiagonalNormal", "elbo", "elbo:16", "LOWER_BOUND"),
    "skip_vae": ("SkipVAE", "DiagonalNormal", "elbo", "elbo:16", "LOWER_BOUND"),
    "conv_vae": ("ConvVAE", "DiagonalNormal", "elbo", "elbo:16", "LOWER_BOUND"),
    "recurrent_vae": ("RecurrentVAE", "DiagonalNormal", "elbo", "elbo:16", "LOWER_BOUND"),
    "discrete_vae": ("DiscreteVAE", "IndependentBernoulli", "trace-enum", "elbo:16", "LOWER_BOUND"),
    "pixel_vae": ("PixelVAE", "DiagonalNormal", "elbo", "elbo:16", "LOWER_BOUND"),
    "lossy_vae": ("LossyVAE", "DiagonalNormal", "released", "elbo:16", "LOWER_BOUND"),
    "ladder_vae": ("LadderVAE", "LadderNormal", "elbo", "elbo:16", "LOWER_BOUND"),
    "linear_vae": ("LinearVAE", "FullRankNormal", "iwae", "elbo:16", "LOWER_BOUND"),
    "autoencoder_gmm": ("AutoencoderDensity", "CodeNormal", "code-density", "elbo:16", "LOWER_BOUND"),
    "autoencoder": ("Autoencoder", None, "reconstruction", "reconstruction", "none"),
    "independent_pixels": ("IndependentPixels", None, "nll", "exact", "EXACT"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_config(name, runs, tiny) -> None:
    config = json.loads((runs / name / "config.json").read_text())
    program, guide, objective, _, _ = PROGRAMS[name]
    assert set(config) == KEYS | ({"refusal"} if name == "autoencoder" else set())
    assert (config["program"], config["guide"], config["objective"]) == (program, guide, objective)
    assert (config["shape"], config["levels"], config["data_dim"]) == ([1, 2, 3], 2, 6)
    assert config["data_digest"] == load_data(str(tiny)).digest
    assert config["training"]["epochs"] == 2
    if name == "autoencoder":
        assert "no distribution over x" in config["refusal"]


def test_config_holds_every_default(runs, tiny, tmp_path) -> None:
    """A run must be built as it was after a default has changed, from Python too."""
    config = json.loads((runs / "made" / "config.json").read_text())
    expected = {"hidden": [8], "direct": True, "ordering": "shifted:2", "nonlinearity": "relu", "dropout": 0.3}
    expected |= {"cycle": "none", "likelihood": "auto"}
    assert config["recipe_arguments"] == expected
    prepared = prepare(Job("made", load_data(str(tiny)), tmp_path / "x", recipe_arguments={"hidden": (8,)}))
    assert prepared.config["recipe_arguments"] == {**expected, "ordering": "raster"}
    assert prepared.config == json.loads(json.dumps(prepared.config))


@pytest.mark.parametrize("name", RECIPES)
def test_history(name, runs) -> None:
    records = [json.loads(line) for line in (runs / name / "history.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2]
    assert [record["updates"] for record in records] == [3, 6]  # 40 images in batches of 15
    value = "valid_score" if name == "autoencoder" else "valid_log_evidence"
    latents = json.loads((runs / name / "config.json").read_text())["latents"]
    watched = {"rate", "rate_claim", "active_units"} if latents else set()
    for record in records:
        assert set(record) == watched | {
            "epoch", "updates", "seconds", "images_per_second", "train_loss", "train_loss_name", value,
            "valid_estimator", "valid_claim", "best",
        }  # fmt: skip
        assert (record["valid_estimator"], record["valid_claim"]) == PROGRAMS[name][3:]


@pytest.mark.parametrize("name", RECIPES)
def test_checkpoint_holds_plain_values_only(name, runs) -> None:
    state = torch.load(runs / name / "checkpoint.pt", weights_only=True)
    assert {"best", "last", "optimizer", "rng", "epoch", "scheduler"} <= state.keys()
    assert (state["epoch"], state["updates"]) == (2, 6)


class Sealed(ImageData):
    """A data set whose test split must not be opened."""

    def split(self, name: str) -> torch.Tensor:
        assert name != "test", "the test split was opened"
        return super().split(name)

    def labels(self, name: str) -> torch.Tensor | None:
        assert name != "test", "the test labels were opened"
        return super().labels(name)


@pytest.mark.parametrize("name", RECIPES)
def test_training_never_opens_the_test_split(name, tiny, tmp_path) -> None:
    data = load_data(str(tiny))
    sealed = Sealed(data.name, data.shape, data.levels, data.digest, data._splits, data._labels)
    with pytest.raises(AssertionError):
        sealed.split("test")
    job = Job(name, sealed, tmp_path / "run", training=Training(epochs=2, patience=1))
    assert len(train(job, progress=False).records) == 2


def test_training_does_not_depend_on_the_test_split(arrays, settings, call, recipes, tmp_path) -> None:
    """The digest of the data differs, and nothing that was learned."""
    flipped = {**arrays, "test": 1 - arrays["test"]}
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez(tmp_path / "b.npz", **flipped)
    for name in "ab":
        call("train", *recipes["made"], *settings, "--data", tmp_path / f"{name}.npz", "--out", tmp_path / name)
    a, b = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["best"] for name in "ab")
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_the_seed_decides_and_nothing_else(settings, call, recipes, tmp_path) -> None:
    for number, (name, seed) in enumerate([("a", 3), ("b", 3), ("c", 4)]):
        torch.manual_seed(number)
        call("train", *recipes["vae"], *settings, "--seed", seed, "--out", tmp_path / name)
    a, b, c = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["best"] for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_several_seeds(settings, call, recipes, tmp_path) -> None:
    out = tmp_path / "made"
    printed = call("train", *recipes["made"], *settings, "--seeds", 0, 1, "--out", out)
    assert len(printed.splitlines()) == 2
    assert [json.loads((out / f"seed-{s}" / "config.json").read_text())["seed"] for s in (0, 1)] == [0, 1]
    assert not (out / "config.json").exists()
    printed = call("evaluate", out, "--estimators", "exact", "--quiet")
    assert "seed-0" in printed
    assert "seed-1" in printed
    call("sample", out, "--num", 3)
    for seed in (0, 1):
        assert (out / f"seed-{seed}" / "evidence.nc").is_file()
        assert (out / f"seed-{seed}" / "samples.nc").is_file()


@pytest.mark.parametrize(
    ("recipe", "extra", "words"),
    [
        ("", "--recipe vaee", ["--recipe", "'vaee'", "did you mean vae"]),
        ("made", "--data digit", ["--data", "'digit'", "did you mean digits"]),
        ("made", "--data gone.npz", ["--data", "'gone.npz'", "does not exist"]),
        ("made", "--data mnist --data-dir /not/there", ["--data-dir", "/not/there"]),
        ("made", "--recipe.hidden [0]", ["hidden", "[0]", "at least one unit"]),
        ("made", "--recipe.dropout 1", ["dropout", "1.0"]),
        ("made", "--recipe.ordering raste", ["ordering", "'raste'", "known"]),
        ("made", "--recipe.ordering [0,1]", ["ordering", "2 entries", "6 pixels"]),
        ("pixel_cnn", "--recipe.dropout 1.5", ["dropout", "1.5", "0.2"]),
        ("pixel_transformer", "--recipe.heads 3", ["heads", "3", "divisor"]),
        ("pixel_rnn", "--recipe.cell gruu", ["cell", "'gruu'", "did you mean gru"]),
        ("gated_pixel_cnn", "--recipe.first_kernel 1", ["first_kernel", "1", "at least 3"]),
        ("order_mixture", "--recipe.ordering reversed", ["ordering", "'reversed'", "vary"]),
        ("nade", "--recipe.hidden []", ["hidden", "[]", "fvsbn"]),
        ("vae", "--recipe.latent_dim 0", ["latent_dim", "0", "at least 1"]),
        ("vae", "--recipe.nonlinearity foo", ["'foo'", "known: elu"]),
        ("vae", "--objective elboo", ["--objective", "'elboo'", "did you mean elbo"]),
        ("vae", "--objective nll", ["--objective", "'nll'", "use elbo"]),
        ("vae", "--objective elbo --objective.num_particles 0", ["--objective.num_particles", "0", "K >= 1"]),
        ("vae", "--objective elbo --objective.kl x", ["--objective.kl", "'x'", "analytic"]),
        ("made", "--objective elbo", ["--objective", "'elbo'", "use nll"]),
        ("autoencoder", "--objective nll", ["no distribution over x"]),
        ("autoencoder", "--objective elbo", ["no distribution over x"]),
        ("made", "--device tpu", ["--device", "'tpu'", "cpu or cuda"]),
        ("made", "--epochs 0", ["--epochs", "0", "at least 1"]),
        ("made", "--batch-size 0", ["--batch-size", "0", "at least 1"]),
        ("made", "--learning-rate -1", ["--learning-rate", "-1.0", "positive"]),
        ("made", "--weight-decay -1", ["--weight-decay", "-1.0", "negative"]),
        ("made", "--average 1", ["--average", "1.0", "[0, 1)"]),
        ("made", "--schedule cosine", ["--schedule", "'cosine'", "constant or linear"]),
        ("made", "--patience 0", ["--patience", "0", "at least 1"]),
        ("made", "--clip-norm 0", ["--clip-norm", "0", "positive"]),
        ("made", "--max-seconds -1", ["--max-seconds", "-1.0", "positive"]),
        ("made", "--precision 64-true", ["--precision", "'64-true'", "known: 32-true"]),
        ("vae", "--step agressive", ["--step", "'agressive'", "did you mean aggressive"]),
        ("vae", "--step.window 3", ["--step.window", "'3'", "no step is named", "add --step aggressive"]),
        ("vae", "--step plain --step.window 3", ["--step.window", "'3'", "PlainStep has no such option"]),
        ("vae", "--step aggressive --step.windw 3", ["--step.windw", "'3'", "did you mean window"]),
        ("vae", "--step aggressive --step.window 0", ["--step.window", "0", "1 to max_inner"]),
        ("vae", "--step aggressive --step.window x", ["--step.window", "'x'", "a whole number"]),
        ("vae", "--objective.beta 2", ["--objective.beta", "'2'", "no objective is named", "add --objective elbo"]),
        ("vae", "--objective.gradient stl", ["--objective.gradient", "add --objective iwae"]),
        ("vae", "--objective.nothing 2", ["--objective.nothing", "no objective is named", "add --objective NAME"]),
        ("iwae", "--objective.beta 2", ["--objective.beta", "'2'", "no such option"]),
        ("made", "--seed -1", ["--seed", "-1", "2^32"]),
        ("made", f"--seed {2**32}", ["--seed", "2^32"]),
        ("made", "--seeds 0 1 0", ["--seeds", "'0 1 0'", "twice"]),
        ("made", "--seeds 0 -1", ["--seed", "-1", "2^32"]),
    ],
)
def test_refused_before_anything_is_written(
    recipe, extra, words, expect_refused, untouched, recipes, settings, tmp_path
) -> None:
    arguments = [*recipes.get(recipe, []), *settings, *extra.split(), "--out", tmp_path / "runs" / "x"]
    with untouched(tmp_path):
        expect_refused("train", arguments, *words)


def test_the_aggressive_step_has_options(call, settings, recipes, tmp_path) -> None:
    """Each batch of an aggressive epoch is preceded by ``max_inner`` steps of the guide where no window is full."""
    arguments = [*recipes["vae"], *settings, "--epochs", 1, "--step", "aggressive", "--step.max_inner", 2]
    call("train", *arguments, "--step.window", 2, "--step.num_images", 5, "--out", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["training"]["step"] == "aggressive"
    assert config["training"]["step_arguments"] == {"window": 2, "max_inner": 2, "num_images": 5}
    record = json.loads((tmp_path / "run" / "history.jsonl").read_text().splitlines()[0])
    assert record["inner_updates"] == 2 * 3  # 40 images in batches of 15
    assert record["mutual_information_cap"] == pytest.approx(math.log(5))
    call("train", *recipes["vae"], *settings, "--epochs", 1, "--out", tmp_path / "plain")
    plain = json.loads((tmp_path / "plain" / "config.json").read_text())["training"]
    assert "step_arguments" not in plain
    assert plain["step"] == "plain"


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("", {"schedule": "linear", "updates": 1000, "beta": 1.0}),
        ("--objective.updates 7", {"schedule": "linear", "updates": 7, "beta": 1.0}),
        ("--objective elbo --objective.beta=2", {"schedule": "linear", "updates": 1000, "beta": 2.0}),
        ("--objective.schedule constant", {"schedule": "constant", "updates": 1000}),
    ],
)
def test_a_recipe_keeps_what_its_own_objective_has_where_nothing_else_is_said(
    extra, expected, call, settings, recipes, tmp_path
) -> None:
    call("train", *recipes["vae_vamp"], *settings, "--epochs", 1, *extra.split(), "--out", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["objective"] == "elbo"
    found = config["objective_arguments"]
    assert {name: found[name] for name in expected} == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("script", ["train", "evaluate", "sample"])
def test_cuda_where_there_is_none(script, expect_refused, untouched, copied, recipes, settings, tmp_path) -> None:
    run = copied("made")
    arguments = {
        "train": [*recipes["made"], *settings, "--out", tmp_path / "x"],
        "evaluate": [run, "--estimators", "exact"],
        "sample": [run],
    }[script]
    with untouched(tmp_path):
        expect_refused(script, [*arguments, "--device", "cuda"], "--device", "'cuda'", "no CUDA device", "cpu")


def test_no_hidden_layer_is_no_mistake(call, settings, recipes, tmp_path) -> None:
    call("train", *recipes["made"], *settings, "--recipe.hidden", "[]", "--out", tmp_path / "x")
    assert json.loads((tmp_path / "x" / "config.json").read_text())["recipe_arguments"]["hidden"] == []


def test_what_json_cannot_hold_is_refused_and_such_defaults_are_left_out() -> None:
    def recipe(data_dim: int, *, sizes=(1, 2), net=object()) -> None: ...  # noqa: B008

    assert complete("recipe", recipe, {}) == {"sizes": [1, 2]}
    with pytest.raises(InvalidInput, match=r"--recipe.net .*config.json"):
        complete("recipe", recipe, {"net": object()})


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_loss_that_is_not_finite_is_one_line(settings, recipes, tmp_path) -> None:
    from inference import train as script
    from inference.rehearsal import NonFiniteLossError

    arguments = [
        *recipes["made"],
        *settings,
        "--recipe.hidden",
        "[8,8]",
        "--learning-rate",
        "1e30",
        "--out",
        str(tmp_path / "x"),
    ]
    with pytest.raises(NonFiniteLossError, match=r"epoch \d+, batch \d+: .*learning rate"):
        script.main(arguments)


def test_however_little_time_there_is_one_epoch_is_trained(call, settings, recipes, tmp_path) -> None:
    printed = call("train", *recipes["made"], *settings, "--max-seconds", "0.000001", "--out", tmp_path / "x")
    assert "epoch 1 of 1 kept (seconds)" in printed
