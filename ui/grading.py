"""Thumbs below an answer: good or bad, and a good one as a worked example for later prompts."""

from __future__ import annotations

import streamlit as st

from ragkit.collection import Collection
from ragkit.types import Answer
from ragkit.votes import Grade, Votes
from ui import state
from ui.views import Html, button, el, icon


def grades(collection: Collection) -> dict[int, Grade]:
    """The grades of a collection by answer."""
    return {grade.judged.answer.id: grade for grade in Votes(collection).grades() if grade.judged.answer.id is not None}


def thumbs(answer: Answer, grade: Grade | None) -> Html:
    """The two thumbs, the given one filled; below a good answer the way into the bank of examples."""
    shown = []
    for good, name, label in ((True, "thumb_up", "Good answer"), (False, "thumb_down", "Bad answer")):
        on = grade is not None and grade.good == good
        told = f"{label}: take it back" if on else label
        shown.append(button(icon(name), "grade", f"{answer.id}:{int(good)}", "rk-thumb rk-on" if on else "rk-thumb",
                            title=told, aria_label=told, aria_pressed="true" if on else "false"))  # fmt: skip
    if grade is not None and grade.good and not answer.abstained:
        shown.append(button("Use as an example", "example", f"{answer.id}:",
                            title="Adds question, passage and answer to the bank that few-shot templates draw from"))
    return el("div", *shown, class_="rk-thumbs")


def clicked(collection: Collection, event: str, value: str) -> bool:
    """Carry out a click on the thumbs; says whether it was one. Events: `grade`, `example`; the value is id:good."""
    if event not in ("grade", "example"):
        return False
    answer, _, good = value.partition(":")
    votes = Votes(collection)
    with state.mendable():
        if event == "example":
            new = votes.to_demonstrations(int(answer))
            st.toast("Added to the worked examples." if new else "It is a worked example already.",
                     icon=":material/school:")  # fmt: skip
            return True
        before = votes.grades(int(answer))
        if before and before[0].good == bool(int(good)):
            votes.ungrade(int(answer))
        else:
            votes.grade(int(answer), bool(int(good)))
    return True
