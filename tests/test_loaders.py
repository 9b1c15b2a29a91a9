"""Loaders, each with what is special to its kind; and what is refused, with which words."""

from __future__ import annotations

import json
import random
import zlib

import docx
import pytest
from docx.enum.text import WD_BREAK

from ingest.cage import Cage
from ingest.catalog import LOADERS
from ingest.sniff import sniff
from ingest.text import clean, join_hyphens, legacy_encoding
from ragkit.errors import LoadError
from tests.filemaker import MAKERS, SENTENCE, make_docx, make_html, make_zip, pdf_bytes

WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {char} "{f"&{before};" * 10}">' for before, char in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(scope="module")
def cage():
    with Cage() as cage:
        yield cage


def read(path):
    loader = LOADERS.load(sniff(path))()
    return list(loader.load(path))


def texts(path):
    return [page.text for page in read(path)]


def word(path, body, **parts):
    make_zip(path, {"word/document.xml": f"<w:document {WORD}><w:body>{body}</w:body></w:document>", **parts})
    return path


def paragraph(inner):
    return f"<w:p><w:r>{inner}</w:r></w:p>"


# Text


def test_cleaning_keeps_what_is_read_and_drops_what_is_not():
    dirty = "ﬁne\u00ad eﬀort\r\nx²\u200b\ufeff\u202eabc\u202c\x00\x07\u00a0end  \r\r\r\n\nA\u0308\ud83d\ude00\ud800"
    assert clean(dirty) == "fine effort\nx²abc end\n\nÄ😀"
    assert clean("  keep\n    indentation\n") == "  keep\n    indentation"


def test_hyphens_at_line_ends_join_words_unless_they_belong():
    assert join_hyphens("infor-\nmation retrie-\n  val") == "information retrieval"
    assert join_hyphens("well-known facts; a well-\nknown one") == "well-known facts; a well-known one"
    assert join_hyphens("the Levenberg-\nMarquardt method") == "the Levenberg-Marquardt method"
    assert join_hyphens("2019-\n2020 and a -\nb") == "2019-\n2020 and a -\nb"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Die Größe – fünf Öfen“ kostet 3 €."),
        ("cp1252", "L'été était très chaud à la mer."),
        ("latin-1", "können\n\näöüß"),
        ("cp1250", "Zażółć gęślą jaźń. Książka leży na półce obok okna."),
        ("cp1251", "Вчера я купил свежий хлеб в магазине."),
        ("koi8-r", "Вчера я ходил в магазин и купил свежий хлеб. " * 5),
        ("shift_jis", "昨日、私は店に行って新しいパンを買いました。"),
        ("gb18030", "昨天我去商店买了新鲜的面包。天气很好。" * 3),
        ("utf-16", "UTF-16 mit ö"),
        ("utf-16-le", "Without a mark, ASCII mostly."),
        ("utf-16-be", "Without a mark, ASCII mostly."), ("utf-8-sig", "Mark ö"), ("utf-32", "Mark ö"),
    ],
)  # fmt: skip
def test_encodings_are_found(tmp_path, encoding, text):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    assert texts(path) == [text.strip()]


def test_plain_english_with_one_odd_byte_is_western():
    assert legacy_encoding(b"Caf\xe9 opens at nine.") == "cp1252"


