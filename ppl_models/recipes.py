"""Recipes: named (program, guide) pairs.

A recipe is a plain function ``(data_dim, **options with defaults) -> (program, guide)``; the guide is ``None`` where
there are no latents. Options called ``levels`` and ``shape`` are filled from the data. To add one, write the function
and its line in ``RECIPES``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from .autoencoder import Autoencoder, NotADensity
from .errors import InvalidInput, nearest
from .guides import DiagonalNormal, GuideProgram
from .programs import (
    FVSBN,
    MADE,
    NADE,
    VAE,
    GatedPixelCNN,
    IndependentPixels,
    OrderMixture,
    PixelCNN,
    PixelRNN,
    PixelTransformer,
)

Pair = tuple[nn.Module, GuideProgram | None]
FROM_DATA = ("data_dim", "levels", "shape")
# A guide is also told the length of its program's latent vector.
GIVEN_TO_GUIDES = (*FROM_DATA, "latent_dim")


def independent_pixels(data_dim: int, *, levels: int = 2) -> Pair:
    """Every pixel on its own: the baseline."""
    return IndependentPixels(data_dim, levels=levels), None


def fvsbn(
    data_dim: int,
    *,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Fully visible sigmoid belief net: a logistic regression per pixel."""
    return FVSBN(data_dim, ordering, levels, likelihood, shape), None


def nade(
    data_dim: int,
    *,
    hidden: Sequence[int] = (500,),
    ordering: str | Sequence[int] = "raster",
    nonlinearity: str = "sigmoid",
    dropout: float = 0.3,
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """NADE (Larochelle & Murray 2011): a perceptron per pixel that shares one running sum."""
    return NADE(data_dim, hidden, ordering, nonlinearity, dropout, levels, likelihood, shape), None


def made(
    data_dim: int,
    *,
    hidden: Sequence[int] = (500,),
    direct: bool = True,
    ordering: str | Sequence[int] = "raster",
    nonlinearity: str = "relu",
    dropout: float = 0.3,
    cycle: str = "none",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """MADE (Germain et al. 2015): exact likelihood from one masked perceptron."""
    return MADE(data_dim, hidden, direct, ordering, nonlinearity, dropout, levels, likelihood, shape, cycle), None


def order_mixture(
    data_dim: int,
    *,
    num_components: int = 16,
    hidden: Sequence[int] = (500,),
    direct: bool = True,
    vary: str = "orders",
    fresh: bool = True,
    nonlinearity: str = "relu",
    dropout: float = 0.0,
    structure_seed: int = 0,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Mixture over orderings of one masked perceptron (EoNADE and MADE's ensembles): exact by K passes."""
    program = OrderMixture(
        data_dim,
        num_components=num_components,
        hidden=hidden,
        direct=direct,
        vary=vary,
        fresh=fresh,
        nonlinearity=nonlinearity,
        dropout=dropout,
        structure_seed=structure_seed,
        ordering=ordering,
        levels=levels,
        likelihood=likelihood,
        shape=shape,
    )
    return program, None


def pixel_rnn(
    data_dim: int,
    *,
    hidden: int = 128,
    depth: int = 1,
    cell: str = "gru",
    above: bool = True,
    position: bool = True,
    dropout: float = 0.0,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """A recurrence over the pixels in the order of generation."""
    program = PixelRNN(
        data_dim,
        hidden=hidden,
        depth=depth,
        cell=cell,
        above=above,
        position=position,
        dropout=dropout,
        ordering=ordering,
        levels=levels,
        likelihood=likelihood,
        shape=shape,
    )
    return program, None


def pixel_cnn(
    data_dim: int,
    *,
    channels: int = 32,
    depth: int = 4,
    kernel: int = 3,
    first_kernel: int = 5,
    dropout: float = 0.0,
    position: bool = True,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """PixelCNN (van den Oord et al. 2016): masked convolutions."""
    program = PixelCNN(
        data_dim,
        channels=channels,
        depth=depth,
        kernel=kernel,
        first_kernel=first_kernel,
        dropout=dropout,
        position=position,
        ordering=ordering,
        levels=levels,
        likelihood=likelihood,
        shape=shape,
    )
    return program, None


def gated_pixel_cnn(
    data_dim: int,
    *,
    channels: int = 32,
    depth: int = 4,
    kernel: int = 3,
    first_kernel: int = 5,
    dropout: float = 0.0,
    position: bool = True,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Gated PixelCNN (van den Oord et al. 2016): two stacks, no blind spot."""
    program = GatedPixelCNN(
        data_dim,
        channels=channels,
        depth=depth,
        kernel=kernel,
        first_kernel=first_kernel,
        dropout=dropout,
        position=position,
        ordering=ordering,
        levels=levels,
        likelihood=likelihood,
        shape=shape,
    )
    return program, None


def pixel_transformer(
    data_dim: int,
    *,
    width: int = 64,
    depth: int = 2,
    heads: int = 4,
    expansion: int = 4,
    kernel: int = 3,
    dropout: float = 0.1,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Causal attention over the pixels (Parmar et al. 2018)."""
    program = PixelTransformer(
        data_dim,
        width=width,
        depth=depth,
        heads=heads,
        expansion=expansion,
        kernel=kernel,
        dropout=dropout,
        ordering=ordering,
        levels=levels,
        likelihood=likelihood,
        shape=shape,
    )
    return program, None


def vae(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    levels: int = 2,
) -> Pair:
    """Variational autoencoder (Kingma & Welling 2014) with a diagonal normal guide."""
    program = VAE(data_dim, latent_dim, hidden, nonlinearity, levels=levels)
    return program, DiagonalNormal(data_dim, latent_dim, hidden, nonlinearity, levels)


def autoencoder(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    levels: int = 2,
) -> Pair:
    """Deterministic autoencoder: reconstructs, and has no density."""
    return NotADensity(Autoencoder(data_dim, latent_dim, hidden, nonlinearity, levels)), None


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
    "autoencoder": autoencoder,
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


def check_options(
    prefix: str, name: str, target: Callable[..., Any], options: Mapping[str, Any], given: Sequence[str]
) -> None:
    """Raise ``InvalidInput``, with the nearest names, for an option that ``target`` lacks or that it is ``given``."""
    known = [own for own in parameters_of(target) if own not in given]
    for option, value in options.items():
        if option not in known:
            problem = f"{name} has no such option"
            raise InvalidInput(f"--{prefix}.{option}", value, problem, nearest(option, known))


def filled(target: Callable[..., Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a function or class that the data decide."""
    return {name: data[name] for name in parameters_of(target) if name in FROM_DATA and name in data}


def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The named parameters of a function or class; a class that takes ``**options`` has those of its parent too."""
    found: dict[str, inspect.Parameter] = {}
    for owner in target.__mro__ if isinstance(target, type) else (target,):
        if isinstance(target, type) and "__init__" not in vars(owner):
            continue
        own = inspect.signature(owner).parameters.values()
        found = {p.name: p for p in own if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} | found
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return found
