"""What flows through the house. Every type is frozen; none knows how it is made or shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ragkit.plain import digest, from_json, to_json  # noqa: F401 - found beside the values that they are for

Vectors = NDArray[np.float32]
"""Shape (n, dimension), float32, each row of length 1."""

SegmentKind = Literal["instruction", "demonstration", "passage", "question"]

Withheld = Literal["", "nothing near", "nothing read"]
"""Why an answer was withheld: not at all, no passage is near the question, or the reader found no answer in them."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a document: a PDF page, a slide, a sheet, a record, a chapter, or a whole plain text."""

    number: int
    """Position in the document, from 1."""
    label: str
    """What the document itself calls the page: a PDF page label, a sheet's name, a record's id."""
    text: str
    title: str = ""
    """A title that belongs to this page alone: a slide's or a record's title."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of one page: `page_text[start:end] == text`, exactly."""

    page: int
    start: int
    end: int
    text: str
    headings: tuple[str, ...] = ()
    """The path of titles above the passage, outermost first; embedded and searched with the text."""

    @property
    def context(self) -> str:
        """The heading path as one line."""
        return " > ".join(self.headings)

    @property
    def embedded_text(self) -> str:
        """What the embedder reads: the heading path, then the passage."""
        return f"{self.context}\n{self.text}" if self.headings else self.text


@dataclass(frozen=True, slots=True)
class Document:
    """A document as the collection lists it."""

    id: int
    name: str
    """Unique in the collection; a file's name, or its path below the folder that was ingested."""
    sha256: str
    kind: str
    """The loader that read it."""
    title: str
    bytes: int
    pages: int
    chunks: int
    added: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Which embedder made a set of vectors; two embedders with equal fingerprints give equal vectors."""

    name: str
    weights: str
    """SHA-256 of the weights, or the hub revision."""
    dimension: int
    max_tokens: int
    normalised: bool = True
    query_prefix: str = ""
    passage_prefix: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.dimension} dimensions, weights {self.weights[:12]})"


@dataclass(frozen=True, slots=True)
class Hit:
    """One retrieved passage."""

    rank: int
    """From 1."""
    score: float
    """The retriever's own score; only its order is comparable between retrievers."""
    chunk: int
    """Chunk id in the collection."""
    document: str
    page: int
    page_label: str
    start: int
    end: int
    text: str
    headings: tuple[str, ...] = ()
    similarity: float | None = None
    """Cosine to the question, where the retriever measured it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one retrieval found: frozen, so that several variants can be compared on it."""

    question: str
    hits: tuple[Hit, ...]
    nearest: float | None
    """Largest cosine between the question and any passage considered; None if no embedder took part."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One worked example for few-shot prompts."""

    question: str
    answer: str
    passage: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of characters in a prompt and what it is."""

    kind: SegmentKind
    text: str
    number: int = 0
    """For a passage: its number in the prompt, from 1; for a demonstration: its position, from 1."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat prompt."""

    role: Literal["system", "user", "assistant"]
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """Its segments, joined."""
        return "".join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt that knows which of its characters are instruction, demonstrations, passages and question."""

    template: str
    messages: tuple[Message, ...]
    chat: bool
    """True: the model's own chat template wraps the messages. False: the text goes in as it is (a completion)."""
    hits: tuple[Hit, ...]
    """The passages in the prompt; the passage numbered n is `hits[n - 1]`."""
    dropped: tuple[Hit, ...] = ()
    """Passages that did not fit the model's context, lowest ranks first to go."""
    demonstrations: tuple[Demonstration, ...] = ()
    stop: tuple[str, ...] = ()
    """Texts that end the answer and are not part of it: what a completion would run on into."""
    template_sha256: str = ""
    """Hash of the template as it was when it made this prompt."""

    @property
    def text(self) -> str:
        """All messages, one after another, without the model's chat marks."""
        return "\n\n".join(message.text for message in self.messages)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the next token is chosen."""

    max_tokens: int = 256
    """Longest answer, in tokens of the model."""
    temperature: float = 0.0
    """0 takes the most probable token every time; higher is more varied."""
    top_p: float = 1.0
    """With a temperature above 0: sample from the smallest set of tokens that holds this much probability."""
    repetition_penalty: float = 1.0
    """Above 1 makes a token less probable once the prompt or the answer has used it, also where it should be quoted."""
    seed: int = 0
    """Seed of the sampling; the same seed gives the same answer."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a span reader quotes from the passages of a question."""

    passage: int
    """Index of the passage among those that were read, from 0."""
    start: int
    end: int
    """`passages[passage][start:end] == text`."""
    text: str
    margin: float
    """By how much the span's score exceeds that of "not here", in logits."""
    confidence: float
    """Calibrated probability that the span answers the question, 0 to 1."""
    answered: bool
    """Whether the confidence reaches the reader's threshold."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt on its way into a language model."""

    prompt: Prompt
    decoding: Decoding
    on_text: Callable[[str], bool]
    """Gets each new piece of text and returns False to stop."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What a generator returned for one prompt."""

    text: str
    prompt_tokens: int
    tokens: int
    seconds_to_first: float
    """Seconds from the call to the first token."""
    seconds: float
    finish: Literal["stop", "length", "cancelled"]
    reading: Reading | None = None
    """Where a span reader generated: what it read; `passage` counts the prompt's passages."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark `[number]` in an answer, resolved to the sentence that supports it best."""

    number: int
    document: str
    page: int
    page_label: str
    start: int
    end: int
    """`page_text[start:end] == quote`."""
    quote: str
    chunk: int
    inferred: bool = False
    """True when the answer carries no mark here and the passage was found by its words."""


