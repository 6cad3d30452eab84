"""The variational autoencoder with discrete latents: log p(x) is a finite sum, and up to 2^16 terms it is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import InvalidInput, nearest
from ..nets import mlp
from ..priors import Bits, OneHot, Prior
from .decoder import DecoderProgram

# What a code is (``Prior.kind``) -> its default prior.
CODES: dict[str, Callable[[int], Prior]] = {"binary": Bits, "one-hot": OneHot}


class DiscreteVAE(DecoderProgram):
    """p(x, z) = p(z) prod_i p(x_i | f(z)_i) with a perceptron f and a discrete code z, its entries the floats 0 and 1.

    ``"binary"`` codes are L bits, which take 2^L values (Mnih & Gregor 2014, 1402.0030). ``"one-hot"`` codes are one of
    L categories, and the program a mixture of L products, whatever f: deeper ones tie their parameters.

        log p(x) = log sum_z p(z) p(x | z)

    The estimator ``enumerate`` takes this sum, up to 2^16 terms. The objective ``trace-enum`` trains without sampling
    noise, up to 2^12. Longer codes train by ``elbo``, whose gradient for the guide is then the noisy score function.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, bits or categories.
        hidden: widths of the decoder's hidden layers.
        nonlinearity: name of its activation.
        prior: p(z) over such codes; by default learnable: independent bits, or one categorical.
        levels: number of values of a pixel; 0 for real-valued ones.
        likelihood: the family of one pixel, see ``pixel_family``.
        code: ``"binary"`` or ``"one-hot"``.

    Raises:
        InvalidInput: for an unknown code, or a prior over something else.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int = 8,
        hidden: Sequence[int] = (200, 200),
        nonlinearity: str = "tanh",
        prior: Prior | None = None,
        levels: int = 2,
        likelihood: str = "auto",
        code: str = "binary",
    ) -> None:
        if code not in CODES:
            raise InvalidInput("code", code, "unknown code", nearest(str(code), CODES))
        prior = CODES[code](latent_dim) if prior is None else prior
        if (prior.kind, prior.latent_dim) != (code, latent_dim):
            problem = f"is over {prior.kind} latents of length {prior.latent_dim}, the code is {code} of {latent_dim}"
            remedy = f"take a prior whose kind is {code}, such as {CODES[code].__name__}({latent_dim})"
            raise InvalidInput("prior", type(prior).__name__, problem, remedy)
        super().__init__(data_dim, latent_dim, prior=prior, levels=levels, likelihood=likelihood)
        self.code = code
        self.decoder = mlp(latent_dim, hidden, data_dim * self.family.num_parameters, nonlinearity)
