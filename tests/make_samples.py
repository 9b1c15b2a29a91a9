"""Set the bundled sample documents from their sources in `tests/samples/`.

    python tests/make_samples.py [FOLDER]

Writes the PDF (reportlab), the DOCX (python-docx) and the PPTX (python-pptx) into `index_data/sample_documents` or
FOLDER. The Markdown, HTML and CSV samples are their own sources. The result is the same bytes on every run.
"""

from __future__ import annotations

import datetime
import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import docx
import pptx
from docx.shared import Pt
from markdown_it import MarkdownIt
from markdown_it.token import Token
from reportlab.graphics.charts.barcharts import HorizontalBarChart
from reportlab.graphics.shapes import Drawing, Group, Line, Rect, String
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, ListFlowable, ListItem, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table

SOURCES = Path(__file__).with_name("samples")
TARGET = Path(__file__).parents[1] / "index_data" / "sample_documents"
WIDTH = A4[0] - 54 * mm - 12  # the frame has 6 points of padding on each side
BREAK = "\n\\newpage\n"
INK, PALE, WARM = colors.HexColor("#1f4e5f"), colors.HexColor("#e6eff2"), colors.HexColor("#c8553d")
DAY = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)


@dataclass
class Block:
    """One block of a source: a heading, a paragraph, a list, a table or a figure."""

    kind: str
    text: str = ""
    level: int = 0
    items: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def blocks(source: str) -> Iterator[Block]:
    """The blocks of a Markdown source; inline marks are kept as `<b>` and `<i>`."""
    tokens = iter(MarkdownIt().enable("table").parse(source))
    for token in tokens:
        if token.type == "heading_open":
            yield Block("heading", _inline(next(tokens)), int(token.tag[1]))
        elif token.type == "paragraph_open":
            text = _inline(next(tokens))
            figure = re.fullmatch(r"\[\[figure: (\w+)\]\]", text)
            yield Block("figure", figure[1]) if figure else Block("text", text)
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            close = token.type.replace("open", "close")
            yield Block(token.type.partition("_")[0], items=list(_texts(tokens, close)))
        elif token.type == "table_open":
            yield Block("table", rows=_rows(tokens))


def _texts(tokens: Iterator[Token], close: str) -> Iterator[str]:
    for token in tokens:
        if token.type == close:
            return
        if token.type == "inline":
            yield _inline(token)


def _rows(tokens: Iterator[Token]) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_inline(token))
    return rows


def _inline(token: Token) -> str:
    marks = {"strong_open": "<b>", "strong_close": "</b>", "em_open": "<i>", "em_close": "</i>", "softbreak": " "}
    escaped = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    return "".join(
        marks.get(part.type) or "".join(escaped.get(letter, letter) for letter in part.content)
        for part in token.children or []
    )


