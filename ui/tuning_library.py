"""Adapters that were made elsewhere come in as a .zip."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st

from ingest.uploads import safe_name
from ragkit import adapters
from ragkit.collection import Collection
from ragkit.errors import RagkitError
from ui import state
from ui.views import el, problem, put


def import_form(collection: Collection) -> None:
    """A .zip with an adapter of peft's, or one that was exported here."""
    told = (
        "A .zip of a LoRA adapter that peft saved, or of one that was exported here. Only safetensors and tables are "
        "taken; that it fits its model is checked before it is in."
    )
    put(el("p", told, class_="rk-muted"))
    given = st.file_uploader("Adapter", type=["zip"], key=f"set-upload-adapter-{_turn()}")
    left, right = st.columns(2)
    stem = Path(safe_name(given.name)).stem[:64] if given else ""
    name = left.text_input("Name", stem, key=f"import.name.{stem}", max_chars=64,
                           help="Letters, digits, hyphens and underscores.")  # fmt: skip
    base = right.text_input("Base model", key="import.base", placeholder="as the adapter says",
                            help="A built-in name, a folder or a hub id; needed where the adapter names none that is "
                            "here.")  # fmt: skip
    pressed = st.button("Import", type="primary", icon=":material/upload:", disabled=given is None or not name.strip(),
                        key="import.go")  # fmt: skip
    if not pressed or given is None:
        return
    try:
        with st.spinner("Checking that it fits its model …"), tempfile.TemporaryDirectory(prefix="ragkit-") as folder:
            path = Path(folder) / "adapter.zip"
            path.write_bytes(given.getvalue())
            made = adapters.import_adapter(collection.home, path, name.strip(), base.strip())
    except RagkitError as error:
        problem(_named(error, given.name))
        return
    st.session_state["import.turn"] = _turn() + 1
    state.leave()
    st.query_params["adapter"] = made.name
    st.rerun()


def _turn() -> int:
    return int(st.session_state.setdefault("import.turn", 0))


def _named(error: RagkitError, name: str) -> RagkitError:
    """The error with the file called as its owner calls it."""
    words = error.message.split(" ")
    return RagkitError(" ".join(name if word.endswith("/adapter.zip") else word for word in words), error.hint)
