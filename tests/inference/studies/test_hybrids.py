"""The study of hybrids: its three sides have as many parameters and updates, and the parts are those of the hybrid."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.data import load_data
from inference.studies import STUDIES, Plan, of_budget
from inference.studies.members import job_of
from inference.train import prepare
from ppl_models.program import HasLogProb


@pytest.fixture(scope="module", params=["quick", "full"])
def prepared(request, tmp_path_factory) -> dict:
    study, data = STUDIES["hybrids"], load_data("digits", None)
    members = of_budget(study.MEMBERS, request.param)
    out = Path(tmp_path_factory.mktemp("study"))
    plan = Plan("hybrids", study.QUESTION, members, (0,), "digits", None, out, request.param, False, False)
    return {member.name: prepare(job_of(plan, data, member, 0, f"{member.name}/seed-0")) for member in members}


def test_equal_numbers_of_parameters_and_updates(prepared) -> None:
    sizes = {name: sum(found.config["num_parameters"].values()) for name, found in prepared.items()}
    hybrid = sizes["pixel_vae"]
    assert sizes["vae"] == pytest.approx(hybrid, rel=0.01)
    assert sizes["decoder"] == pytest.approx(hybrid, rel=0.01)
    assert max(sizes["vae_as_inside"], sizes["decoder_as_inside"]) < hybrid
    settings = [found.config["training"] for found in prepared.values()]
    assert len({(each["epochs"], each["batch_size"]) for each in settings}) == 1
    assert all(each["patience"] == each["epochs"] for each in settings)


def test_the_parts_are_those_of_the_hybrid(prepared) -> None:
    """The VAE has its encoder, the decoder its convolutions; the decoder alone is exact and the others are not."""
    programs = {name: found.objective.program for name, found in prepared.items()}
    guides = {name: found.objective.guide for name, found in prepared.items()}
    shapes = {name: [tuple(p.shape) for p in guide.parameters()] for name, guide in guides.items() if guide is not None}
    assert shapes["vae_as_inside"] == shapes["pixel_vae"]
    assert {name for name, program in programs.items() if isinstance(program, HasLogProb)} == {
        "decoder", "decoder_as_inside"
    }  # fmt: skip
    inside = prepared["decoder_as_inside"].config["recipe_arguments"]
    hybrid = prepared["pixel_vae"].config["recipe_arguments"]
    for option in ("channels", "depth", "kernel", "first_kernel", "dropout", "ordering"):
        assert inside[option] == hybrid[option]
