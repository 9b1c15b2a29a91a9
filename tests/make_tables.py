"""Write the tables of parts in README.md and docs/parts.md from the catalogs: python tests/make_tables.py"""

from __future__ import annotations

from pathlib import Path

from ragkit.prompt.store import TemplateStore
from ui.commands.parts import KINDS, rows_of

ROOT = Path(__file__).parents[1]
START, END = "<!-- parts -->", "<!-- /parts -->"
BUNDLED = TemplateStore(ROOT / "no templates but those that come with ragkit")
PURPOSE = {
    "loaders": "read a file into pages",
    "splitters": "cut pages into passages",
    "embedders": "turn passages into vectors",
    "indexes": "find the nearest vectors",
    "retrievers": "find passages for a question",
    "rerankers": "look at the candidates again",
    "selectors": "choose demonstrations",
    "templates": "word the prompt",
    "generators": "write the answer",
    "tasks": "say what is learnt",
    "methods": "say which weights learn",
    "metrics": "score answers and retrieval",
}
"""What the parts of a kind do."""


def short_table() -> str:
    """One row a kind: what it does and what there is."""
    lines = ["| kind | what they do | parts |", "| --- | --- | --- |"]
    for kind in KINDS:
        lines.append(f"| {kind} | {PURPOSE[kind]} | {', '.join(f'`{row.name}`' for row in rows_of(kind, BUNDLED))} |")
    return "\n".join(lines)


def long_page() -> str:
    """One table a kind, with every part's summary."""
    page = ["# Parts", "", "Made from the catalogs by `python tests/make_tables.py`."]
    for kind in KINDS:
        rows = [f"| `{row.name}` | {row.summary} |" for row in rows_of(kind, BUNDLED)]
        page += ["", f"## {kind}: {PURPOSE[kind]}", "", "| part | what it is for |", "| --- | --- |", *rows]
    return "\n".join(page) + "\n"


def in_readme(text: str) -> str:
    """The README's text with the short table between its marks."""
    before, _, rest = text.partition(START)
    return f"{before}{START}\n{short_table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(in_readme(readme.read_text("utf-8")), "utf-8")
    (ROOT / "docs" / "parts.md").write_text(long_page(), "utf-8")
