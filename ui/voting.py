"""Voting on a comparison: two answers without names, sides by lot, one key a vote; names when all pairs are through."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import combinations

import streamlit as st

from ragkit.collection import Collection
from ragkit.evaluate.ballots import Pairing, pair, variant_name
from ragkit.types import Answer
from ragkit.votes import Choice, Vote, Votes
from ui import state
from ui.views import Html, count, el, icon, join, put

BUTTONS: dict[Choice, tuple[str, str, str]] = {
    "left": ("Left is better", "Left", ":material/arrow_back:"),
    "tie": ("Tie", "T", ":material/drag_handle:"),
    "bad": ("Both bad", "B", ":material/thumb_down:"),
    "right": ("Right is better", "Right", ":material/arrow_forward:"),
}
"""Label, key and symbol of each choice, as they stand from left to right."""
_SHOWN = "vote.shown"
"""Session: since when which pair has been on show."""


def next_pair(collection: Collection, thread: str, given: list[Answer]) -> Pairing | None:
    """The pair to vote on, chosen for what its vote would tell; None when there is none left."""
    return pair(Votes(collection).list(), thread, given) if len(given) > 1 else None


def ballot(
    collection: Collection, thread: str, given: list[Answer], pairing: Pairing, draw: Callable[[Answer, str], None]
) -> None:
    """One pair with its buttons. `draw` puts an answer under a title on the page."""
    cast = Votes(collection).list(thread)
    blind = st.query_params.get("blind") == "1"
    pairs = sum(one.text != other.text for one, other in combinations(given, 2))
    told = f"Pair {min(len(cast) + 1, pairs)} of {pairs}." if pairs > 1 else ""
    names = "Names are hidden until all pairs are through." if blind else "You have seen the names: it counts as such."
    with st.container(horizontal=True, vertical_alignment="center", key="blind-bar"):
        put(el("p", icon("visibility_off" if blind else "visibility"), f" Which answer is better? {told} {names}",
               class_="rk-muted"))  # fmt: skip
        st.button("Reveal", icon=":material/visibility:", type="tertiary", on_click=reveal)
    for side, column, answer in zip(("Left", "Right"), st.columns(2, gap="medium"), (pairing.left, pairing.right),
                                    strict=True):  # fmt: skip
        with column:
            draw(answer, side)
    _start_clock(pairing)
    with st.container(horizontal=True, horizontal_alignment="center", key="ballot"):
        for choice, (label, key, symbol) in BUTTONS.items():
            st.button(label, key=f"vote.{choice}", shortcut=key, icon=symbol, on_click=_cast,
                      args=(collection, thread, pairing, choice, blind),
                      icon_position="right" if choice == "right" else "left")  # fmt: skip
    if cast:
        _last(collection, thread, cast, named=False)


def result(collection: Collection, thread: str, given: list[Answer]) -> None:
    """What the votes of a comparison came to, with the names; and the way to vote on what is left."""
    cast = Votes(collection).list(thread)
    left = next_pair(collection, thread, given)
    if cast:
        _last(collection, thread, cast, named=True)
    if left is not None:
        label = "Vote on the next pair" if cast else "Vote on these answers"
        st.button(label, icon=":material/how_to_vote:", key="vote.open", on_click=_open)
    elif not cast and len(given) > 1:
        put(el("p", "There is nothing to vote on: the answers say the same.", class_="rk-muted rk-small"))


def wins(collection: Collection, thread: str) -> dict[int, Html]:
    """A mark for each answer of a comparison that was voted on: how its votes went."""
    counts: dict[int, list[float]] = {}
    for vote in Votes(collection).list(thread):
        for side in (vote.left, vote.right):
            if side.answer.id is not None and vote.choice != "bad":
                better = vote.preferred
                won = 0.5 if better is None else float(better[0] is side)
                counts.setdefault(side.answer.id, []).append(won)
    return {
        key: el("span", f"won {sum(found):g} of {len(found)}", class_=f"rk-badge {_tone(found)}".strip())
        for key, found in counts.items()
    }


def _tone(found: list[float]) -> str:
    return "rk-good" if sum(found) > len(found) / 2 else ""


def words(vote: Vote, named: bool) -> Html:
    """A vote as a sentence; without names, by its sides."""
    left, right = (el("b", variant_name(side.answer.variant)) if named else el("b", name)
                   for side, name in ((vote.left, "left"), (vote.right, "right")))  # fmt: skip
    if vote.choice == "tie":
        return join([left, " and ", right, ": a tie"])
    if vote.choice == "bad":
        return join([left, " and ", right, ": both bad"])
    return join([left, " over ", right] if vote.choice == "left" else [right, " over ", left])


def _last(collection: Collection, thread: str, cast: list[Vote], named: bool) -> None:
    """The last votes and the way back."""
    with st.container(horizontal=True, vertical_alignment="center", key="vote-last"):
        told = f" {count(len(cast), 'vote')} here, the last: " if len(cast) > 1 else " Your vote: "
        put(el("p", icon("how_to_vote"), told, words(cast[-1], named)))
        st.button("Undo", key="vote.undo", shortcut="U", icon=":material/undo:", type="tertiary",
                  on_click=_undo, args=(collection, thread))  # fmt: skip


def _start_clock(pairing: Pairing) -> None:
    shown = st.session_state.get(_SHOWN)
    pair_of = (pairing.left.id, pairing.right.id)
    if not shown or shown[0] != pair_of:
        st.session_state[_SHOWN] = (pair_of, time.monotonic())


def _cast(collection: Collection, thread: str, pairing: Pairing, choice: Choice, blind: bool) -> None:
    votes = Votes(collection)
    current = next_pair(collection, thread, [pairing.left, pairing.right])
    if current is None or pairing.left.id is None or pairing.right.id is None:
        return  # voted on already, in another window or by a key that was held down
    begun = st.session_state.pop(_SHOWN, None)
    with state.mendable():
        votes.cast(pairing.left.id, pairing.right.id, choice, blind=blind, draw=pairing.draw,
                   seconds=round(time.monotonic() - begun[1], 1) if begun else None)  # fmt: skip


def _undo(collection: Collection, thread: str) -> None:
    if Votes(collection).undo(thread) is not None and "blind" not in st.query_params:
        _open()


def _open() -> None:
    st.query_params["vote"] = "1"


def reveal() -> None:
    """Show the names."""
    for name in ("blind", "vote"):
        st.query_params.pop(name, None)


def over(collection: Collection, thread: str) -> bool:
    """Whether a comparison was voted on to the end; its names are then shown."""
    done = bool(Votes(collection).list(thread, limit=1))
    if done:
        reveal()
    return done