def plain(text: str) -> str:
    """Inline text without its marks."""
    text = re.sub(r"</?[bi]>", "", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


# --- the PDF -----------------------------------------------------------------------------------------------------

BODY = ParagraphStyle("body", fontName="Times-Roman", fontSize=11.3, leading=15.2, spaceAfter=6, alignment=4)
CELL = ParagraphStyle("cell", BODY, fontSize=9.4, leading=11.4, spaceAfter=0, alignment=0)
HEADINGS = {
    1: ParagraphStyle("h1", fontName="Helvetica-Bold", fontSize=19, leading=23, spaceAfter=8, textColor=INK),
    2: ParagraphStyle(
        "h2", fontName="Helvetica-Bold", fontSize=12, leading=15, spaceBefore=6, spaceAfter=3, textColor=INK
    ),
}


class Guide(SimpleDocTemplate):
    """Draws the footer after the text, so that readers of the text find it last on the page."""

    def afterPage(self) -> None:  # noqa: N802 - reportlab's name
        """Called when a page is full."""
        _footer(self.canv, self.page)


def write_pdf(source: Path, target: Path) -> None:
    """Set a source as an A4 document, one chapter a page, with outline, footer and page numbers."""
    story: list[Flowable] = []
    for number, chapter in enumerate(source.read_text("utf-8").split(BREAK)):
        story += [PageBreak()] if number else []
        for block in blocks(chapter):
            story += _flowables(block)
    document = Guide(
        str(target),
        pagesize=A4,
        leftMargin=27 * mm,
        rightMargin=27 * mm,
        topMargin=19 * mm,
        bottomMargin=20 * mm,
        title="Adapting pretrained language models: a field guide",
        author="The ragkit authors",
        subject="Prompts, retrieval, parameter-efficient finetuning and human feedback",
        invariant=1,
    )
    document.build(story)


def _flowables(block: Block) -> list[Flowable]:
    if block.kind == "heading":
        return [Paragraph(block.text, HEADINGS[block.level])]
    if block.kind in ("bullet", "ordered"):
        items = [ListItem(Paragraph(text, BODY), leftIndent=14) for text in block.items]
        style = {"bulletType": "bullet", "start": "\u2022"} if block.kind == "bullet" else {"bulletType": "1"}
        return [ListFlowable(items, bulletFontSize=9, leftIndent=14, **style), Spacer(1, 2)]
    if block.kind == "table":
        return [_table(block.rows), Spacer(1, 7)]
    if block.kind == "figure":
        return [FIGURES[block.text](), Spacer(1, 6)]
    return [Paragraph(block.text, BODY)]


def _table(rows: list[list[str]]) -> Table:
    head, *body = rows
    cells = [[Paragraph(text, CELL) for text in row] for row in ([f"<b>{text}</b>" for text in head], *body)]
    width = WIDTH
    share = {4: (0.37, 0.24, 0.2, 0.19), 5: (0.19, 0.22, 0.26, 0.14, 0.19)}[len(rows[0])]
    style = [
        ("BACKGROUND", (0, 0), (-1, 0), PALE),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor("#b9c9cf")),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ]
    return Table(cells, colWidths=[width * part for part in share], style=style, repeatRows=1)


def _footer(canvas: Canvas, page: int) -> None:
    canvas.saveState()
    canvas.setStrokeColor(colors.HexColor("#b9c9cf"))
    canvas.line(27 * mm, 15 * mm, A4[0] - 27 * mm, 15 * mm)
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(colors.HexColor("#5a6b72"))
    canvas.drawString(27 * mm, 11 * mm, "Adapting pretrained language models")
    canvas.drawRightString(A4[0] - 27 * mm, 11 * mm, f"Page {page}")
    canvas.restoreState()


def _map() -> Drawing:
    """The families by what they change."""
    drawing = Drawing(WIDTH, 116)
    columns = [
        ("Nothing is trained", ["in-context learning", "hard prompts", "indexing and retrieval"]),
        ("A little is trained", ["soft prompts, prefixes", "adapters, LoRA, IA3", "output layers"]),
        ("Everything is trained", ["all layers", "instruction tuning", "human feedback (RLHF)"]),
    ]
    width = (drawing.width - 24) / 3
    for number, (head, lines) in enumerate(columns):
        left = number * (width + 12)
        box = Group(Rect(left, 18, width, 92, rx=6, fillColor=PALE, strokeColor=INK, strokeWidth=0.6))
        box.add(String(left + 10, 92, head, fontName="Helvetica-Bold", fontSize=9.5, fillColor=INK))
        for row, line in enumerate(lines):
            box.add(String(left + 10, 72 - 17 * row, line, fontName="Helvetica", fontSize=9))
        drawing.add(box)
    drawing.add(Line(0, 9, drawing.width - 130, 9, strokeColor=WARM, strokeWidth=1))
    label = "more parameters, more data, more cost"
    drawing.add(String(drawing.width, 6, label, fontName="Helvetica", fontSize=7, textAnchor="end", fillColor=WARM))
    return drawing


