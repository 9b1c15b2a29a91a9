"""The browser front end: navigation between the seven pages, and the collection that they are about.

The pages lie in `screens`: Streamlit takes a folder called `pages` beside this file for an app of the older kind, in
which each file is a page of its own, and would open a page that is asked for first without this frame.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ui import sidebar
from ui.screens import ask, compare, documents, evaluate, models, templates, tune
from ui.state import mendable

_STYLES = (Path(__file__).with_name("style.css"), Path(__file__).with_name("lab.css"))
_LOGO = Path(__file__).with_name("logo.svg")
_ICON = Path(__file__).with_name("icon.svg")


def main() -> None:
    """Draw the frame, then the chosen page in it."""
    st.set_page_config(page_title="ragkit", page_icon=str(_ICON), layout="wide")
    for style in _STYLES:
        st.html(style)
    # Dialogs hang outside the element that Streamlit gives its colour scheme to; ours follow the page's root.
    st.html(f"<style>:root{{color-scheme:{'dark' if st.context.theme.type == 'dark' else 'light'}}}</style>")
    st.logo(str(_LOGO), size="large")
    pages = {
        "ask": st.Page(ask.show, title="Ask", icon=":material/forum:", url_path="ask", default=True),
        "documents": st.Page(documents.show, title="Documents", icon=":material/description:", url_path="documents"),
        "compare": st.Page(compare.show, title="Compare", icon=":material/view_column:", url_path="compare"),
        "evaluate": st.Page(evaluate.show, title="Evaluate", icon=":material/monitoring:", url_path="evaluate"),
        "tune": st.Page(tune.show, title="Tune", icon=":material/model_training:", url_path="tune"),
        "templates": st.Page(templates.show, title="Templates", icon=":material/edit_note:", url_path="templates"),
        "models": st.Page(models.show, title="Models", icon=":material/memory:", url_path="models"),
    }
    st.session_state["pages"] = pages
    page = st.navigation(list(pages.values()))
    with st.sidebar, mendable():
        sidebar.show()
    with mendable():
        page.run()


main()
