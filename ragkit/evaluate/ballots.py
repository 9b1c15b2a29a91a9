"""Votes as ballots, split by what made the answers; and the pair to vote on next, its sides drawn by lot."""

from __future__ import annotations

import dataclasses
import math
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ragkit.errors import SettingsError
from ragkit.evaluate.ratings import Ballot, Table, next_pair, rate
from ragkit.types import Answer, Decoding, Variant, to_json
from ragkit.votes import Judged, Vote, draw_of

FACTORS = {
    "variant": "Everything that makes an answer.",
    "template": "The prompt template.",
    "selector": "How demonstrations are chosen; none where the prompt shows none.",
    "k": "How many demonstrations were asked for; 0 where the prompt shows none.",
    "order": "The order of the demonstrations; none where the prompt shows none.",
    "model": "The language model.",
    "adapter": "The adapter; none without one.",
}
"""What votes can be split by."""

_FIELD = {name: "demonstrations" if name == "k" else name for name in FACTORS}
"""Field of a variant behind each factor."""
_HASHED = ("template", "model", "adapter")


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two answers to vote on, with the sides drawn by lot."""

    left: Answer
    right: Answer
    draw: int
    """Seed of the draw, to be kept with the vote."""
    enough: bool
    """Whether the votes that are in already name the strongest variant with 95 % probability."""


def ballots(votes: Sequence[Vote], factor: str = "variant", *, alone: bool = False) -> list[Ballot]:
    """The votes as ballots between levels of a factor. Votes between equal levels inform nothing and are left out.

    A template, model or adapter that was changed under the same name counts as another level, marked with its hash.

    Args:
        votes: the votes.
        factor: one of FACTORS.
        alone: count only votes between answers that differ in nothing but this factor. Without it, what else
            differed between the two (another model, say) is credited to the factor.

    Raises SettingsError for an unknown factor.
    """
    if factor not in FACTORS:
        raise SettingsError(f"Votes cannot be split by {factor!r}.", f"Split them by: {', '.join(FACTORS)}.")
    marked = _changed(side for vote in votes for side in (vote.left, vote.right))
    told = [vote for vote in votes if not (alone and _differs_elsewhere(vote, factor))]
    return _between(told, lambda side: _level(side, factor, marked))


def _between(votes: Iterable[Vote], level: Callable[[Judged], str]) -> list[Ballot]:
    found = []
    for vote in votes:
        left, right = level(vote.left), level(vote.right)
        if left != right:
            found.append(Ballot(left, right, vote.choice, length_difference(vote.left.text, vote.right.text)))
    return found


def _among(votes: Iterable[Vote], names: Collection[str]) -> list[Ballot]:
    """Ballots between variants of these names, whatever version of a template or model was behind a name."""
    cast = _between(votes, lambda side: variant_name(side.answer.variant))
    return [ballot for ballot in cast if ballot.left in names and ballot.right in names]


def table(votes: Sequence[Vote], factor: str = "variant", *, alone: bool = False) -> Table:
    """Ratings of the levels of a factor."""
    return rate(ballots(votes, factor, alone=alone))


def length_difference(left: str, right: str) -> float:
    """log(words of the left answer / words of the right answer); an empty answer counts as one word."""
    return math.log(max(len(left.split()), 1) / max(len(right.split()), 1))


def pair(votes: Sequence[Vote], thread: str, answers: Sequence[Answer]) -> Pairing | None:
    """Which two kept answers of one comparison to vote on next; None when all its pairs have been voted on.

    Pairs of different variants come first, the one whose vote tells most before the others; then pairs of one variant
    (other seeds), which rate nothing and can still be trained on. Pairs of the same text are never asked for.

    Args:
        votes: all votes of the collection, those of this comparison among them.
        thread: the comparison.
        answers: its answers, with their ids.
    """
    done = {frozenset((vote.left.answer.id, vote.right.answer.id)) for vote in votes if vote.thread == thread}
    left_over = [
        (one, other)
        for one, other in combinations(sorted(answers, key=_id), 2)
        if frozenset((one.id, other.id)) not in done and one.text != other.text
    ]
    if not left_over:
        return None
    names = sorted({variant_name(answer.variant) for answer in answers})
    own = _among(votes, names)
    rivals = {_names(one, other): (one, other) for one, other in reversed(left_over)}
    among = [rival for rival in rivals if rival[0] != rival[1]]
    one, other = rivals[next_pair(own, names, among)] if among else left_over[0]
    draw = draw_of(thread, _id(one), _id(other))
    left, right = (other, one) if swapped(draw) else (one, other)
    return Pairing(left, right, draw, rate(own, names).enough)


def _id(answer: Answer) -> int:
    if answer.id is None:
        raise ValueError("only kept answers are voted on")
    return answer.id


def _names(one: Answer, other: Answer) -> tuple[str, str]:
    first, second = sorted((variant_name(one.variant), variant_name(other.variant)))
    return first, second


def next_variants(votes: Sequence[Vote], variants: Sequence[Variant], draw: int) -> tuple[Variant, Variant]:
    """Which two variants to put side by side next, left and right by the draw.

    Raises SettingsError unless two of them differ.
    """
    by_name = {variant_name(variant): variant for variant in variants}
    if len(by_name) < 2:
        raise SettingsError("A vote needs two different variants.", "Choose another template, model or setting.")
    one, other = (by_name[name] for name in next_pair(_among(votes, by_name), list(by_name)))
    return (other, one) if swapped(draw) else (one, other)


def swapped(draw: int) -> bool:
    """Whether a draw puts the first one on the right; over draws this is half of them."""
    return random.Random(draw).random() < 0.5


def variant_name(variant: Variant) -> str:
    """The variant's name with what is special about its decoding; a seed makes no other variant."""
    plain = Decoding()
    extras = [
        f"{part.name} {getattr(variant.decoding, part.name)}"
        for part in dataclasses.fields(Decoding)
        if part.name != "seed" and getattr(variant.decoding, part.name) != getattr(plain, part.name)
    ]
    return " + ".join([variant.name, *extras])


