"""Evaluation sets in the browser: import, write by hand, draft from the documents, look through, delete."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ragkit.collection import Collection
from ragkit.drafting import drafts
from ragkit.errors import RagkitError
from ragkit.evaluate.drafts import Draft, listed
from ragkit.evaluate.importers import read_set
from ragkit.home import check_name
from ragkit.sets import EvaluationSet, SetError, Sets, question_id, set_name
from ragkit.types import Gold, Question
from ui import state
from ui.views import Html, ago, button, count, el, empty, icon, join, notice, panel, problem, put

ROWS = 20
"""Questions on one page of a set."""
DRAFTS = 10
"""Drafts that are proposed at a time."""


def show(collection: Collection) -> None:
    """All sets of the collection, and the ways to a new one."""
    there = Sets(collection).list()
    if there:
        panel("sets", el("div", *map(_row, there), class_="rk-rows"), on_event=lambda _, name: open_set(name))
    else:
        empty("quiz", "No evaluation set yet",
              "A set holds questions with the answers that count as right. Import one, write it, or draft it from the "
              "documents.")  # fmt: skip
    left, right = st.columns([1.6, 1], gap="medium")
    with left:
        _import(collection)
    with right, st.container(border=True):
        put(el("b", "Write or draft a set"))
        st.text_input("Name of the new set", key="set.new", placeholder="first-questions", max_chars=64,
                      help="Letters, digits, hyphens and underscores.")  # fmt: skip
        st.button("Start the set", icon=":material/add:", on_click=_new)
        if error := st.session_state.pop("set.error", None):
            problem(error)


def open_set(name: str) -> None:
    """Go to a set."""
    st.query_params["set"] = name


def _row(item: EvaluationSet) -> Html:
    answerable = item.count - item.unanswerable
    counts = f"{count(item.count, 'question')}: {answerable} answerable, {item.unanswerable} unanswerable"
    main = el("span", el("span", item.name, class_="rk-name rk-one-line"),
              el("span", counts, class_="rk-muted rk-small rk-block"), class_="rk-main")  # fmt: skip
    side = el("span", f"version {item.version}", el("br"), ago(item.created), class_="rk-side")
    return button(join([main, side]), "open", item.name, "rk-row", title=f"From {item.source}" if item.source else None)


def _import(collection: Collection) -> None:
    turn = st.session_state.setdefault("set.turn", 0)
    file = st.file_uploader("Import questions", type=["jsonl", "json", "csv", "tsv", "txt"], key=f"set.upload-{turn}",
                            help="JSON lines or CSV with question and answers, or SQuAD JSON (v1.1 or v2.0). No "
                            "answers at all means: the documents do not hold one.")  # fmt: skip
    if file is None:
        return
    with st.spinner("Reading the questions …"):
        try:
            made = Sets(collection).put(set_name(file.name), _read(file), file.name)
        except RagkitError as error:
            problem(error)
            return
    st.session_state["set.turn"] = turn + 1
    st.toast(f"{made.name}: {count(made.count, 'question')}.", icon=":material/check:")
    st.rerun()


def _read(file: UploadedFile) -> list[Question]:
    """The questions of an upload; messages name the file as its owner does."""
    with tempfile.TemporaryDirectory(prefix="ragkit-") as folder:
        path = Path(folder) / "questions"
        path.write_bytes(file.getvalue())
        try:
            return read_set(path)
        except SetError as error:
            raise SetError(error.message.replace(str(path), file.name), error.hint) from error


def _new() -> None:
    try:
        open_set(check_name(st.session_state["set.new"].strip(), "set"))
        st.session_state["set.new"] = ""
    except RagkitError as error:
        st.session_state["set.error"] = error


def show_one(collection: Collection, name: str) -> None:
    """One set: its questions and what can be added to them."""
    check_name(name, "set")
    sets = Sets(collection)
    kept = next((item for item in sets.list() if item.name == name), None)
    questions = sets.questions(name) if kept else []
    told = f"Version {kept.version}, {kept.sha256[:12]}, changed {ago(kept.created)}: {kept.source}" if kept else "New"
    with st.container(horizontal=True, vertical_alignment="center", key="set-head"):
        put(el("h3", name), el("p", told, class_="rk-muted rk-small"))
        if kept:
            st.download_button("Export", lambda: sets.export(name), f"{name}.jsonl", "application/jsonl",
                               icon=":material/download:", on_click="ignore", key="set.export")  # fmt: skip
            with st.popover("Delete", icon=":material/delete:"):
                put(el("p", "The set goes with all its versions. Runs that were made on it stay."))
                st.button("Delete the set", type="primary", key="set.delete", on_click=_delete, args=(sets, name))
    listing, write, draft = st.tabs([f"Questions ({len(questions)})", "Write one", "Draft from the documents"])
    with listing:
        _questions(sets, name, questions)
    with write:
        _write(collection, sets, name)
    with draft:
        _draft(collection, sets, name, questions)


def _delete(sets: Sets, name: str) -> None:
    sets.remove(name)
    st.query_params.pop("set", None)


def _questions(sets: Sets, name: str, questions: list[Question]) -> None:
    if not questions:
        empty("quiz", "No questions yet", "Write one, or draft some from the documents.")
        return
    last = (len(questions) - 1) // ROWS + 1
    page = st.pagination(last, key="set.page") if last > 1 else 1
    rows = [_question(each, len(questions) > 1) for each in questions[(page - 1) * ROWS : page * ROWS]]
    panel("set-questions", el("div", *rows, class_="rk-rows"), on_event=lambda _, number: _take_out(sets, name, number))


def _question(each: Question, removable: bool) -> Html:
    if each.answerable:
        answers = el("span", " | ".join(each.answers), class_="rk-small rk-block")
    else:
        told = "no answer in the documents" if each.judged else "answers not judged"
        answers = el("span", told, class_="rk-badge rk-warn" if each.judged else "rk-badge")
    places = [f"{gold.document}{f', p. {gold.page}' if gold.page else ''}" for gold in each.gold[:3] if gold.document]
    where = el("span", " · ".join(places), class_="rk-muted rk-small rk-block") if places else None
    main = el("span", el("span", each.question, class_="rk-name"), answers, where, class_="rk-main")
    out = button(icon("close"), "delete", each.id, "rk-thumb", title="Take this question out",
                 aria_label=f"Take out: {each.question}") if removable else None  # fmt: skip
    return el("div", main, out, class_="rk-row")


def _take_out(sets: Sets, name: str, question: str) -> None:
    with state.mendable():
        sets.delete(name, question)


def _write(collection: Collection, sets: Sets, name: str) -> None:
    with st.form("set.write", clear_on_submit=True):
        text = st.text_area("Question", key="set.question", height=80, max_chars=4000)
        answers = st.text_area("Answers that count as right, one a line", key="set.answers", height=80,
                               help="Leave empty if the documents do not hold an answer.")  # fmt: skip
        names = ["", *(document.name for document in collection.documents())]
        left, right = st.columns([3, 1])
        document = left.selectbox("Document that holds it", names, format_func=lambda each: each or "not said",
                                  key="set.document")  # fmt: skip
        page = right.number_input("Page", 0, 100_000, 0, key="set.gold-page", help="0: not said.")
        sent = st.form_submit_button("Add the question", icon=":material/add:", type="primary")
    if not sent:
        return
    if not text.strip():
        notice("warn", "The question is empty.")
        return
    lines = tuple(line.strip() for line in answers.splitlines() if line.strip())
    gold = (Gold(document, page or None),) if document and lines else ()
    made = Question("", text.strip(), lines, gold)
    with state.mendable():
        sets.add(name, Question(question_id(made), made.question, made.answers, made.gold))
        st.rerun()


def _draft(collection: Collection, sets: Sets, name: str, questions: list[Question]) -> None:
    key = f"set.drafts.{collection.name}.{name}"
    found: list[Draft] | None = st.session_state.get(key)
    if not collection.documents():
        empty("description", "Nothing to draft from", "This collection is empty. Add documents first.")
        return
    put(el("p", "Sentences of the documents become questions. Each is only a proposal: tick those worth keeping.",
           class_="rk-muted"))  # fmt: skip
    turn = st.session_state.get(f"{key}.turn", 0)
    if st.button("Propose questions" if found is None else "Propose others", icon=":material/auto_awesome:"):
        with st.spinner("Reading the documents …"), state.mendable():
            known = [each.question for each in questions]
            found = listed(drafts(state.workbench(collection.name), seed=turn), DRAFTS, known)
            st.session_state[key], st.session_state[f"{key}.turn"] = found, turn + 1
            turn += 1
    if found is None:
        return
    if not found:
        notice("info", "Nothing could be drafted.", "The documents have no sentence of a shape that asks for itself.")
        return
    kept = [draft for place, draft in enumerate(found) if _one(draft, f"{key}.{turn}.{place}")]
    st.button(f"Add {count(len(kept), 'question')} to the set", type="primary", icon=":material/add:",
              disabled=not kept, key="set.keep", on_click=_keep, args=(sets, name, kept, key))  # fmt: skip


def _one(draft: Draft, key: str) -> bool:
    """One draft and whether it is kept."""
    with st.container(horizontal=True, vertical_alignment="top", border=True):
        keep = st.checkbox("Keep", key=key)
        before, mark, after = draft.sentence.partition(draft.answer)
        put(
            el("p", el("b", draft.question)),
            el("p", before, el("mark", mark), after, class_="rk-small"),
            el("p", f"{draft.document}, p. {draft.page_label or draft.page} · answer: {draft.answer}",
               class_="rk-muted rk-small"),
            class_="rk-draft",
        )  # fmt: skip
    return keep


def _keep(sets: Sets, name: str, kept: list[Draft], key: str) -> None:
    with state.mendable():
        sets.add(name, *(draft.as_question() for draft in kept))
        st.session_state.pop(key, None)
        st.toast(f"Added {count(len(kept), 'question')}.", icon=":material/check:")
