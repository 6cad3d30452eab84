"""What a study of cures found, in sentences that are computed from its rows."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.claims import Claim
from analysis.cures import COLLAPSED, CURED, MARGIN, NAMES, REFERENCES, CureRow


def statements(rows: Sequence[CureRow]) -> list[str]:
    """The verdict, a sentence each: did the plain VAE collapse, which cures worked, what was gained at most."""
    sentences = []
    plain = next((row for row in rows if row.purpose == "plain" and row.rate is not None), None)
    if plain is not None:
        word = "collapses" if plain.has_collapsed else "does not collapse beyond doubt"
        rate = f"rate {plain.rate.mean:.2f} nats, 95% upper limit {plain.rate.upper:.2f}, threshold {COLLAPSED}"
        sentences.append(f"The plain VAE {word}: {rate}.")
    cures = [row for row in rows if row.is_cure]
    if not cures:
        return sentences
    against = " and ".join(NAMES[name] for name in REFERENCES if any(name in row.loss for row in cures))
    if not against:
        return [*sentences, "There is neither a decoder alone nor a plain VAE that cures could be held against."]
    reached = [row for row in cures if row.succeeds()]
    promise = f"a rate above {CURED:g} nats with the 95% upper limit of the loss of evidence against {against} below"
    names = f": {_listed(reached)}" if reached else ""
    sentences.append(f"{len(reached)} of {len(cures)} reach {promise} {MARGIN} nats in these runs{names}.")
    lasting = [row for row in cures if row.succeeds(over_seeds=True)]
    seeds = max(len(row.seeds) for row in cures)
    if seeds > 1:
        names = f": {_listed(lasting)}" if lasting else ""
        sentences.append(f"As methods, over {seeds} seeds, {len(lasting)} of them do{names}.")
    failed = [row for row in cures if row.check is not None and not row.check.holds]
    if failed:
        sentences.append(f"Did not do what they are for, whatever their evidence: {_listed(failed)}.")
    sentences += _gain(cures)
    return sentences


def _gain(cures: Sequence[CureRow]) -> list[str]:
    """What the best and the proposed one gain over the decoder alone, as follows from the claims."""
    held = [row for row in cures if "decoder" in row.loss]
    if not held:
        return []
    best = max(held, key=lambda row: row.loss["decoder"].negated.lower)
    chosen = [best, *(row for row in held if row.purpose == "proposed" and row is not best)]
    sentences = []
    for row in chosen:
        gain, word = row.loss["decoder"].negated, "at least " if row.claim is Claim.LOWER_BOUND else ""
        title = "The largest gain" if row is best else "The gain"
        proposed = ", the proposed objective," if row.purpose == "proposed" else ""
        sentences.append(
            f"{title} over the decoder alone, by {row.name}{proposed} is {word}{gain.mean:.2f} nats "
            f"(95% lower limit over images {gain.lower:.2f})."
        )
    return sentences


def _listed(rows: Sequence[CureRow]) -> str:
    return ", ".join(row.name for row in rows)
