from __future__ import annotations

import pytest

from ppl_models import InvalidInput
from ppl_models.priors import (
    PRIORS,
    AutoregressivePrior,
    Bits,
    FlowPrior,
    MixtureOfNormals,
    OneHot,
    Prior,
    StandardNormal,
    VampPrior,
    make_prior,
)


@pytest.mark.parametrize(
    ("spec", "cls"),
    [
        ("standard-normal", StandardNormal),
        ("mixture", MixtureOfNormals),
        ("vamp", VampPrior),
        ("flow", FlowPrior),
        ("bits", Bits),
        ("categorical", OneHot),
        ("autoregressive", AutoregressivePrior),
    ],
)
def test_every_name_makes_its_prior(spec: str, cls: type[Prior]) -> None:
    prior = make_prior(spec, 3, data_dim=6)
    assert type(prior) is cls
    assert prior.latent_dim == 3
    assert spec in PRIORS


def test_numbers_and_what_the_data_say_arrive() -> None:
    assert len(make_prior("mixture:7", 3, data_dim=6).logits) == 7
    assert len(make_prior("flow:4", 3, data_dim=6).nets) == 4
    vamp = make_prior("vamp:9", 3, data_dim=6, levels=5)
    assert vamp.free.shape == (9, 6)
    assert vamp.levels == 5
    assert len(make_prior("vamp", 3, data_dim=6).free) == 500


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vampp", "did you mean vamp"),
        ("normal", "did you mean standard-normal"),
        ("", "unknown"),
        ("vamp:", "vamp:2"),
        ("vamp:0", "at least 1"),
        ("vamp:-3", "components is a whole number"),
        ("vamp:2.5", "whole number"),
        ("vamp:1e3", "whole number"),
        ("vamp:²", "whole number"),
        ("vamp:9999999", "whole number"),
        ("flow:two", "flows is a whole number"),
        ("standard-normal:2", "takes no number"),
        ("bits:3", "takes no number"),
        ("vamp:5:5", "whole number"),
        (None, "unknown"),
    ],
)
def test_what_cannot_be_read_is_refused(spec: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        make_prior(spec, 3, data_dim=6)
    assert caught.value.argument == "prior"
    assert caught.value.value == spec


def test_priors_of_other_latents_are_refused() -> None:
    with pytest.raises(
        InvalidInput, match="binary latents, and the program's are continuous; use standard-normal, mix"
    ):
        make_prior("bits", 3, data_dim=6, kinds=("continuous",))
    with pytest.raises(InvalidInput, match=r"use categorical$"):
        make_prior("vamp:5", 3, data_dim=6, kinds=("one-hot",))
    assert isinstance(make_prior("autoregressive", 3, data_dim=6, kinds=("binary",)), AutoregressivePrior)
    with pytest.raises(InvalidInput, match=r"known: autoregressive, bits$"):
        make_prior("bit", 3, data_dim=6, kinds=("binary",))
