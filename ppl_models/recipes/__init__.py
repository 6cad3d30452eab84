"""Recipes: named (program, guide) pairs.

A recipe is a plain function ``(data_dim, **options with defaults) -> (program, guide)``; the guide is ``None`` where
there are no latents. Options called ``levels`` and ``shape`` are filled from the data. To add one, write the function
and its line in ``RECIPES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InvalidInput, nearest
from ..guides import GuideProgram
from .autoencoders import autoencoder, autoencoder_gmm
from .autoregressive import (
    fvsbn,
    gated_pixel_cnn,
    independent_pixels,
    made,
    nade,
    order_mixture,
    pixel_cnn,
    pixel_rnn,
    pixel_transformer,
)
from .base import FROM_DATA, GIVEN_TO_GUIDES, Pair, check_options, filled, parameters_of
from .discrete import discrete_vae
from .hybrids import lossy_vae, pixel_vae
from .latent import (
    conv_vae,
    iwae,
    ladder_vae,
    linear_vae,
    recurrent_vae,
    skip_vae,
    vae,
    vae_flow_prior,
    vae_iaf,
    vae_vamp,
)

RECIPES: dict[str, Callable[..., Pair]] = {
    "independent_pixels": independent_pixels,
    "fvsbn": fvsbn,
    "nade": nade,
    "made": made,
    "order_mixture": order_mixture,
    "pixel_rnn": pixel_rnn,
    "pixel_cnn": pixel_cnn,
    "gated_pixel_cnn": gated_pixel_cnn,
    "pixel_transformer": pixel_transformer,
    "vae": vae,
    "iwae": iwae,
    "vae_iaf": vae_iaf,
    "vae_vamp": vae_vamp,
    "vae_flow_prior": vae_flow_prior,
    "skip_vae": skip_vae,
    "conv_vae": conv_vae,
    "recurrent_vae": recurrent_vae,
    "ladder_vae": ladder_vae,
    "linear_vae": linear_vae,
    "discrete_vae": discrete_vae,
    "pixel_vae": pixel_vae,
    "lossy_vae": lossy_vae,
    "autoencoder": autoencoder,
    "autoencoder_gmm": autoencoder_gmm,
}


def find_recipe(name: str) -> Callable[..., Pair]:
    """The recipe of that name.

    Raises:
        InvalidInput: for an unknown one, with the nearest names.
    """
    if name not in RECIPES:
        raise InvalidInput("--recipe", name, "unknown recipe", nearest(name, RECIPES))
    return RECIPES[name]


def build(name: str, data: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Pair:
    """Build a recipe for given data.

    Args:
        name: the recipe.
        data: what the data say of themselves: ``data_dim``, ``levels``, ``shape`` (C, H, W); a recipe takes what it has
            a name for.
        options: the recipe's own options.

    Raises:
        InvalidInput: for an unknown recipe or option, or one that the data decide.
    """
    recipe, options = find_recipe(name), dict(options or {})
    check_options("recipe", name, recipe, options, FROM_DATA)
    return recipe(**filled(recipe, data), **options)


def build_guide(
    guide_class: type[GuideProgram],
    latent_dim: int,
    data: Mapping[str, Any],
    options: Mapping[str, Any],
) -> GuideProgram:
    """Build a guide class from ``(data_dim, latent_dim)``, what else it asks of the data, and its own options.

    Raises:
        InvalidInput: for an option the class does not have.
    """
    check_options("guide", guide_class.__name__, guide_class, options, GIVEN_TO_GUIDES)
    given = {k: v for k, v in filled(guide_class, data).items() if k != "data_dim"}
    return guide_class(data["data_dim"], latent_dim, **given, **options)


__all__ = [
    "FROM_DATA",
    "GIVEN_TO_GUIDES",
    "RECIPES",
    "Pair",
    "build",
    "build_guide",
    "check_options",
    "filled",
    "find_recipe",
    "parameters_of",
]