@dataclass(frozen=True, slots=True)
class Support:
    """How much of one sentence of an answer its passages carry."""

    start: int
    end: int
    """The sentence is `answer.text[start:end]`."""
    score: float
    """Share of the sentence's content words found in the passages it cites (in all when it cites none), 0 to 1."""
    numbers: tuple[int, ...]
    """Passages the sentence cites."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of answering: what compare and evaluate put side by side."""

    template: str = "cite"
    """Prompt template."""
    selector: str = "nearest"
    """How demonstrations are chosen from the collection's bank."""
    demonstrations: int = 3
    """How many demonstrations a few-shot template gets; 0 means none."""
    order: str = "as-chosen"
    """Order of the demonstrations: as-chosen (by the selector), nearest-last, nearest-first, bank or random."""
    engine: str = "auto"
    """Generation engine; auto takes openvino where it reads the model, else transformers."""
    model: str = "smollm2-135m"
    """Language model: a built-in name, a folder, a GGUF file or a hub id."""
    adapter: str = "auto"
    """Adapter: a name or a folder; empty for none; auto takes the default one where it belongs to the template."""
    decoding: Decoding = field(default_factory=Decoding)

    @property
    def name(self) -> str:
        """Short name for tables: the template, and whatever else is not the default."""
        plain = Variant()
        extras = [
            str(getattr(self, part.name))
            for part in dataclasses.fields(self)
            if part.name not in ("template", "adapter", "decoding")
            and getattr(self, part.name) != getattr(plain, part.name)
        ]
        adapter = "" if self.adapter == plain.adapter else Path(self.adapter).name
        return " + ".join([self.template, *filter(None, [*extras, adapter])])


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with everything that led to it."""

    question: str
    text: str
    variant: Variant
    citations: tuple[Citation, ...]
    support: tuple[Support, ...]
    abstained: bool
    nearest: float | None
    """The score that the abstention threshold was held against (cosine of the nearest passage)."""
    hits: tuple[Hit, ...]
    prompt: Prompt | None
    """None when the answer was an abstention before any prompt was made."""
    generation: Generation | None
    unknown_marks: tuple[int, ...] = ()
    """Numbers in the answer's marks that name no passage of the prompt."""
    seconds_retrieval: float = 0.0
    reading: Reading | None = None
    """What the span reader quotes from the passages; `hits[reading.passage]` is its passage. None without a reader."""
    withheld: Withheld = ""
    """Why no model was asked."""
    closest: tuple[Citation, ...] = ()
    """For an abstention although passages were near: their sentences nearest to the question."""
    quoted: bool = False
    """Whether the model found no answer and the text is what the reader, being sure, quotes; `generation` has the
    model's own words."""
    id: int | None = None
    """Row in the collection's history, once kept."""

    @property
    def supported(self) -> float | None:
        """Mean support over the answer's sentences, weighted by their length; None for an abstention."""
        total = sum(part.end - part.start for part in self.support)
        return sum(part.score * (part.end - part.start) for part in self.support) / total if total else None


@dataclass(frozen=True, slots=True)
class Gold:
    """One page that holds the answer. An empty field matches everything."""

    document: str = ""
    page: int | None = None
    label: str = ""
    """The page's own name: a record's id, a PDF page label."""
    gain: float = 1.0
    """Graded relevance, as in nDCG."""

    def matches(self, document: str, page: int, label: str) -> bool:
        """Whether a page is this one."""
        return (
            (not self.document or self.document == document)
            and (self.page is None or self.page == page)
            and (not self.label or self.label == label)
        )


@dataclass(frozen=True, slots=True)
class Question:
    """One question of an evaluation set."""

    id: str
    question: str
    answers: tuple[str, ...] = ()
    """Answers that count as right; none at all means that the documents do not hold one."""
    gold: tuple[Gold, ...] = ()
    """Pages that hold the answer, where they are known."""
    passage: str = ""
    """Text that holds the answer, for answering with the gold passage."""
    judged: bool = True
    """Whether `answers` says anything: a retrieval set has gold pages and no answers."""

    @property
    def answerable(self) -> bool:
        """Whether there is an answer to be given."""
        return bool(self.answers)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a collection, and whether a repair mends it.

    Only the repair of a damaged database may cost documents; it names them.
    """

    what: str
    where: Literal["database", "words", "projection", "files"]
    repairable: bool
