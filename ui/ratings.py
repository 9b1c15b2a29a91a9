"""What the votes say: ratings with intervals by whatever made the answers, what to compare next, the training rows."""

from __future__ import annotations

import math

import streamlit as st

from ragkit.collection import Collection
from ragkit.evaluate import ledger
from ragkit.evaluate.ballots import FACTORS, ballots, next_variants, variant_name
from ragkit.evaluate.ratings import Table, rate
from ragkit.prompt.store import TemplateStore
from ragkit.types import Variant
from ragkit.votes import Vote, Votes
from ui import charts, comparison, panels, state
from ui.views import Html, count, el, empty, icon, notice, put

NAMES = {"variant": "Variant", "template": "Template", "selector": "Selector", "k": "Examples (k)", "order": "Order",
         "model": "Model", "adapter": "Adapter"}  # fmt: skip
"""What the factors are called here."""
FORMATS: dict[ledger.Format, str] = {"dpo": "DPO", "kto": "KTO", "reward": "Reward"}


def show(collection: Collection) -> None:
    """The panel below the comparisons."""
    cast = Votes(collection).list()
    told = f"  {count(len(cast), 'vote')}" if cast else ""
    put(el("h4", "Ratings", el("span", told, class_="rk-muted rk-small")), class_="rk-section")
    if not cast:
        empty("how_to_vote", "No votes yet",
              "Compare two or more answers and vote: which is better? Ratings grow from the votes.")  # fmt: skip
    else:
        _ratings(cast)
    if cast or Votes(collection).grades():
        _export(collection, cast)


def _ratings(cast: list[Vote]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="ratings-bar"):
        factor = st.segmented_control("Rate by", [name for name in NAMES if name in FACTORS], default="variant",
                                      format_func=NAMES.__getitem__, required=True, key="ratings.by",
                                      label_visibility="collapsed")  # fmt: skip
        alone = False
        if factor != "variant":
            alone = st.toggle("Only where nothing else differs", key="ratings.alone",
                              help="Leaves out votes between answers that differ in more than this.")  # fmt: skip
    factor = factor or "variant"
    told = ballots(cast, factor, alone=alone)
    table = rate(told)
    if not table.ratings:
        others = " Turn the switch off to count answers that differ in more." if alone else ""
        empty("balance", f"No vote tells anything about the {NAMES[factor].lower()} yet",
              f"Compare answers that differ in it, and vote.{others}")  # fmt: skip
        return
    mixed = 0 if alone else len(told) - len(ballots(cast, factor, alone=True))
    _chart(table)
    put(_table(table, factor))
    put(_notes(table, factor, mixed))
    _verdict(table, cast)


def _chart(table: Table) -> None:
    points = [
        charts.Point(each.name, each.rating, each.low, each.high,
                     told=f"{each.rating:,.0f} ({each.low:,.0f} to {each.high:,.0f})")
        for each in table.ratings
    ]  # fmt: skip
    st.altair_chart(charts.intervals(points, "Rating, 95 % interval (Elo scale)", 1000), width="stretch",
                    key="ratings.chart")  # fmt: skip


def _table(table: Table, factor: str) -> Html:
    head = [NAMES[factor], "Rating", "95 % interval", "Won", "Votes", "Is the strongest"]
    rows = [
        [each.name, f"{each.rating:,.0f}", f"{each.low:,.0f} to {each.high:,.0f}", f"{each.wins:g}", str(each.votes),
         f"{each.best:.0%}"]
        for each in table.ratings
    ]  # fmt: skip
    return comparison.table(head, rows)


def _notes(table: Table, factor: str, mixed: int) -> Html:
    told = (f"Counted: {count(table.votes, 'vote')} that prefer one or call a tie. Discounted: standing left "
            f"{table.left_bonus:+.0f} points, an answer twice as long {table.length_bonus * math.log(2):+.0f} points.")
    other = f" In {mixed} of them the answers differ in more than the {NAMES[factor].lower()}." if mixed else ""
    return el("p", told, other, class_="rk-muted rk-small rk-after")


