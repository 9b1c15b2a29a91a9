"""One adapter: what it was made of, how its training went, whether it may be the default, and what to do with it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import streamlit as st

from ragkit import adapters
from ragkit.adapters import Adapter
from ragkit.collection import Collection
from ragkit.errors import RagkitError
from ragkit.reading import READS
from ragkit.tuning import read_log
from ragkit.types import Variant
from ui import panels, state, tuning_gate, tuning_run
from ui.comparison import table
from ui.views import Html, ago, count, el, number, problem, put, seconds, size


def show(collection: Collection, adapter: Adapter) -> None:
    """The page of an adapter."""
    if error := st.session_state.pop("adapter.error", None):
        problem(error)
    _head(collection, adapter)
    put(_card(adapter), class_="rk-card")
    _details(adapter)
    tuning_run.curve(read_log(adapter.folder))
    tuning_gate.show(collection, adapter)


def _head(collection: Collection, adapter: Adapter) -> None:
    through = f" through {adapter.template}" if adapter.template and adapter.task == "generate" else ""
    does = "quotes answers" if adapter.task == "extract" else "writes answers"
    told = [f"{adapter.method} on {base_name(adapter.base)}{through}", does, size(adapter.bytes)]
    told += [adapter.source] + ([ago(adapter.created)] if adapter.created else [])
    put(el("h3", adapter.name), el("p", " · ".join(told), class_="rk-muted rk-small"))
    name = state.workbench(collection.name).defaults.reference(adapter)
    with st.container(horizontal=True, vertical_alignment="center", key="adapter-bar"):
        if st.button("Use in Compare", type="primary", icon=":material/view_column:", key="adapter.compare",
                     disabled=adapter.task == "generate" and not adapter.template):  # fmt: skip
            panels.put_into_compare(*_sides(adapter, name), blind=False)
            # Without a mapping it clears the address, which the menu of collections forbids: it is bound to it.
            st.switch_page(st.session_state["pages"]["compare"], query_params={})
        st.download_button("Export", lambda: _zip(collection, name), f"{adapter.name}.zip", "application/zip",
                           icon=":material/download:", on_click="ignore", key="adapter.export")  # fmt: skip
        if not adapter.bundled:
            _own(collection, adapter)


def base_name(base: str) -> str:
    """A model for a line of text: of a folder only its name."""
    return Path(base).name if Path(base).is_absolute() else base or "an unknown model"


def _sides(adapter: Adapter, name: str) -> tuple[Variant, Variant]:
    """The adapter and what it is to be compared with: its base without it; for a reader, the usual answer."""
    if adapter.task == "extract":
        return Variant(), Variant(engine=READS, model=adapter.base, adapter=name)
    plain = Variant(template=adapter.template, model=adapter.base, adapter="")
    return plain, Variant(template=adapter.template, model=adapter.base, adapter=name)


def _zip(collection: Collection, name: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="ragkit-") as folder:
        return adapters.export(collection.home, name, Path(folder) / "adapter.zip").read_bytes()


def _own(collection: Collection, adapter: Adapter) -> None:
    with st.popover("Rename", icon=":material/edit:"):
        st.text_input("New name", adapter.name, key=f"adapter.new-name.{adapter.name}", max_chars=64)
        st.button("Rename it", type="primary", key="adapter.rename", on_click=_rename, args=(collection, adapter))
    with st.popover("Delete", icon=":material/delete:"):
        put(el("p", "Its weights are removed. Answers and evaluations that were made with it stay."))
        st.button("Delete the adapter", type="primary", key="adapter.delete", on_click=_delete,
                  args=(collection, adapter))  # fmt: skip


def _rename(collection: Collection, adapter: Adapter) -> None:
    try:
        wanted = st.session_state[f"adapter.new-name.{adapter.name}"].strip()
        if wanted != adapter.name:
            st.query_params["adapter"] = adapters.rename(collection.home, adapter.name, wanted).name
    except RagkitError as error:
        st.session_state["adapter.error"] = error


def _delete(collection: Collection, adapter: Adapter) -> None:
    try:
        adapters.remove(collection.home, adapter.name)
        state.leave()
    except RagkitError as error:
        st.session_state["adapter.error"] = error


def _card(adapter: Adapter) -> Html:
    """The numbers of its training, as far as its card tells them."""
    metrics, rows = adapter.card.get("metrics", {}), adapter.card.get("rows", {})
    facts = [
        ("Held-out loss", _figure(metrics.get("held_out_loss"))),
        ("Loss", _figure(metrics.get("loss"))),
        ("Best step", f"{_whole(metrics.get('best_step'))} of {_whole(metrics.get('steps'))}"),
        ("Rows", _whole(rows.get("train"))),
        ("Rows held out", _whole(rows.get("held"))),
        ("Time", seconds(metrics["seconds"]) if "seconds" in metrics else "–"),
        ("Tokens a second", _whole(metrics.get("tokens_per_second"))),
        ("Weights that learnt", _whole(metrics.get("trainable_parameters"))),
    ]
    if not metrics:
        return el("p", "It was made elsewhere, and says nothing about its training.", class_="rk-muted")
    cells = (el("div", el("div", name, class_="rk-t"), el("div", value, class_="rk-v")) for name, value in facts)
    ended = metrics.get("ended", "")
    told = el("p", f"Ended: {ended}.", class_="rk-muted rk-small rk-after") if ended else None
    return el("div", el("div", *cells, class_="rk-numbers"), told)


def _figure(value: Any) -> str:  # noqa: ANN401 - from a card, which may come from elsewhere
    return f"{value:.3f}" if isinstance(value, (int, float)) else "–"


def _whole(value: Any) -> str:  # noqa: ANN401
    return number(round(value)) if isinstance(value, (int, float)) else "–"


def _details(adapter: Adapter) -> None:
    """Settings, data and hashes."""
    settings = {**adapter.card.get("settings", {})}
    left = adapter.card.get("rows", {}).get("left_out", {})
    with st.expander("How it was made", type="compact"):
        facts = [["Weights (SHA-256)", adapter.sha256], ["Base (SHA-256)", adapter.base_sha256 or "unknown"]]
        facts += [["Data (SHA-256)", str(adapter.card["data_sha256"])]] if adapter.card.get("data_sha256") else []
        facts += [["Difference after loading it again", f"{difference:.1e}"]
                  for difference in [adapter.card.get("reload", {}).get("max_logit_difference")]
                  if isinstance(difference, float)]  # fmt: skip
        facts += [[f"Left out: {reason}", str(many)] for reason, many in left.items()]
        facts += [[name.replace("_", " ").capitalize(), str(value)] for name, value in settings.items()]
        facts += [["Folder", str(adapter.folder)]]
        put(table(["What", "Value"], facts))
        if left:
            put(el("p", f"{count(sum(left.values()), 'row')} left out.", class_="rk-muted rk-small"))