def _level(side: Judged, factor: str, marked: dict[str, set[str]]) -> str:
    """The level of a factor that made an answer."""
    variant = side.answer.variant
    shows = bool(side.answer.prompt and side.answer.prompt.demonstrations)
    if factor == "variant":
        return _mark("variant", variant_name(variant), _hashes(side), marked)
    if factor in _HASHED:
        return _mark(factor, getattr(variant, factor) or "none", getattr(side, f"{factor}_sha256"), marked)
    if factor == "k":
        return str(variant.demonstrations if shows else 0)
    return getattr(variant, factor) if shows else "none"


def _differs_elsewhere(vote: Vote, factor: str) -> bool:
    """Whether the answers were asked for with different settings besides the factor."""

    def rest(side: Judged) -> dict[str, object]:
        variant = side.answer.variant
        settings = to_json(dataclasses.replace(variant, decoding=dataclasses.replace(variant.decoding, seed=0)))
        settings |= {f"{name}_sha256": getattr(side, f"{name}_sha256") for name in _HASHED}
        return {name: value for name, value in settings.items() if name not in (_FIELD[factor], f"{factor}_sha256")}

    return factor != "variant" and rest(vote.left) != rest(vote.right)


def _hashes(side: Judged) -> str:
    return " ".join((side.template_sha256, side.model_sha256, side.adapter_sha256)).strip()


def _changed(sides: Iterable[Judged]) -> dict[str, set[str]]:
    """Names, by factor, that stand for more than one version among these answers."""
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for side in sides:
        variant = side.answer.variant
        seen["variant", variant_name(variant)].add(_hashes(side))
        for name in _HASHED:
            seen[name, getattr(variant, name) or "none"].add(getattr(side, f"{name}_sha256"))
    changed: dict[str, set[str]] = defaultdict(set)
    for (factor, name), versions in seen.items():
        if len(versions - {""}) > 1:
            changed[factor].add(name)
    return changed


def _mark(factor: str, name: str, version: str, marked: dict[str, set[str]]) -> str:
    return f"{name} @{_short(version)}" if name in marked.get(factor, ()) else name


def _short(version: str) -> str:
    """A few letters of one hash; of several, the start of each."""
    return "-".join(part[:6] for part in version.split()) or "unknown"
