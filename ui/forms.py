"""Settings dataclasses as widgets: one widget a field, the sentence under the field as its tooltip."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import streamlit as st

from ragkit.settings import sentences

Settings = TypeVar("Settings")

LABELS = {
    "k": "Passages",
    "depth": "Candidates",
    "fusion": "Fusion by",
    "mmr": "Relevance or variety (MMR)",
    "rrf_constant": "Fusion constant",
    "dense_weight": "Weight of meaning",
    "words_weight": "Weight of words",
    "abstain_below": "Abstain below",
    "reader_below": "Abstain below (reader)",
    "reader_above": "Quote from (reader)",
    "max_tokens": "Longest answer",
    "top_p": "Top p",
    "demonstrations": "Demonstrations",
    "selector": "Demonstrations by",
    "TuneSettings.max_tokens": "Longest row",
    "TuneSettings.start": "Go on from",
    "dora": "DoRA",
    "rslora": "Rank-stabilised (rsLoRA)",
    "absent": "Gold passage taken away",
    "passages": "Passages in a row",
    "holdout": "Held out",
    "batch": "Rows a step",
    "batch_tokens": "Tokens at once",
    "shared_evidence": "Share evidence",
    "looks": "Looks at the held-out loss",
    "sweep": "Try learning rates",
    "checkpointing": "Save memory (checkpointing)",
}
"""Where a field's own name would not do as a label."""

RANGES: dict[str, tuple[float, float, float]] = {
    "k": (1, 20, 1),
    "depth": (5, 1000, 5),
    "rrf_constant": (1, 500, 1),
    "dense_weight": (0.0, 5.0, 0.1),
    "words_weight": (0.0, 5.0, 0.1),
    "mmr": (0.0, 1.0, 0.05),
    "abstain_below": (0.0, 1.0, 0.01),
    "reader_below": (0.0, 1.0, 0.05),
    "reader_above": (0.0, 1.0, 0.05),
    "max_tokens": (8, 2048, 8),
    "temperature": (0.0, 2.0, 0.05),
    "top_p": (0.05, 1.0, 0.05),
    "repetition_penalty": (1.0, 2.0, 0.05),
    "seed": (0, 2**31 - 1, 1),
    "demonstrations": (0, 16, 1),
    "chunk_tokens": (40, 512, 10),
    "overlap_tokens": (0, 200, 5),
    "TuneSettings.max_tokens": (16, 2**20, 64),
    "rank": (0, 1024, 1),
    "alpha": (0, 4096, 1),
    "dropout": (0.0, 0.9, 0.05),
    "learning_rate": (0.0, 1.0, 0.00001),
    "epochs": (0.0, 1000.0, 0.5),
    "batch": (1, 4096, 1),
    "batch_tokens": (64, 2**20, 256),
    "passages": (1, 50, 1),
    "absent": (0.0, 0.9, 0.05),
    "holdout": (0.0, 0.9, 0.05),
    "patience": (0, 1000, 1),
    "looks": (1, 1000, 1),
}
"""Lowest value, highest value and step; what the engines accept is narrower for nobody."""


_FINE = 0.005
"""Steps below this are not seen in two decimals."""


def label(name: str, of: str = "") -> str:
    """What a field is called on the page; `of` is the name of its settings."""
    return LABELS.get(f"{of}.{name}") or LABELS.get(name, name.replace("_", " ").capitalize())


def fields(
    settings: Settings,
    names: Sequence[str],
    key: str,
    choices: Mapping[str, Sequence[str]] | None = None,
    columns: int = 2,
    more: Sequence[str] = (),
) -> Settings:
    """The settings with the values that the widgets hold now. The widgets keep them for the session.

    `key` tells forms apart; `choices` gives the menu of a text field, and `more` names those in whose menu something
    else may be typed.
    """
    told = sentences(type(settings))
    places = st.columns(columns) if columns > 1 else [st.container()]
    values: dict[str, Any] = {}
    for position, name in enumerate(names):
        with places[position % len(places)]:
            of, menu = type(settings).__name__, (choices or {}).get(name)
            values[name] = _field(of, name, getattr(settings, name), told.get(name, ""), f"{key}.{name}", menu,
                                  name in more)  # fmt: skip
    return dataclasses.replace(settings, **values)  # type: ignore[type-var]


def _field(
    of: str,
    name: str,
    value: Any,  # noqa: ANN401
    told: str,
    key: str,
    options: Sequence[str] | None,
    more: bool,
) -> Any:  # noqa: ANN401
    """One widget; its type is the value's. `of` is the class of the settings."""
    common = {"label": label(name, of), "help": told or None, "key": key, "persist_state": "session"}
    if options is not None:
        typed = [st.session_state[key]] if more and st.session_state.get(key) not in (None, *options) else []
        menu = [*options, *typed] if value in options else [value, *options, *typed]
        return st.selectbox(options=menu, index=menu.index(value), format_func=_shown, accept_new_options=more,
                            **common)  # fmt: skip
    if isinstance(value, bool):
        return st.toggle(value=value, **common)
    if isinstance(value, (int, float)):
        kind = type(value)
        low, high, step = (kind(limit) for limit in RANGES.get(f"{of}.{name}") or RANGES[name])
        held = min(max(value, low), high)  # what the command line or a file asked for may lie outside
        written = "%g" if kind is float and step < _FINE else None
        return st.number_input(min_value=low, max_value=high, step=step, value=held, format=written, **common)
    return st.text_input(value=value, **common)


def _shown(option: str) -> str:
    return option or "none"
