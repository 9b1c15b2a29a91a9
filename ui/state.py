"""What the pages share: the home, the open collection, one workbench a collection, one runner a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from ragkit.collection import Collection
from ragkit.errors import RagkitError, of_storage
from ragkit.home import collections, default_home
from ragkit.workbench import Workbench
from ui.runner import Runner
from ui.views import problem

FIRST = "sample"
"""The collection that `make app` fills and a first visit opens."""


def home() -> Path:
    """The folder of all collections."""
    return default_home()


def names() -> list[str]:
    """The collections there are."""
    return collections(home())


def chosen() -> str | None:
    """The collection of the sidebar's menu (which the address holds too), else the sample, else the first there is."""
    there = names()
    picked = st.session_state.get("collection")
    if picked in there:
        return picked
    return FIRST if FIRST in there else next(iter(there), None)


def choose(name: str) -> None:
    """Open another collection. For callbacks: the menu takes the value when it is drawn."""
    st.session_state["collection"] = name
    leave()


def leave() -> None:
    """Take what belonged to the collection before out of the address and close what was open."""
    for name in ("conversation", "comparison", "document", "page", "blind", "vote", "run", "set", "training",
                 "adapter"):
        st.query_params.pop(name, None)
    st.session_state.pop("drawer", None)


@st.cache_resource(show_spinner=False)
def _collection(folder: str, name: str) -> Collection:
    return Collection.open(Path(folder), name)


def collection(name: str) -> Collection:
    """The open collection of that name, one object a server process."""
    return _collection(str(home()), name)


@st.cache_resource(show_spinner=False)
def _workbench(folder: str, name: str) -> Workbench:
    return Workbench.open(name, Path(folder))


def workbench(name: str) -> Workbench:
    """The workbench of that collection, one object a server process, with its models loaded once."""
    return _workbench(str(home()), name)


@st.cache_resource(show_spinner=False)
def _runner(folder: str) -> Runner:
    return Runner(lambda name: _workbench(folder, name))


def runner() -> Runner:
    """The background thread that makes answers."""
    return _runner(str(home()))


@contextmanager
def mendable() -> Iterator[None]:
    """Show an error that a person can mend where it happened, and go on below it."""
    try:
        yield
    except Exception as error:
        reason = error if isinstance(error, RagkitError) else of_storage(error)
        if reason is None:
            raise
        problem(reason)