def _verdict(table: Table, cast: list[Vote]) -> None:
    first = table.ratings[0]
    if table.enough:
        notice("good", "Enough votes are in.",
               el("p", el("b", first.name), f" is the strongest with {first.best:.0%} probability."))  # fmt: skip
        return
    variants = list({variant_name(side.answer.variant): side.answer.variant
                     for vote in cast for side in (vote.left, vote.right)}.values())  # fmt: skip
    if len({variant_name(variant) for variant in variants}) < 2:
        return
    left, right = next_variants(cast, variants, len(cast))
    notice("info", "Not enough votes yet to name the strongest.",
           el("p", "Most would be learned from ", el("b", variant_name(left)), " against ",
              el("b", variant_name(right)), "."))  # fmt: skip
    st.button("Compare these two next", icon=":material/play_arrow:", key="ratings.next",
              on_click=_prefill, args=(left, right))  # fmt: skip


def _prefill(left: Variant, right: Variant) -> None:
    panels.put_into_compare(left, right, blind=True)
    st.toast("The two stand in the form. Ask them something.", icon=":material/arrow_upward:")


def _export(collection: Collection, cast: list[Vote]) -> None:
    """The votes and grades as rows for trl's trainers."""
    put(el("h4", "Training data from votes"),
        el("p", "Rows that trl's trainers load, each with the votes it comes from.", class_="rk-muted rk-small"),
        class_="rk-section")  # fmt: skip
    store = TemplateStore(state.home() / "templates")
    with st.container(horizontal=True, vertical_alignment="bottom", key="ledger-bar"):
        names = ["", *store.names]
        usual = names.index(Variant().template) if Variant().template in names else 0
        template = st.selectbox("Deployment template", names, usual, key="ledger.template", width=260,
                                format_func=lambda name: name or "none: leave mixed pairs out",
                                help="Two answers made by different templates had different prompts. Such pairs are "
                                "attached to the prompt of this template.")  # fmt: skip
        unpair = st.toggle("Votes as single ratings", key="ledger.unpair",
                           help="KTO only: takes the better of two as good and the other as bad.")  # fmt: skip
    deploy = store.get(template).render if template else None
    given = Votes(collection).grades()
    for column, form in zip(st.columns(3), FORMATS, strict=True):
        built = ledger.build(form, cast, given, template=template, deploy=deploy, unpair=unpair)
        with column, st.container(border=True):
            _files(collection, built, form)


def _files(collection: Collection, built: ledger.Ledger, form: ledger.Format) -> None:
    reasons = [el("li", f"{number} left out: {reason}") for reason, number in built.reasons.items()]
    longest = f"Longest about {built.longest:,} tokens." if built.longest else ""
    put(
        el("div", el("b", FORMATS[form]), el("span", count(len(built.rows), "row"), class_="rk-badge rk-good"
           if built.rows else "rk-badge"), class_="rk-card-top"),
        el("p", ledger.FORMATS[form], class_="rk-muted rk-small"),
        el("p", longest, class_="rk-small") if longest else None,
        el("details", el("summary", icon("info"), f" {sum(built.reasons.values())} votes or grades left out"),
           el("ul", *reasons), class_="rk-reasons rk-small") if reasons else None,
    )  # fmt: skip
    if not built.rows:
        return
    with st.container(horizontal=True):
        for name, text in ledger.files(built, f"{collection.name}-{form}.jsonl", source=collection.name).items():
            card = name.endswith(".card.json")
            label = "Card" if card else f"{FORMATS[form]} rows" + (" (completions)" if ".completion." in name else "")
            st.download_button(label, text, name, "application/json" if card else "application/jsonl",
                               key=f"ledger.{name}", icon=":material/download:", on_click="ignore",
                               type="tertiary" if card else "secondary")  # fmt: skip
