"""Models: what is on this machine, whether it is what it should be, and what else can be used."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import streamlit as st

from ragkit import adapters, catalog, models
from ragkit.adapters import Adapter
from ragkit.errors import RagkitError
from ragkit.registry import Registry, Row
from ui import state
from ui.views import Html, el, heading, icon, notice, panel, problem, put, size

KINDS = {"generator": "Language model", "embedder": "Embedding model", "reranker": "Cross-encoder"}
_STATES = {
    "right": ("good", "verified", "Hash verified"),
    "altered": ("bad", "gpp_bad", "Altered"),
    "missing": ("warn", "download", "Missing"),
}


def show() -> None:
    """The page."""
    heading("Models", "What reads, searches and writes. The built-in models need no hub and no key.")
    _built_in()
    _adapters()
    _other()
    _engines()


def _built_in() -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        put(el("h4", "Built in"), class_="rk-section")
        again = st.button("Check every byte again", icon=":material/verified_user:", type="tertiary")
    with st.spinner("Checking hashes …"):
        found = models.listing(recheck=again)
    put(el("div", *(_card(model) for model in found), class_="rk-cards"))


def _card(model: models.ModelInfo) -> Html:
    tone, symbol, said = _STATES[model.state]
    wrong = [f"{file}: {state}" for file, state in model.files.items() if state != "right"]
    facts = [
        ("Size", size(model.bytes) if model.bytes else "–"),
        ("Licence", model.licence),
        ("From", model.source.removeprefix("built-in ")),
        ("SHA-256", f"{model.sha256[:16]}…" if model.sha256 else "–"),
    ]
    return el(
        "div",
        el("div", el("span", KINDS.get(model.kind, model.kind), class_="rk-muted rk-small"),
           el("span", icon(symbol), said, class_=f"rk-badge rk-{tone}"), class_="rk-card-top"),
        el("h4", model.name),
        el("p", model.summary, class_="rk-muted rk-small"),
        el("div", *(_fact(name, value, model.sha256 if name == "SHA-256" else "") for name, value in facts),
           class_="rk-card-facts"),
        el("p", *join_lines(wrong), class_="rk-small") if wrong else None,
        el("p", model.hint, class_="rk-small rk-said-bad") if model.hint else None,
        el("p", model.path, class_="rk-muted rk-path", title=model.path) if model.path else None,
        class_="rk-card",
    )  # fmt: skip


def join_lines(lines: list[str]) -> list[str | Html]:
    """The lines with line breaks between them."""
    return [part for line in lines for part in (line, el("br"))][:-1]


def _fact(name: str, value: str, whole: str = "") -> Html:
    return el("div", el("span", name, class_="rk-t"), el("span", value, title=whole or None))


def _adapters() -> None:
    there, broken = adapters.listing(state.home()), adapters.damaged(state.home())
    put(el("h4", "Adapters"), el("p", "Small weights beside a model's own, trained for one task. The page Tune makes, "
                                 "measures, renames and deletes them.", class_="rk-muted rk-small"),
        class_="rk-section")  # fmt: skip
    if not there and not broken:
        put(el("p", "There is none yet.", class_="rk-muted"))
    if there:
        panel("models-adapters", el("div", *map(_adapter, there), class_="rk-rows"), on_event=lambda *_: None)
    for name, reason in broken.items():
        put(el("p", icon("error"), " ", el("b", name), f": {reason}", class_="rk-small rk-said-bad"))


def _adapter(each: Adapter) -> Html:
    base = Path(each.base).name if Path(each.base).is_absolute() else each.base or "an unknown model"
    does = "quotes answers" if each.task == "extract" else f"writes through {each.template or 'any template'}"
    main = el("span", el("span", each.name, class_="rk-name"),
              el("span", f"{each.method} on {base}, {does}", class_="rk-muted rk-small rk-block"),
              class_="rk-main")  # fmt: skip
    mark = el("span", each.source, class_="rk-badge")
    return el("div", main, el("span", size(each.bytes), class_="rk-side"), mark, class_="rk-row", title=each.sha256)


def _other() -> None:
    told = (
        "A folder with safetensors or OpenVINO weights, a .gguf file, or a hub id such as org/name. Weights saved as "
        "pickles are never loaded, and no code that comes with a model is ever run."
    )
    put(el("h4", "Other models"), el("p", told, class_="rk-muted rk-small"), class_="rk-section")
    with st.form("try-model", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Model", placeholder="HuggingFaceTB/SmolLM2-360M-Instruct", key="try-name")
        kind = st.selectbox("Kind", list(KINDS), format_func=KINDS.__getitem__, key="try-kind", width=200)
        tried = st.form_submit_button("Look it up", icon=":material/travel_explore:")
    if tried and name.strip():
        st.session_state["tried-model"] = _try(name.strip(), kind)
    found = st.session_state.get("tried-model")
    if isinstance(found, RagkitError):
        problem(found)
    elif found is not None:
        _found(found)


def _try(name: str, kind: str) -> models.ResolvedModel | RagkitError:
    with st.spinner("Looking on this machine, then on the hub. A model that is not here yet is fetched once."):
        try:
            return models.resolve(name, kind)  # type: ignore[arg-type]
        except RagkitError as error:
            return error


def _found(model: models.ResolvedModel) -> None:
    notice("good", f"{model.name} is here.", f"{model.format}, {model.source}, SHA-256 {model.sha256[:16]}…",
           str(model.path))  # fmt: skip
    if model.kind == "generator":

        def use() -> None:
            st.session_state["ask.model.model"] = model.name
            st.toast("Your next question goes to this model.", icon=":material/check:")

        st.button("Answer with this model", icon=":material/check:", on_click=use)


def _engines() -> None:
    put(el("h4", "Engines"), el("p", "What runs the models, and whether what they need is installed.",
                                class_="rk-muted rk-small"), class_="rk-section")  # fmt: skip
    kinds = (catalog.GENERATORS, catalog.EMBEDDERS, catalog.RERANKERS)
    panel("engines", el("div", *(_engine(registry, row) for registry in kinds for row in registry), class_="rk-rows"))


def _engine(registry: Registry, row: Row) -> Html:
    missing = [module for module in row.needs if importlib.util.find_spec(module) is None]
    if missing:
        state = el("span", icon("download"), f"needs {', '.join(missing)}", class_="rk-badge rk-warn")
    else:
        state = el("span", icon("check"), "ready", class_="rk-badge rk-good")
    told = [el("span", row.name, class_="rk-name"), el("span", row.summary, class_="rk-muted rk-small rk-block")]
    main = el("span", *told, class_="rk-main")
    return el("div", main, el("span", registry.kind, class_="rk-side"), state, class_="rk-row")
