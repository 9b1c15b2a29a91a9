"""What a training learns from: uploaded files, evaluation sets, votes and edits, worked examples."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ingest.tunings import keep_data, kept_data
from ragkit.collection import Collection
from ragkit.errors import RagkitError
from ragkit.sets import Sets
from ragkit.tuning_data import Sources
from ragkit.votes import Votes
from ui.views import count, problem

KEY = "tune.from"
TYPES = ["jsonl", "json", "csv", "tsv", "txt"]


def show(collection: Collection) -> tuple[Sources, tuple[str, ...]]:
    """The form. Returns the sources, and the sets whose questions must not be trained on."""
    _upload(collection)
    files = _files(collection)
    sizes = {each.name: each.count for each in Sets(collection).list()}
    left, right = st.columns(2)
    with left:
        sets = st.multiselect("Evaluation sets to train on", list(sizes), key=f"{KEY}.sets", persist_state="session",
                              format_func=lambda name: f"{name} ({count(sizes[name], 'question')})",
                              placeholder="None", help="What is trained on can no longer be evaluated on.")  # fmt: skip
    with right:
        others = [name for name in sizes if name not in sets]
        against = st.multiselect("Sets to keep apart", others, default=others,
                                 key=f"{KEY}.against.{','.join(others)}"[:200], placeholder="None",
                                 help="Rows that are like one of their questions are left out, so that these sets can "
                                 "still tell how good the adapter is.")  # fmt: skip
    judged = Votes(collection).count() + len(Votes(collection).grades())
    examples = len(collection.demonstrations())
    with st.container(horizontal=True):
        votes = st.toggle(f"Votes, thumbs and edits ({judged})", key=f"{KEY}.votes", persist_state="session",
                          disabled=not judged,
                          help="Answers that were preferred or called good, and what was written in place of bad "
                          "ones.")  # fmt: skip
        bank = st.toggle(f"Worked examples ({examples})", key=f"{KEY}.examples", persist_state="session",
                         disabled=not examples, help="The collection's bank for few-shot prompts.")  # fmt: skip
    return Sources(files, tuple(sets), votes and bool(judged), bank and bool(examples)), tuple(against)


def _upload(collection: Collection) -> None:
    turn = st.session_state.setdefault(f"{KEY}.turn", 0)
    given = st.file_uploader(
        "Questions with answers", type=TYPES, key=f"set-upload-tune-{turn}",
        help="JSON lines or CSV with question and answers (and, if you have it, the passage or the document that "
        "holds the answer), or SQuAD JSON (v1.1 or v2.0). Given answers that are empty mean: there is none.",
    )  # fmt: skip
    if given is None:
        return
    try:
        kept = keep_data(collection, given.name, given.getvalue())
    except (RagkitError, OSError) as error:
        problem(error if isinstance(error, RagkitError) else RagkitError(f"The file cannot be kept: {error}."))
        return
    st.session_state[f"{KEY}.turn"] = turn + 1  # an uploader of another key is an empty one
    chosen = st.session_state.get(f"{KEY}.files", [])
    st.session_state[f"{KEY}.files"] = [*chosen, str(kept)] if str(kept) not in chosen else chosen
    st.rerun()


def _files(collection: Collection) -> tuple[str, ...]:
    there = [str(path) for path in kept_data(collection)]
    if not there:
        return ()
    held = [path for path in st.session_state.get(f"{KEY}.files", there[:1]) if path in there]
    if held != st.session_state.get(f"{KEY}.files"):
        st.session_state[f"{KEY}.files"] = held
    chosen = st.multiselect("Uploaded files", there, key=f"{KEY}.files", persist_state="session",
                            format_func=lambda path: Path(path).name, placeholder="None")  # fmt: skip
    return tuple(chosen)

