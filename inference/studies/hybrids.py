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


def members(epochs: int, *annealed: str) -> tuple[Member, ...]:
    """The hybrid, both parts at its size, and both parts as they are inside it; all with as many updates at most, and
    the epoch that is best on validation kept.

    Args:
        epochs: of each.
        annealed: further estimators, which may say which of two bounds is higher. An annealed path decodes every image
            at each of its leapfrog steps: ``ais:100`` of 250 images by a PixelVAE took 18 to 21 minutes on a busy core.
    """
    bounds = ("elbo:64", "iw:5000", *annealed)
    annealing = AnnealingOptions(chains=4, start="guide", leapfrog=5)
    training = {"epochs": epochs, "patience": epochs}

    def latent(name: str, recipe: str, options: dict[str, Any]) -> Member:
        return Member(
            name, recipe, bounds, samples=0, recipe_arguments=options, training=training,
            evaluation={"annealing": annealing},
        )  # fmt: skip

    def decoder(name: str, options: dict[str, Any]) -> Member:
        return Member(name, "gated_pixel_cnn", ("exact",), samples=0, recipe_arguments=options, training=training)

    return (
        latent("pixel_vae", "pixel_vae", HYBRID),
        latent("vae", "vae", SIZED_VAE),
        decoder("decoder", SIZED_DECODER),
        latent("vae_as_inside", "vae", {}),
        decoder("decoder_as_inside", {**HYBRID, "first_kernel": 3}),
    )


MEMBERS = {"quick": members(60), "full": members(120, "ais:100")}
SEEDS = {"quick": (0, 1, 2), "full": (0, 1, 2, 3, 4)}
