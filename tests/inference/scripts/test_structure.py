"""``structure.json``: what the report draws is what the trace of the program shows."""

from __future__ import annotations

import json

import pytest
import torch

from inference import load_run
from ppl_models.recipes import RECIPES


def structure(runs, name):
    return json.loads((runs / name / "structure.json").read_text())


Z = {"name": "z", "distribution": "Normal", "shape": [2], "plates": ["image"], "observed": False}
X = {"name": "x", "distribution": "Bernoulli", "shape": [6], "plates": ["image"], "observed": True}


def test_vae(runs) -> None:
    found = structure(runs, "vae")
    assert found["program"]["name"] == "VAE"
    assert found["program"]["sites"] == [{**Z, "parents": []}, {**X, "parents": ["z"]}]
    assert found["guide"]["name"] == "DiagonalNormal"
    assert found["guide"]["sites"] == [{**Z, "parents": ["x"]}]
    decoder = [(layer["path"], layer["input"], layer["output"], layer["parameters"])
               for layer in found["program"]["layers"] if layer["type"] == "Linear"]  # fmt: skip
    assert decoder == [("decoder.0", [2], [8], 24), ("decoder.2", [8], [6], 54)]
    encoder = [(layer["input"], layer["output"]) for layer in found["guide"]["layers"] if layer["type"] == "Linear"]
    assert encoder == [([6], [8]), ([8], [4])]
    assert found["generation"] == {"kind": "ancestral", "passes": 1, "ordering": []}


def test_made(runs) -> None:
    found = structure(runs, "made")
    assert found["guide"] is None
    assert found["program"]["sites"] == [{**X, "distribution": "Autoregressive", "parents": []}]
    layers = [(layer["path"], layer["type"]) for layer in found["program"]["layers"] if layer["parameters"]]
    assert layers == [
        ("net.layers.0", "MaskedLinear"),
        ("net.layers.3", "MaskedLinear"),
        ("net.direct", "MaskedLinear"),
    ]
    assert found["generation"] == {"kind": "autoregressive", "passes": 6, "ordering": [2, 3, 4, 5, 0, 1]}


def test_autoencoder(runs) -> None:
    found = structure(runs, "autoencoder")
    assert found["program"]["name"] == "Autoencoder"
    assert found["program"]["sites"] == []
    assert found["guide"] is None
    assert found["generation"]["kind"] == "none"
    assert "no distribution over x" in found["generation"]["reason"]
    paths = [layer["path"] for layer in found["program"]["layers"] if layer["type"] == "Linear"]
    assert paths == ["encoder.0", "encoder.2", "decoder.0", "decoder.2"]


def test_a_density_made_of_an_autoencoder(runs) -> None:
    """Its encoder has no part in p(x, z), and is a part of the program that the report shows."""
    layers = structure(runs, "autoencoder_gmm")["program"]["layers"]
    paths = [layer["path"] for layer in layers if layer["type"] == "Linear"]
    assert paths == [f"autoencoder.{part}" for part in ("encoder.0", "encoder.2", "decoder.0", "decoder.2")]
    tables = {layer["path"] for layer in layers if layer["type"] == "Parameter"}
    assert tables >= {"latent_prior.logits", "latent_prior.loc"}


def test_independent_pixels(runs) -> None:
    found = structure(runs, "independent_pixels")
    assert found["program"]["sites"] == [{**X, "parents": []}]
    table = {"path": "pixel_parameters", "type": "Parameter", "input": [], "output": [6, 1], "parameters": 6}
    assert found["program"]["layers"] == [table]
    assert found["generation"] == {"kind": "ancestral", "passes": 1, "ordering": []}


@pytest.mark.parametrize("name", RECIPES)
def test_layers_hold_all_parameters(name, runs) -> None:
    """No parameter is forgotten and none counted twice."""
    found, run = structure(runs, name), load_run(runs / name)
    counted = sum(layer["parameters"] for layer in found["program"]["layers"])
    assert counted == sum(p.numel() for p in run.program.parameters()) == run.config["num_parameters"]["program"]
    if run.guide is not None:
        counted = sum(layer["parameters"] for layer in found["guide"]["layers"])
        assert counted == sum(p.numel() for p in run.guide.parameters()) == run.config["num_parameters"]["guide"]


def test_describing_leaves_no_trace(runs) -> None:
    """No hook stays, no random number is used, modes and gradients are as they were."""
    from inference.structure import describe

    run = load_run(runs / "vae")
    run.program.train()
    before = torch.get_rng_state()
    describe(run.program, run.guide, torch.zeros(3, 6))
    assert torch.equal(before, torch.get_rng_state())
    assert run.program.training
    assert not run.guide.training
    assert not any(module._forward_hooks for module in [*run.program.modules(), *run.guide.modules()])
    assert torch.is_grad_enabled()
