"""Parts that several pages share: the settings of a question, an answer on its way, an answer that failed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args, get_type_hints

import streamlit as st

from ragkit import adapters
from ragkit.catalog import GENERATORS, RERANKERS, RETRIEVERS, SELECTORS
from ragkit.reading import READS
from ragkit.settings import RetrieveSettings
from ragkit.types import Variant
from ragkit.workbench import Workbench
from ui import answers, state
from ui.forms import RANGES, fields
from ui.runner import Task
from ui.views import bar, count, el, notice, problem, put

DECODING = ("max_tokens", "temperature", "top_p", "repetition_penalty", "seed")
SEARCH = ("retriever", "k", "abstain_below", "mmr", "depth", "reranker", "reader")
FUSION = ("fusion", "rrf_constant", "dense_weight", "words_weight")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a settings panel holds now."""

    variant: Variant
    retrieve: RetrieveSettings
    documents: tuple[str, ...] | None


def chosen(key: str) -> Chosen:
    """What the panel of that key held when it was last drawn."""
    return st.session_state.get(f"{key}.chosen") or Chosen(Variant(), RetrieveSettings(), None)


def settings(key: str, workbench: Workbench, before: Variant) -> None:
    """A button with all settings of a question behind it, and what they come to in a few words beside it."""
    with st.popover("Settings", icon=":material/tune:", type="tertiary"):
        prompt, search, model = st.tabs(["Prompt", "Search", "Model"])
        with prompt:
            variant = prompt_fields(f"{key}.prompt", workbench, before)
        with search:
            retrieve, documents = search_fields(f"{key}.search", workbench)
        with model:
            variant = model_fields(f"{key}.model", variant)
    st.session_state[f"{key}.chosen"] = Chosen(variant, retrieve, documents)
    put(summary(variant, retrieve, documents), class_="rk-muted rk-small rk-one-line")


def summary(variant: Variant, retrieve: RetrieveSettings, documents: tuple[str, ...] | None) -> str:
    """The settings in a few words."""
    parts = [variant.name, f"{retrieve.retriever} search", count(retrieve.k, "passage")]
    if documents:
        parts.append(f"only in {documents[0]}" if len(documents) == 1 else f"in {len(documents)} documents")
    return " · ".join(parts)


def prompt_fields(key: str, workbench: Workbench, before: Variant) -> Variant:
    """Template and demonstrations."""
    store = workbench.templates
    variant = fields(before, ("template",), key, {"template": store.names}, columns=1)
    template = store.get(variant.template)
    put(el("p", template.summary, class_="rk-small"), el("p", template.when, class_="rk-muted rk-small"))
    if template.few_shot:
        variant = fields(variant, ("selector", "demonstrations"), key, {"selector": SELECTORS.names})
    return variant


def search_fields(key: str, workbench: Workbench) -> tuple[RetrieveSettings, tuple[str, ...] | None]:
    """How passages are found, and in which documents."""
    readers = [each.name for each in adapters.listing(workbench.collection.home) if each.task == "extract"]
    menus = {
        "retriever": RETRIEVERS.names,
        "reranker": ["", *RERANKERS.names],
        "reader": ["auto", "", *dict.fromkeys(readers)],
    }
    retrieve = fields(RetrieveSettings(), SEARCH, key, menus)
    if retrieve.reader and readers:
        retrieve = fields(retrieve, ("reader_below", "reader_above"), key)
    if retrieve.retriever == "hybrid":
        names = [name for name in FUSION if name != "rrf_constant" or retrieve.fusion == "rrf"]
        retrieve = fields(retrieve, names, key, {"fusion": get_args(get_type_hints(RetrieveSettings)["fusion"])})
    if retrieve.reranker:
        retrieve = fields(retrieve, ("reranker_model",), key, columns=1)
    names = [document.name for document in workbench.collection.documents()]
    only = st.multiselect("Only in these documents", names, key=f"{key}.documents", persist_state="session",
                          placeholder="All documents", help="Leave empty to search all of them.")  # fmt: skip
    return retrieve, tuple(only) or None