def test_form_feeds_separate_pages_and_a_last_one_opens_none(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ftwo\f\fthree\f")
    assert texts(tmp_path / "a.txt") == ["one", "two", "", "three"]


# Content decides before the ending


@pytest.mark.parametrize("name", ["pdf", "docx", "pptx", "xlsx", "odt", "epub", "rtf", "html"])
@pytest.mark.parametrize("ending", [".txt", ".pdf", ".docx", ".csv", ""])
def test_a_file_is_read_as_what_it_is(tmp_path, name, ending):
    path = tmp_path / f"file{ending}"
    MAKERS[name](path)
    assert sniff(path) == name
    assert SENTENCE in " ".join(" ".join(texts(path)).split())


@pytest.mark.parametrize("ending", [".pdf", ".docx", ".xlsx", ".py", ".weird"])
def test_text_under_any_name_is_text(tmp_path, ending):
    path = tmp_path / f"file{ending}"
    path.write_text("def answer():\n    return 42\n")
    assert texts(path) == ["def answer():\n    return 42"]


# What is refused

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
REFUSALS = {
    "white.txt": (b" \n\t \n", "white space only"),
    "noise.txt": (random.Random(0).randbytes(4000), "binary data"),
    "zeros.md": (b"abc\0def\0" * 100, "binary data"),
    "picture.pdf": (b"\x89PNG\r\n\x1a\n" + bytes(500), "PNG picture"),
    "noise.pdf": (b"%PDF-1.7\n" + random.Random(1).randbytes(4000), "damaged or was cut short"),
    "headless.pdf": (random.Random(2).randbytes(4000), "header of a PDF is missing"),
    "scan.pdf": (pdf_bytes(["", ""]), "no text layer"),
    "old.doc": (OLE + "WordDocument".encode("utf-16-le"), "old binary Word"),
    "locked.docx": (OLE + "EncryptedPackage".encode("utf-16-le"), "needs a password"),
    "program.exe": (b"MZ\x90\0\x03" + bytes(600), "a program"),
    "half.json": (b'{"a": [1, 2', "not valid JSON"),
    "deep.json": (b"[" * 100_000 + b"]" * 100_000, "nested more than 100"),
    "line.jsonl": (b'{"text": "a"}\n{"text"\n', "Line 2 is not valid JSON"),
    "half.xml": (b"<?xml version='1.0'?><a><b>x</b>", "XML breaks off"),
    "laughs.xml": (f"<?xml version='1.0'?>{BOMB}]><x>&i;</x>".encode(), "XML breaks off or is wrong"),
    "deep.xml": (b"<a>" * 100_000, "XML breaks off"),
    "cell.csv": (b"a,b\n1," + b"x" * 5_000_000, "cannot be read"),
    "script.html": (b"<html><body><script>alert(1)</script></body></html>", "no text"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_it_is_refused_with_the_reason(tmp_path, cage, name):
    data, reason = REFUSALS[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(LoadError, match=reason):
        list(cage.read(path).pages)


@pytest.mark.parametrize("name", ["pdf", "docx", "epub", "xlsx"])
def test_a_file_cut_short_is_refused(tmp_path, cage, name):
    path = tmp_path / f"a.{name}"
    MAKERS[name](path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(LoadError, match="cut short|damaged"):
        list(cage.read(path).pages)


def test_a_zip_that_is_no_document_is_refused(tmp_path):
    make_zip(tmp_path / "a.docx", {"a.txt": "x"})
    make_zip(tmp_path / "a.zip", {"a.txt": "x"})
    with pytest.raises(LoadError, match="called .docx but is another kind"):
        sniff(tmp_path / "a.docx")
    with pytest.raises(LoadError, match="zip archive, not a document"):
        sniff(tmp_path / "a.zip")


def test_zip_bombs_are_refused_before_they_are_unpacked(tmp_path, cage):
    word(tmp_path / "long.docx", paragraph(f"<w:t>{'a' * 60_000_000}</w:t>"))
    word(tmp_path / "many.docx", paragraph("<w:t>x</w:t>"), **{f"part{number}": "" for number in range(20_100)})
    for name in ("long.docx", "many.docx"):
        with pytest.raises(LoadError, match="zip bomb"):
            cage.read(tmp_path / name)


def test_entities_are_neither_fetched_nor_multiplied(tmp_path, cage):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret words")
    entity = f'<!DOCTYPE x [<!ENTITY a SYSTEM "{secret.as_uri()}">]>'
    xml = tmp_path / "a.xml"
    xml.write_text(f"<?xml version='1.0'?>{entity}<x>before &a; after</x>")
    body = f"<w:body>{paragraph('<w:t>before &a; after</w:t>')}</w:body>"
    make_zip(tmp_path / "a.docx", {"word/document.xml": f"{entity}<w:document {WORD}>{body}</w:document>"})
    for path in (xml, tmp_path / "a.docx"):
        assert "secret words" not in "".join(page.text for page in cage.read(path).pages)
    make_zip(
        tmp_path / "b.docx", {"word/document.xml": f"{BOMB}]><w:document {WORD}><w:body>&i;</w:body></w:document>"}
    )
    with pytest.raises(LoadError, match="XML"):
        cage.read(tmp_path / "b.docx")


def test_a_bomb_inside_a_pdf_costs_the_file_and_no_more(tmp_path, cage):
    data = pdf_bytes(["x"])
    start, end = data.index(b"stream\n") + 7, data.index(b"\nendstream")
    stream = zlib.compress(b"BT /F1 12 Tf (a) Tj ET " * 12_000_000, 9)
    bomb = (
        data[:start].replace(f"/Length {end - start}".encode(), f"/Length {len(stream)}".encode()) + stream + data[end:]
    )
    (tmp_path / "a.pdf").write_bytes(bomb)
    with pytest.raises(LoadError, match=r"."):
        list(cage.read(tmp_path / "a.pdf").pages)
    make_html(tmp_path / "b.html")
    assert list(cage.read(tmp_path / "b.html").pages)


# Kinds


def test_pdf_labels_and_lines(tmp_path):
    labels = "/PageLabels<</Nums[0<</S/r>>2<</S/D>>]>>"
    (tmp_path / "a.pdf").write_bytes(pdf_bytes(["Preface with infor-\nmation", "", "Chapter"], labels))
    pages = read(tmp_path / "a.pdf")
    assert [(page.number, page.label) for page in pages] == [(1, "i"), (2, "ii"), (3, "1")]
    assert [page.text for page in pages] == ["Preface with information", "", "Chapter"]


def test_word_pages_follow_breaks_and_count_each_once(tmp_path):
    seen = "<w:lastRenderedPageBreak/>"
    body = (
        paragraph('<w:t>one</w:t><w:br w:type="page"/>') + paragraph(f"{seen}<w:t>two</w:t>{seen}<w:t>three</w:t>")
        + f"<w:p><w:pPr><w:pageBreakBefore/></w:pPr><w:r>{seen}<w:t>four</w:t></w:r></w:p>"
    )  # fmt: skip
    pages = read(word(tmp_path / "a.docx", body))
    assert [(page.label, page.text) for page in pages] == [("1", "one"), ("2", "two"), ("3", "three"), ("4", "four")]


def test_word_without_a_layout_has_parts_where_its_own_count_differs(tmp_path):
    make_docx(tmp_path / "a.docx")
    assert len(read(tmp_path / "a.docx")) == 2
    body = paragraph('<w:t>one</w:t><w:br w:type="page"/><w:t>two</w:t>')
    app = {"docProps/app.xml": "<Properties><Pages>9</Pages></Properties>"}
    assert [page.label for page in read(word(tmp_path / "b.docx", body, **app))] == ["part 1", "part 2"]


def test_word_keeps_headings_lists_tables_notes_and_drops_what_was_deleted(tmp_path):
    document = docx.Document()
    document.add_heading("Title of it", 0)
    document.add_heading("Deeper", 2)
    document.add_paragraph("Point", style="List Bullet")
    table = document.add_table(2, 2)
    for cell, text in zip([cell for row in table.rows for cell in row.cells], "abcd", strict=True):
        cell.text = text
    table.cell(1, 1).add_table(1, 2).cell(0, 0).text = "inner"
    document.add_paragraph("Last").add_run("x").add_break(WD_BREAK.LINE)
    document.save(str(tmp_path / "a.docx"))
    (text,) = texts(tmp_path / "a.docx")
    blocks = text.split("\n\n")
    assert [block.removeprefix("- ") for block in blocks] == [
        "# Title of it", "## Deeper", "Point", "a | b\nc | d inner", "Lastx"
    ]  # fmt: skip
    body = "<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins></w:p>"
    body += paragraph("<w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t>")
    assert texts(word(tmp_path / "b.docx", body)) == ["new"]


def test_slides_have_titles_and_notes(tmp_path):
    MAKERS["pptx"](tmp_path / "a.pptx")
    first, second = read(tmp_path / "a.pptx")
    assert (first.title, first.text) == ("Foxes", f"Foxes\n\n{SENTENCE}\n\nNotes: Say it slowly.")
    assert (second.title, second.text) == ("", "")


def test_sheets_are_pages(tmp_path):
    MAKERS["xlsx"](tmp_path / "a.xlsx")
    first, second = read(tmp_path / "a.xlsx")
    assert (first.label, first.text) == ("Animals", f"Name | Legs\n{SENTENCE} | 4")
    assert (second.label, second.text) == ("Empty", "")


def test_chapters_are_pages(tmp_path):
    MAKERS["epub"](tmp_path / "a.epub")
    first, second = read(tmp_path / "a.epub")
    assert (first.label, first.title) == ("Chapter one", "Chapter one")
    assert first.text.startswith("# Chapter one\n\nThe quick")
    assert second.number == 2


def test_html_drops_menus_and_scripts_and_keeps_the_text(tmp_path):
    MAKERS["html"](tmp_path / "a.html")
    (text,) = texts(tmp_path / "a.html")
    assert text.split() == f"# Foxes {SENTENCE}".split()
    rows = "".join(f"<tr><td>cell {number}</td><td><p>value {number}</p></td></tr>" for number in range(30))
    (tmp_path / "b.html").write_text(
        f"<html><body><table>{rows}</table><p style='display:none'>hidden</p></body></html>"
    )
    (text,) = texts(tmp_path / "b.html")
    assert all(f"cell {number}" in text and f"value {number}" in text for number in range(30))
    assert "hidden" not in text


def test_mail_has_headers_plain_text_and_names_of_attachments(tmp_path):
    MAKERS["eml"](tmp_path / "a.eml")
    (page,) = read(tmp_path / "a.eml")
    assert page.title == "Foxes"
    assert page.text.startswith("Subject: Foxes\nFrom: a@example.org\nTo: b@example.org\nAttachments: fox.pdf\n\n")
    assert page.text.count(SENTENCE) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("name;legs\nfox;4\nbird;2\n", ["name: fox\nlegs: 4", "name: bird\nlegs: 2"]),
        ("name\tsays\nfox\t\"a, b\"\n", ["name: fox\nsays: a, b"]),
        ("A table,,\nname,legs,\nfox,4,\n", ["name: fox\nlegs: 4"]),
        ("1,2\n3,4\n", ["column 1: 1\ncolumn 2: 2", "column 1: 3\ncolumn 2: 4"]),
        ('a,b\n"two\nlines",x\n', ["a: two\nlines\nb: x"]),
        ("a,b\n1,2,3\n", ["a: 1\nb: 2\ncolumn 3: 3"]),
        ("id,text,tag\nr1,Body here,\n", ["Body here"]),
    ],
)  # fmt: skip
def test_tables_are_understood(tmp_path, content, expected):
    (tmp_path / "a.csv").write_text(content)
    assert texts(tmp_path / "a.csv") == expected


def test_json_records_are_found_in_a_list_or_in_what_wraps_it(tmp_path):
    rows = [
        {"_id": 5, "title": "T", "text": "Body", "tags": ["a", "b"], "metadata": {"url": "u"}},
        {"a": {"b": [1, True]}},
        "plain",
    ]
    for value in (rows, {"version": 1, "data": rows}):
        (tmp_path / "a.json").write_text(json.dumps(value))
        pages = read(tmp_path / "a.json")
        assert [(page.label, page.title, page.text) for page in pages] == [
            ("5", "T", "Body\ntags: a, b"), ("2", "", "a.b: 1, true"), ("3", "", "plain")
        ]  # fmt: skip
    (tmp_path / "a.json").write_text('{"name": "one", "size": 3}')
    assert texts(tmp_path / "a.json") == ["name: one\nsize: 3"]


# The cage
