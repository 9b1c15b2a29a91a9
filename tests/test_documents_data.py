"""The shared collection of real files: each is in with the right number of pages, or refused for the right reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.cage import Cage
from ragkit.errors import LoadError

pytestmark = pytest.mark.data

PAGES = {
    "page-breaks.docx": 6, "stanley-cups.xlsx": 2, "stanley-cups.csv": 3, "stanley-cups-utf-16.csv": 3,
    "semicolon-delimited.csv": 4, "csv-with-escaped-commas.csv": 3, "winter-sports.epub": 10,
}  # fmt: skip
"""Pages of files that are no PDF and have more than one."""
REFUSED = {
    "empty-0-bytes.pdf": "empty", "empty.txt": "empty", "fake-text-all-whitespace.txt": "white space only",
    "password.pdf": "needs a password", "libreoffice-writer-password.pdf": "needs a password",
    "loremipsum-flat.pdf": "no text layer", "table-multi-row-column-cells.pdf": "no text layer",
}  # fmt: skip
SAYS = {
    "habibi.pdf": "حَبيبي habibi", "senate-expenditures.pdf": "LEGISLATIVE CORRESPONDENT",
    "copy-protected.pdf": "LayoutParser", "umlauts-non-utf8.md": "äöüß",
    "fake-text-utf-16.txt": "This is a test document", "fake-html-cp1252.html": "été était très chaud",
    "fake-doc.rtf": "My First Heading",
    "fake.odt": "Header row | Mon", "teams_chat.docx": "saved-by | Dennis",
    "fake-power-point-malformed.pptx": "Problem Date Placeholder",
    "tracemonkey.pdf": "trace trees", "failure-after-repair.pdf": "the", "korean-text-with-tables.pdf": "한",
    "docx-tables.docx": "e, f; g&t, h", "fake-email-header.eml": "Roses are red", "factbook.xml": "capital: Ottawa",
    "winter-sports.epub": "Winter Sports in Switzerland",
}  # fmt: skip
MEGABYTES = 400
"""Peak of the parsing process; the largest of these files takes half of it."""


@pytest.fixture(scope="module")
def outcomes(data):
    """For each file its pages, or the reason of its refusal, and the peak memory of the process that read them."""
    found: dict[str, object] = {}
    with Cage() as cage:
        for path in sorted((data / "documents" / "files").iterdir()):
            try:
                found[path.name] = list(cage.read(path).pages)
            except LoadError as error:
                found[path.name] = str(error)
        status = Path(f"/proc/{cage.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        peak = next((line for line in lines if line.startswith("VmHWM")), "")
    return found, int(peak.split()[1]) / 1024 if peak else 0


def test_each_refusal_has_its_reason_and_nothing_else_is_refused(outcomes):
    refused = {name: reason for name, reason in outcomes[0].items() if isinstance(reason, str)}
    assert set(refused) == set(REFUSED)
    for name, reason in refused.items():
        assert REFUSED[name] in reason


def test_page_counts_are_those_of_other_readers(outcomes, data):
    expected = dict(PAGES)
    for line in (data / "documents" / "reference-readers.jsonl").read_text().splitlines():
        record = json.loads(line)
        if "file" in record and "pages" in record["pdfium"]:
            expected[record["file"]] = record["pdfium"]["pages"]
    counts = {name: len(pages) for name, pages in outcomes[0].items() if not isinstance(pages, str)}
    many = counts.pop("handbook-872p.docx")
    assert many > 50
    assert counts == {name: expected.get(name, 1) for name in counts}


def test_about_as_much_text_is_found_as_by_other_readers(outcomes, data):
    for line in (data / "documents" / "reference-readers.jsonl").read_text().splitlines():
        record = json.loads(line)
        pages = outcomes[0].get(record.get("file", ""))
        if isinstance(pages, list):
            found = sum(len("".join(page.text.split())) for page in pages)
            assert found > 0.7 * min(record["pypdf"]["chars"], record["pdfium"]["chars"]), record["file"]


@pytest.mark.parametrize("name", SAYS)
def test_the_text_is_readable(outcomes, name):
    text = "\n".join(page.text for page in outcomes[0][name])
    assert SAYS[name] in text
    assert not set("ﬁﬂ\ufffe\u00ad\r\0") & set(text)


def test_words_broken_at_line_ends_are_whole(outcomes):
    text = outcomes[0]["tracemonkey.pdf"][0].text
    assert "popular since" in text
    assert "just-in-time" in text


def test_pages_without_text_count(outcomes):
    pages = outcomes[0]["layout-parser-paper-with-empty-pages.pdf"]
    assert [bool(page.text) for page in pages].count(False) == 2


def test_memory_stays_small(outcomes):
    assert outcomes[1] < MEGABYTES