def _imdb() -> Drawing:
    """Test accuracies of the three routes, as bars from 80 to 95 %."""
    drawing = Drawing(WIDTH, 84)
    chart = HorizontalBarChart()
    chart.x, chart.y, chart.width, chart.height = 92, 14, drawing.width - 130, 62
    chart.data = [(92.14, 86.63, 87.95)]
    chart.categoryAxis.categoryNames = ["All layers", "Output layers", "Frozen features"]
    chart.categoryAxis.labels.fontName = chart.valueAxis.labels.fontName = "Helvetica"
    chart.categoryAxis.labels.fontSize = chart.valueAxis.labels.fontSize = 8
    chart.valueAxis.valueMin, chart.valueAxis.valueMax, chart.valueAxis.valueStep = 80, 95, 5
    chart.valueAxis.labelTextFormat = "%d %%"
    chart.bars[0].fillColor, chart.bars[0].strokeColor = INK, None
    chart.barLabelFormat, chart.barLabels.nudge = "%.2f", 14
    chart.barLabels.fontName, chart.barLabels.fontSize = "Helvetica", 8
    drawing.add(chart)
    return drawing


FIGURES = {"map": _map, "imdb": _imdb}

# --- the office files --------------------------------------------------------------------------------------------


def write_docx(source: Path, target: Path) -> None:
    """Set a source as a Word document with real headings, lists and tables."""
    document = docx.Document()
    document.styles["Normal"].font.name, document.styles["Normal"].font.size = "Calibri", Pt(11)
    for number, part in enumerate(source.read_text("utf-8").split(BREAK)):
        if number:
            document.add_page_break()
        for block in blocks(part):
            _add(document, block)
    _stamp(document.core_properties, "Retrieval-augmented generation: a handbook")
    document.save(str(target))
    _settle(target)


def _add(document: docx.document.Document, block: Block) -> None:
    if block.kind == "heading":
        document.add_heading(plain(block.text), block.level - 1)
    elif block.kind == "table":
        table = document.add_table(0, len(block.rows[0]), style="Light Grid Accent 1")
        for row in block.rows:
            for cell, text in zip(table.add_row().cells, row, strict=True):
                cell.text = plain(text)
    elif block.items:
        for text in block.items:
            _runs(document.add_paragraph(style="List Bullet" if block.kind == "bullet" else "List Number"), text)
    else:
        _runs(document.add_paragraph(), block.text)


def _runs(paragraph: docx.text.paragraph.Paragraph, text: str) -> None:
    bold = italic = False
    for part in re.split(r"(</?[bi]>)", text):
        if part in ("<b>", "</b>"):
            bold = part == "<b>"
        elif part in ("<i>", "</i>"):
            italic = part == "<i>"
        elif part:
            run = paragraph.add_run(plain(part))
            run.bold, run.italic = bold or None, italic or None


def write_pptx(source: Path, target: Path) -> None:
    """One slide a chapter: the heading is the title, the list or the paragraph the body."""
    show = pptx.Presentation()
    for number, chapter in enumerate(source.read_text("utf-8").split(BREAK)):
        head, *rest = blocks(chapter)
        slide = show.slides.add_slide(show.slide_layouts[1 if number else 0])
        slide.shapes.title.text = plain(head.text)
        lines = [plain(line) for block in rest for line in (block.items or [block.text])]
        slide.placeholders[1].text = "\n".join(lines)
    _stamp(show.core_properties, "From question to cited answer")
    show.save(str(target))
    _settle(target)


def _stamp(properties: docx.opc.coreprops.CoreProperties, title: str) -> None:
    properties.title, properties.author, properties.last_modified_by = title, "The ragkit authors", ""
    properties.created = properties.modified = DAY
    properties.revision = 1


def _settle(path: Path) -> None:
    """Write the zip file again with one fixed time, so that the same source gives the same bytes."""
    with zipfile.ZipFile(path) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts:
            archive.writestr(zipfile.ZipInfo(name, DAY.timetuple()[:6]), data, zipfile.ZIP_DEFLATED)


def write_all(folder: Path) -> None:
    """Set all documents that have a source."""
    folder.mkdir(parents=True, exist_ok=True)
    write_pdf(SOURCES / "field-guide.md", folder / "field-guide.pdf")
    write_docx(SOURCES / "retrieval-handbook.md", folder / "retrieval-handbook.docx")
    write_pptx(SOURCES / "slides.md", folder / "question-to-answer.pptx")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
