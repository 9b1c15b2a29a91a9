"""The fuse box of ingestion: every loader and every splitter, one row each.

A new part is one file and one row here; `ragkit list`, `--help`, the menus, the README's table and the contract tests
pick it up.
"""

from __future__ import annotations

from ragkit.registry import Registry, Row

LOADERS = Registry(
    "loader",
    Row(
        "pdf",
        "ingest.loaders.pdf:PdfLoader",
        "PDF with a text layer; page numbers and labels kept.",
        needs=("pypdf", "pypdfium2", "fontTools"),
    ),
    Row(
        "docx",
        "ingest.loaders.docx:DocxLoader",
        "Word: headings, lists, tables, notes; pages as Word last laid them out.",
        needs=("lxml",),
    ),
    Row("pptx", "ingest.loaders.pptx:PptxLoader", "PowerPoint: a slide is a page, notes included.", needs=("pptx",)),
    Row("xlsx", "ingest.loaders.xlsx:XlsxLoader", "Excel: a sheet is a page.", needs=("openpyxl",)),
    Row("odt", "ingest.loaders.odt:OdtLoader", "OpenDocument text.", needs=("lxml",)),
    Row("rtf", "ingest.loaders.rtf:RtfLoader", "Rich Text Format.", needs=("striprtf",)),
    Row("epub", "ingest.loaders.epub:EpubLoader", "E-books: a chapter is a page.", needs=("lxml",)),
    Row(
        "html",
        "ingest.loaders.html:HtmlLoader",
        "Web pages: menus and scripts dropped, text kept.",
        needs=("lxml", "trafilatura"),
    ),
    Row("eml", "ingest.loaders.eml:EmlLoader", "E-mail messages: headers and text.", needs=("lxml",)),
    Row("xml", "ingest.loaders.xml:XmlLoader", "XML: the text of its elements.", needs=("lxml",)),
    Row("csv", "ingest.loaders.csv:CsvLoader", "Tables as CSV or TSV: a record is a page."),
    Row("json", "ingest.loaders.json:JsonLoader", "JSON: a record is a page."),
    Row("jsonl", "ingest.loaders.json:JsonLinesLoader", "JSON lines: a record is a page."),
    Row("markdown", "ingest.loaders.text:MarkdownLoader", "Markdown, kept as written."),
    Row("text", "ingest.loaders.text:TextLoader", "Plain text in any encoding; form feeds separate pages."),
)

SPLITTERS = Registry(
    "splitter",
    Row(
        "recursive",
        "ingest.splitters.kinds:RecursiveSplitter",
        "At headings, paragraphs, sentences, words: the largest that fit.",
        needs=("langchain_text_splitters",),
    ),
    Row(
        "sentences",
        "ingest.splitters.kinds:SentenceSplitter",
        "Whole sentences, as many as fit.",
        needs=("langchain_text_splitters",),
    ),
    Row(
        "markdown",
        "ingest.splitters.kinds:MarkdownSplitter",
        "Never across a Markdown heading; within a section like recursive.",
        needs=("langchain_text_splitters",),
    ),
    Row(
        "fixed",
        "ingest.splitters.kinds:FixedSplitter",
        "Windows of equal length, cut between words.",
        needs=("langchain_text_splitters",),
    ),
)

REGISTRIES = {"loaders": LOADERS, "splitters": SPLITTERS}
