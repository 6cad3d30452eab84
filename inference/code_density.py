"""What turns a trained autoencoder into a density after the fact."""

from __future__ import annotations

import copy
import functools

import torch
from torch import Tensor
from torch.optim import AdamW

from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.errors import InvalidInput
from ppl_models.guides.code_normal import CodeNormal
from ppl_models.priors import MixtureOfNormals, Prior, VampPrior, make_prior
from ppl_models.program import check_images
from ppl_models.programs.autoencoder_density import AutoencoderDensity

from .estimators.base import MAX_ELEMENTS, evaluation_mode, rows_within
from .fit import fit
from .objectives import NegativeElbo
from .training import Training

# Added to the variances of the mixture's components in EM, where codes have variance 1: a start that is no narrower
# than the scales at which images leave their codes undecided.
LEAST_VARIANCE = 0.01
EM_STEPS = 500


def fit_code_density(
    autoencoder: Autoencoder | NotADensity,
    images: Tensor,
    density: str | Prior = "mixture:50",
    *,
    valid: Tensor | None = None,
    likelihood: str = "auto",
    scales: str = "image",
    epochs: int = 60,
    batch_size: int = 50,
    learning_rate: float = 5e-3,
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
) -> tuple[AutoencoderDensity, CodeNormal]:
    """A program over images, and its guide, around a copy of a trained autoencoder that stays as it is.

    p(x, z) = p(z) p(x | z) as in ``AutoencoderDensity``: z is a standardized code. The prior starts from the codes
    (a mixture by EM, a VampPrior at training images). Then prior, the calibration of the likelihood and the guide's
    scales maximise the ELBO, with encoder and decoder constant (ex-post density estimation, Ghosh et al. 2020,
    1903.12436; there the density is fitted to codes as points, and is nobody's bound).

    log p(x) of the program has bounds like any other's: ``ImportanceWeighted(guide, 5000)(program, x)``. Its images
    come from the training split; those of ``valid`` choose the epoch.

    Args:
        autoencoder: trained; it is copied and never changed.
        images: training images (N, D).
        density: the prior over codes: ``"mixture:K"``, ``"flow:F"``, ``"vamp:K"``, ``"standard-normal"`` (see
            ``make_prior``), or a ``Prior`` of that length, which is trained where it is.
        valid: validation images, whose ELBO chooses the epoch; without them the last is kept.
        likelihood: the family of a pixel, see ``AutoencoderDensity``.
        scales: ``"image"`` or ``"latent"``, see ``CodeNormal``.
        epochs, batch_size, learning_rate: of AdamW, the learning rate falling linearly to 2%; moving average 0.99.
        seed: of EM, of initial weights, shuffling and noise.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        progress: show a progress bar.

    Returns:
        The program and the guide, bound to each other, in evaluation mode.

    Raises:
        InvalidInput: for something else than an autoencoder, images that are none of its own, fewer images than
            components, a density over other latents, or settings that cannot train.
    """
    net = autoencoder.autoencoder if isinstance(autoencoder, NotADensity) else autoencoder
    if not isinstance(net, Autoencoder):
        raise InvalidInput("autoencoder", type(net).__name__, "is none", "give an Autoencoder, trained")
    settings = Training(epochs, batch_size, learning_rate)
    settings.check()
    for x in (images, valid):
        if x is not None:
            check_images(x, net.data_dim, net.levels, "mass" if net.levels else "density")
    like = next(net.parameters())
    with torch.random.fork_rng(devices=[] if like.device.type == "cpu" else [like.device]):
        torch.manual_seed(seed)
        program, guide = _pair(net, density, likelihood, scales)
        _start(program, images.to(like), seed)
    fit(
        NegativeElbo(program, guide),
        images.to(like.dtype),
        functools.partial(AdamW, lr=learning_rate, weight_decay=0.0),
        valid=None if valid is None else valid.to(like.dtype),
        epochs=epochs,
        batch_size=batch_size,
        average=settings.average,
        scheduler=settings.scheduler,
        seed=seed,
        device=device,
        progress=progress,
    )
    return program.eval(), guide.eval()


def _pair(
    net: Autoencoder, density: str | Prior, likelihood: str, scales: str
) -> tuple[AutoencoderDensity, CodeNormal]:
    """Program and guide on the autoencoder's device and in its precision, the copy of it frozen."""
    like = next(net.parameters())
    if isinstance(density, str):
        kinds = ("continuous",)
        prior = make_prior(density, net.latent_dim, data_dim=net.data_dim, levels=net.levels, kinds=kinds)
    else:
        prior = density
    program = AutoencoderDensity(copy.deepcopy(net).requires_grad_(False), prior, likelihood).to(like)
    guide = CodeNormal(net.data_dim, net.latent_dim, scales=scales).to(like)
    guide.bind(program)
    return program, guide


def _start(program: AutoencoderDensity, images: Tensor, seed: int) -> None:
    """Put the program where the codes of the training images are."""
    rows = rows_within(8 * MAX_ELEMENTS, images.shape[-1], program.autoencoder)
    with evaluation_mode(program):
        program.standardize(torch.cat([program.autoencoder.encode(batch) for batch in images.split(rows)]))
        codes = torch.cat([program.code(batch) for batch in images.split(rows)])
    prior = program.latent_prior
    if isinstance(prior, MixtureOfNormals):
        fit_by_em(prior, codes, seed)
    elif isinstance(prior, VampPrior):
        prior.initialise(images)


@torch.no_grad()
def fit_by_em(prior: MixtureOfNormals, codes: Tensor, seed: int = 0) -> None:
    """Maximum likelihood of a mixture of diagonal normals by expectation maximization (Dempster, Laird & Rubin 1977;
    scikit-learn's ``GaussianMixture``, started by k-means).

    Args:
        prior: K components; it is overwritten.
        codes: (N, L), N >= K. A component's variances are at least ``LEAST_VARIANCE``.
        seed: of the start.

    Raises:
        InvalidInput: for fewer codes than components.
    """
    from sklearn.mixture import GaussianMixture  # takes a second to import

    components = len(prior.logits)
    if len(codes) < components:
        problem = f"{components} components, and there are {len(codes)} images"
        raise InvalidInput("density", f"mixture:{components}", problem, "take fewer components")
    mixture = GaussianMixture(
        components, covariance_type="diag", reg_covar=LEAST_VARIANCE, max_iter=EM_STEPS, random_state=seed
    )
    mixture.fit(codes.double().cpu().numpy())
    means, variances = torch.as_tensor(mixture.means_), torch.as_tensor(mixture.covariances_)
    copy_mixture(prior, torch.as_tensor(mixture.weights_), means, variances)


@torch.no_grad()
def copy_mixture(prior: MixtureOfNormals, weights: Tensor, means: Tensor, variances: Tensor) -> None:
    """Weights (K,), means (K, L) and variances (K, L) of a mixture of diagonal normals as the prior's parameters."""
    # A component that EM emptied has weight 0, of which there is no logit.
    prior.logits.copy_(weights.clamp(min=torch.finfo(prior.logits.dtype).tiny).log())
    prior.loc.copy_(means)
    prior.log_scale.copy_(variances.log() / 2)
