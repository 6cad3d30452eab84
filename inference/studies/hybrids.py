"""The study of a hybrid: is a latent vector with an autoregressive decoder worth more than either alone?"""

from __future__ import annotations

from typing import Any

from ..estimators import AnnealingOptions
from .members import Member

QUESTION = (
    "Does a PixelVAE (a latent vector, and pixels that see the ones before them) give test images a higher log p(x) "
    "than a VAE without such pixels and than its decoder without a latent vector, at as many parameters and updates?"
)

# On 64 binary pixels these three have as many parameters, guides included, to half a percent.
HYBRID = {"channels": 24, "depth": 2}
SIZED_VAE = {"hidden": [500, 500]}
SIZED_DECODER = {"channels": 91, "depth": 4}


def members(epochs: int, *, anneal_hybrid: bool) -> tuple[Member, ...]:
    """The hybrid, both parts at its size, and both parts as they are inside it; all with as many updates at most, and
    the epoch that is best on validation kept.

    Args:
        epochs: of each.
        anneal_hybrid: whether the PixelVAE too is annealed. Against its bound, annealing of the VAEs is what may show
            that they are lower, and takes a minute each. A path decodes every image at each leapfrog step, which for
            250 images of the PixelVAE took 18 to 21 minutes on a busy core.
    """
    bounds, annealed = ("elbo:64", "iw:5000"), ("ais:100",)
    annealing = AnnealingOptions(chains=4, start="guide", leapfrog=5)
    training = {"epochs": epochs, "patience": epochs}

    def latent(name: str, recipe: str, options: dict[str, Any], *, anneal: bool = True) -> Member:
        return Member(
            name, recipe, (*bounds, *annealed) if anneal else bounds, samples=0, recipe_arguments=options,
            training=training, evaluation={"annealing": annealing},
        )  # fmt: skip

    def decoder(name: str, options: dict[str, Any]) -> Member:
        return Member(name, "gated_pixel_cnn", ("exact",), samples=0, recipe_arguments=options, training=training)

    return (
        latent("pixel_vae", "pixel_vae", HYBRID, anneal=anneal_hybrid),
        latent("vae", "vae", SIZED_VAE),
        decoder("decoder", SIZED_DECODER),
        latent("vae_as_inside", "vae", {}),
        decoder("decoder_as_inside", {**HYBRID, "first_kernel": 3}),
    )


MEMBERS = {"quick": members(60, anneal_hybrid=False), "full": members(120, anneal_hybrid=True)}
SEEDS = {"quick": (0, 1, 2), "full": (0, 1, 2, 3, 4)}
