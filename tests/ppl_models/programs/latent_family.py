"""The programs with one latent vector under test. A new one is one line here, which buys every test of its kind."""

from __future__ import annotations

from collections.abc import Callable

from ppl_models.program import LatentProgram
from ppl_models.programs import VAE, ConvVAE, LossyVAE, PixelVAE, RecurrentVAE, SkipVAE

SHAPE = (1, 2, 3)

# name -> options -> program over 2x3 pixels with one latent
FAMILY: dict[str, Callable[..., LatentProgram]] = {
    "vae": lambda L=1, **o: VAE(6, L, (5,), **o),
    "conv": lambda L=1, **o: ConvVAE(6, L, (4,), shape=SHAPE, **o),
    "deep conv": lambda L=1, **o: ConvVAE(6, L, (3, 4), shape=SHAPE, **o),
    "recurrent": lambda L=1, **o: RecurrentVAE(6, L, (5,), shape=SHAPE, **o),
    "skip": lambda L=1, **o: SkipVAE(6, L, (5, 4), **o),
    "pixel": lambda L=1, **o: PixelVAE(6, L, (5,), context=3, channels=4, depth=2, first_kernel=3, shape=SHAPE, **o),
    "pixel, convolutional": lambda L=1, **o: PixelVAE(
        6, L, (4,), "conv", context=2, channels=8, depth=2, first_kernel=3, ordering="shifted:2", shape=SHAPE, **o
    ),
    "lossy": lambda L=1, **o: LossyVAE(6, L, (5,), context=3, channels=8, shape=SHAPE, **o),
    "lossy, blind": lambda L=1, **o: LossyVAE(6, L, (5,), context=3, window=1, channels=8, shape=SHAPE, **o),
}
HYBRIDS = [name for name in FAMILY if name.startswith(("pixel", "lossy"))]