def model_fields(key: str, variant: Variant) -> Variant:
    """Engine, model, adapter and decoding."""
    variant = fields(variant, ("engine", "model"), key, {"engine": ["auto", *GENERATORS.names]}, columns=1)
    variant = _adapter_field(key, variant)
    return replace(variant, decoding=fields(variant.decoding, DECODING, f"{key}.decoding"))


def _adapter_field(key: str, variant: Variant) -> Variant:
    """The adapter: one of the library for what the engine does, the default one, none, or a folder that is typed."""
    task = "extract" if variant.engine == READS else "generate"
    there = [each for each in adapters.listing(state.home()) if each.task == task]
    menu = ["auto", "", *dict.fromkeys(each.name for each in there)]
    variant = fields(variant, ("adapter",), key, {"adapter": menu}, columns=1, more=("adapter",))
    chosen = next((each for each in there if each.name == variant.adapter), None)
    if chosen is not None:
        parts = [f"Trained on {chosen.base}" if chosen.base else "", chosen.template and f"with {chosen.template}"]
        put(el("p", f"{' '.join(filter(None, parts))}.", class_="rk-muted rk-small"))
        if chosen.base and chosen.base != variant.model:
            put(el("p", f"It needs the model {chosen.base}.", class_="rk-said-bad rk-small"))
    return variant


def put_into_compare(left: Variant, right: Variant, blind: bool) -> None:
    """Put two variants into the form of the Compare page, to be asked something; for a callback or another page."""
    state.leave()
    st.session_state["compare.columns"] = 2
    st.session_state["compare.blind"] = blind
    for letter, variant in zip("AB", (left, right), strict=True):
        for name in ("template", "selector", "demonstrations"):
            st.session_state[f"compare.{letter}.{name}"] = getattr(variant, name)
        key = f"compare.{letter}.model"
        for name in ("engine", "model", "adapter"):
            st.session_state[f"{key}.{name}"] = getattr(variant, name)
        for part in dataclasses.fields(variant.decoding):
            value = getattr(variant.decoding, part.name)
            low, high, _ = RANGES.get(part.name, (value, value, 0))
            st.session_state[f"{key}.decoding.{part.name}"] = type(value)(min(max(value, low), high))


def progress(task: Task, variant: int, ahead: int) -> None:
    """One answer that is not finished: its place in the queue, or what it has said so far."""
    text = task.texts[variant]
    if task.state == "waiting":
        told = f"Waits its turn: {count(ahead, 'question')} before it." if ahead else "Its turn comes next."
        put(el("p", told, class_="rk-muted rk-small"))
    elif task.stop.is_set():
        put(answers.answer_text(text), el("small", "Stopping …", class_="rk-muted"))
    elif text:
        put(answers.answer_text(text), el("small", "Writing", class_="rk-muted rk-pulse"))
    else:
        loading = task.first_use and time.monotonic() - task.begun > 1
        told = (
            "Loading the language model. This happens once; later answers start at once."
            if loading
            else "Searching the documents and reading what was found"
        )
        put(bar(None, told), el("p", told, class_="rk-muted rk-small rk-below-bar"))


def failure(task: Task, again: Callable[[], None]) -> None:
    """A question that could not be answered: why, and what can be done."""
    if task.error is not None:
        problem(task.error)
    else:
        notice("bad", "Something went wrong inside ragkit.", "The server's log has the details. Nothing was lost.")

    def retry() -> None:
        state.runner().dismiss(task.id)
        again()

    with st.container(horizontal=True):
        st.button("Try again", key=f"again-{task.id}", icon=":material/refresh:", on_click=retry)
        st.button("Dismiss", key=f"dismiss-{task.id}", type="tertiary",
                  on_click=state.runner().dismiss, args=(task.id,))  # fmt: skip

