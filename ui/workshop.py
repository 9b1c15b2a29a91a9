"""One template on the bench: its text with what is wrong with it, and the prompt that it makes of a real question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from ragkit.errors import RagkitError
from ragkit.history import History
from ragkit.prompt.source import Problem, check, load
from ragkit.prompt.store import TemplateStore
from ragkit.prompt.template import VARIABLES, Template
from ragkit.types import Evidence, Prompt, Variant
from ui import answers, state
from ui.views import el, notice, number, problem, put

_HERE = Path(__file__).parent
_MARKUP = (
    '<div class="rk rk-editor"><div class="rk-view" aria-hidden="true"></div>'
    '<textarea aria-label="Text of the template" spellcheck="false" autocapitalize="off"></textarea></div>'
)
_editor = st.components.v2.component(
    "ragkit.editor", html=_MARKUP, js=_HERE.joinpath("editor.js").read_text("utf-8"), isolate_styles=False
)
_NAMES = sorted({name for names in VARIABLES.values() for name in names})
QUESTION = "What is this collection about?"


@st.fragment
def show(store: TemplateStore, name: str, fixed: bool, bar: Callable[[], None]) -> None:
    """The editor (or the text, for a bundled template) beside the preview; `bar` draws more buttons above it."""
    saved = store.text(name)
    draft = st.session_state.get(f"editor-{name}")
    text = saved if fixed or not draft or draft.get("text") is None else draft["text"]
    problems = check(text)
    left, right = st.columns(2, gap="medium")
    with left:
        with st.container(horizontal=True, vertical_alignment="center"):
            if not fixed:
                _saving(store, name, text, saved, problems)
            bar()
        _text(name, text, saved, fixed, problems)
        _problems(problems)
        _variables()
    with right:
        if problems:
            put(el("p", "The preview comes back when the problems are solved.", class_="rk-muted"))
        else:
            _preview(load(text))


def _text(name: str, text: str, saved: str, fixed: bool, problems: list[Problem]) -> None:
    """The editor. It takes `text` when it first appears and keeps what is typed from then on."""
    lines = [item.line for item in problems if item.line]
    data = {"text": text, "saved": saved, "version": name, "fixed": fixed, "names": _NAMES, "lines": lines}
    _editor(key=f"editor-{name}", data=data, default={"text": None}, on_text_change=lambda: None)


def _saving(store: TemplateStore, name: str, text: str, saved: str, problems: list[Problem]) -> None:
    label = "Saved" if text == saved else "Save"
    if st.button(label, type="primary", icon=":material/save:", disabled=bool(problems) or text == saved, key="save"):
        _save(store, name, text)


def _save(store: TemplateStore, name: str, text: str) -> None:
    """Save; a new name in the text renames the template."""
    try:
        if load(text).name != name and load(text).name in store.names:
            notice("bad", f"There is already a template {load(text).name!r}.", "Choose another name in the text.")
            return
        kept = store.save(text)
        if kept.name != name:
            store.delete(name)
            st.query_params["template"] = kept.name
    except RagkitError as error:
        problem(error)
        return
    st.rerun()


def _problems(problems: list[Problem]) -> None:
    if problems:
        lines = [el("li", el("b", f"Line {item.line}: ") if item.line else None, item.message) for item in problems]
        title = "One problem" if len(problems) == 1 else f"{len(problems)} problems"
        notice("bad", title, el("ul", *lines, class_="rk-problems"))


def _variables() -> None:
    rows = [
        el("p", el("b", block), ": ", *(el("code", "{" + name + "} ") for name in names), class_="rk-small")
        for block, names in VARIABLES.items()
    ]
    with st.expander("What each block may insert", type="compact"):
        put(*rows)


@st.cache_data(show_spinner=False, max_entries=50)
def _evidence(home: str, name: str, sequence: int, question: str) -> Evidence:  # noqa: ARG001 - parts of the key
    return state.workbench(name).retrieve(question)


def _preview(template: Template) -> None:
    name = state.chosen()
    if name is None or not state.collection(name).count():
        notice("info", "No passages to try it on.", "Add documents to a collection, and the prompt is shown here.")
        return
    collection = state.collection(name)
    asked = History(collection).threads("ask", limit=1)
    question = st.text_input("Question to try it on", value=asked[0].question if asked else QUESTION, max_chars=4000,
                             key="preview-question", persist_state="session")  # fmt: skip
    if not question.strip():
        return
    with state.mendable():
        with st.spinner("Finding passages …"):
            evidence = _evidence(str(state.home()), name, collection.sequence, question.strip())
        bank = collection.demonstrations()[:3] if template.few_shot else []
        prompt = template.render(question.strip(), evidence.hits, bank)
        counted = st.empty()
        put(answers.legend(prompt), answers.prompt_text(prompt))
        with counted, st.spinner("Counting tokens …"):
            tokens = _tokens(name, prompt)
        with counted:
            put(tokens, class_="rk-muted rk-small")


def _tokens(name: str, prompt: Prompt) -> str:
    """How long the prompt is for the model that Ask uses."""
    variant = Variant(model=st.session_state.get("ask.model.model", Variant().model))
    generator = state.workbench(name).generator(variant)
    tokens = generator.count_tokens(generator.render(prompt))
    room = generator.context_tokens - Variant().decoding.max_tokens
    over = " Passages will be dropped to make it fit." if tokens > room else ""
    return f"{number(tokens)} tokens of {number(generator.context_tokens)} for {variant.model}.{over}"
