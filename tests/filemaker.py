"""Small real files of every kind, made with other people's writers where there are any."""

from __future__ import annotations

import email.message
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import docx
import openpyxl
import pptx
from docx.enum.text import WD_BREAK

SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank."


def pdf_bytes(texts: Sequence[str], labels: str = "") -> bytes:
    """A PDF with a page a text (Latin letters), written by hand; `labels` is a /PageLabels entry."""
    kids = " ".join(f"{3 + 2 * index} 0 R" for index in range(len(texts)))
    font = 3 + 2 * len(texts)
    objects = [f"<</Type/Catalog/Pages 2 0 R{labels}>>".encode(),
               f"<</Type/Pages/Kids[{kids}]/Count {len(texts)}>>".encode()]  # fmt: skip
    for index, text in enumerate(texts):
        lines = "".join(f"({line}) Tj 0 -14 Td " for line in text.split("\n")) if text else ""
        stream = zlib.compress(f"BT /F1 12 Tf 72 720 Td {lines} ET".encode("latin-1"))
        resources = f"/Resources<</Font<</F1 {font} 0 R>>>>"
        page = f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {4 + 2 * index} 0 R{resources}>>"
        objects.append(page.encode())
        objects.append(f"<</Length {len(stream)}/Filter/FlateDecode>>stream\n".encode() + stream + b"\nendstream")
    objects.append(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>")
    out, places = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(out)}\n%%EOF"
    return out + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()


def make_pdf(path: Path, text: str = SENTENCE) -> None:
    path.write_bytes(pdf_bytes([text, text]))


def make_docx(path: Path, text: str = SENTENCE) -> None:
    document = docx.Document()
    document.core_properties.title = "A Word file"
    if text:
        document.add_heading("Foxes", 1)
    document.add_paragraph(text).add_run().add_break(WD_BREAK.PAGE)
    document.add_paragraph(text)
    document.save(str(path))


def make_pptx(path: Path, text: str = SENTENCE) -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Foxes" if text else ""
    slide.placeholders[1].text = text
    if text:
        slide.notes_slide.notes_text_frame.text = "Say it slowly."
    deck.slides.add_slide(deck.slide_layouts[6])
    deck.save(str(path))


def make_xlsx(path: Path, text: str = SENTENCE) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Animals"
    if text:
        book.active.append(["Name", "Legs"])
        book.active.append([text, 4.0])
    book.create_sheet("Empty")
    book.save(str(path))


def make_zip(path: Path, parts: dict[str, str | bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def make_odt(path: Path, text: str = SENTENCE) -> None:
    spaces = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for short, name in (("office", "office"), ("text", "text"), ("table", "table"))
    )
    heading = '<text:h text:outline-level="2">Foxes</text:h>' if text else ""
    body = f"{heading}<text:p>{text}<text:soft-page-break/>{text}</text:p>"
    content = (
        f"<office:document-content {spaces}><office:body><office:text>{body}</office:text></office:body>"
        "</office:document-content>"
    )
    make_zip(path, {"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content})


def make_epub(path: Path, text: str = SENTENCE) -> None:
    container = '<container><rootfiles><rootfile full-path="O/b.opf"/></rootfiles></container>'
    opf = (
        '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>A book</dc:title></metadata>'
        "<manifest>"
        '<item id="a" href="one%20a.xhtml"/><item id="b" href="two.xhtml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    chapter = f"<html><body>{'<h1>Chapter<br/>one</h1>' if text else ''}<p>{text}</p></body></html>"
    parts = {"META-INF/container.xml": container, "O/b.opf": opf, "O/one a.xhtml": chapter, "O/two.xhtml": chapter}
    make_zip(path, {"mimetype": "application/epub+zip", **parts})


def make_rtf(path: Path, text: str = SENTENCE) -> None:
    path.write_text(rf"{{\rtf1\ansi\deff0 {text}\par\page {text}\par}}")


def make_html(path: Path, text: str = SENTENCE) -> None:
    heading, menu = ("<h1>Foxes</h1>", "<a href='/'>Home</a>") if text else ("", "")
    path.write_text(
        f"<!DOCTYPE html><html><head><title>Page</title><script>var hidden = 1;</script></head><body>"
        f"<nav>{menu}</nav><main>{heading}<p>{text}</p></main><footer></footer></body></html>"
    )


def make_eml(path: Path, text: str = SENTENCE) -> None:
    if not text:
        path.write_text("X-Nothing: \nX-More: \n\n")
        return
    message = email.message.EmailMessage()
    message["Subject"], message["From"], message["To"] = "Foxes", "a@example.org", "b@example.org"
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    message.add_attachment(b"123", maintype="application", subtype="pdf", filename="fox.pdf")
    path.write_bytes(message.as_bytes())


def make_xml(path: Path, text: str = SENTENCE) -> None:
    path.write_text(f"<?xml version='1.0'?><list><item><a>{text}</a><b>{text}</b></item></list>")


def make_csv(path: Path, text: str = SENTENCE) -> None:
    path.write_text(f"_id,title,text,note\nr1,Foxes,{text},x\nr2,Dogs,{text},y\n" if text else "\n,,\n \n")


def make_json(path: Path, text: str = SENTENCE) -> None:
    path.write_text(json.dumps([{"_id": "r1", "title": "Foxes", "text": text}] if text else [{}, None]))


def make_jsonl(path: Path, text: str = SENTENCE) -> None:
    rows = [{"_id": f"r{number}", "title": "Foxes", "text": text} for number in (1, 2)] if text else [{}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_markdown(path: Path, text: str = SENTENCE) -> None:
    path.write_text(f"# Foxes\n\n{text}\n" if text else "\n \n")


def make_text(path: Path, text: str = SENTENCE) -> None:
    path.write_text(f"{text}\n\f{text}\n" if text else "\f \n")


MAKERS: dict[str, Callable[..., None]] = {
    "pdf": make_pdf, "docx": make_docx, "pptx": make_pptx, "xlsx": make_xlsx, "odt": make_odt, "rtf": make_rtf,
    "epub": make_epub, "html": make_html, "eml": make_eml, "xml": make_xml, "csv": make_csv, "json": make_json,
    "jsonl": make_jsonl, "markdown": make_markdown, "text": make_text,
}  # fmt: skip
"""For each loader a function (path, text) that writes a file of its kind; an empty text gives one without text."""
