"""How questions, answers, passages and prompts look: pure functions from the house's types to escaped HTML."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ragkit.types import Answer, Citation, Hit, Prompt, Reading, Support
from ui.views import Html, button, count, el, icon, join, number, seconds

_INLINE = re.compile(r"\*\*(?P<bold>[^*\n]+)\*\*|`(?P<code>[^`\n]+)`|\[(?P<cite>\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_ITEM = re.compile(r"\s*(?:[-*•]|(?P<number>\d{1,3})[.)])\s+")
_MARKDOWN = re.compile(r"^\s*(?:[-*•]|#+|\d{1,3}[.)])\s+|\*\*|`")
_FENCE = re.compile(r"\s*```")
HIGH, LOW = 0.6, 0.3
"""Support above HIGH is not marked; below LOW it is marked as missing."""
NOT_SAID = "The documents do not say"
NOT_SURE = "No sure answer"
"""Where passages came near, so that the documents may well say."""
CONFIDENCE = ((0.9, "almost certain"), (0.7, "likely"), (0.5, "more likely than not"), (0.0, "doubtful"))
"""Words for a calibrated probability, from the first bound that it reaches."""

PARTS = {
    "instruction": "Instruction",
    "demonstration": "Demonstrations",
    "passage": "Passages",
    "question": "Question",
}


def question(text: str, scroll: bool = False) -> Html:
    """A question, as a speech bubble; `scroll` brings it into view when it first appears."""
    return el("div", el("div", text), class_="rk-ask", data_scroll="1" if scroll else None)


def answer_text(text: str, citations: Sequence[Citation] = (), support: Sequence[Support] = (), key: str = "") -> Html:
    """An answer's text: bold, lists and code shown as such, nothing else; `[1]` as a chip; weak sentences underlined.

    `key` names the answer in the chips' events (`cite`, value `key:index of the citation`); without it chips are inert.
    """
    blocks: list[Html] = []
    for kind, group in itertools.groupby(_lines(text), key=lambda line: line.kind):
        lines = list(group)
        if kind == "code":
            blocks.append(el("pre", el("code", "\n".join(text[line.start : line.end] for line in lines))))
        elif kind != "blank":
            inner = [_sentences(text, line.start, line.end, citations, support, key) for line in lines]
            if kind == "text":
                blocks.append(el("p", *_paragraph(text, lines, inner)))
            else:
                items = [el("li", part, value=line.number or None) for part, line in zip(inner, lines, strict=True)]
                blocks.append(el(kind, *items))
    return el("div", *blocks, class_="rk-answer")


def _paragraph(text: str, lines: Sequence[_Line], inner: Sequence[Html]) -> Iterator[str | Html]:
    """Lines of one paragraph: those that a page's width had cut flow on, others keep their break."""
    for place, part in enumerate(inner):
        if place:
            flows = text[lines[place - 1].end - 1] not in ".!?:;" and not text[lines[place].start].isupper()
            yield " " if flows else el("br")
        yield part


@dataclass(frozen=True, slots=True)
class _Line:
    kind: Literal["text", "ul", "ol", "code", "blank"]
    start: int
    end: int
    number: str = ""


def _lines(text: str) -> Iterator[_Line]:
    """The lines of an answer with their kinds; offsets without the list mark and the line end."""
    fenced = False
    at = 0
    for line in text.splitlines(keepends=True):
        start, at = at, at + len(line)
        end = start + len(line.rstrip())
        item = _ITEM.match(line)
        if _FENCE.match(line):
            fenced = not fenced
            yield _Line("blank", start, start)
        elif fenced:
            yield _Line("code", start, end)
        elif item:
            yield _Line("ol" if item["number"] else "ul", start + item.end(), end, item["number"] or "")
        else:
            yield _Line("text" if line.strip() else "blank", start, end)


def _sentences(text: str, start: int, end: int, citations: Sequence[Citation], support: Sequence[Support],
               key: str) -> Html:  # fmt: skip
    """Characters start to end, cut where the judged sentences begin and end."""
    parts: list[Html] = []
    at = start
    for judged in sorted(support, key=lambda item: item.start):
        first, last = max(judged.start, at), min(judged.end, end)
        if first >= last:
            continue
        parts.append(_inline(text[at:first], citations, None, key))
        inner = _inline(text[first:last], citations, judged, key)
        level = "high" if judged.score >= HIGH else "mid" if judged.score >= LOW else "low"
        told = f"{judged.score:.0%} of this sentence's content words are in the passages"
        parts.append(el("span", inner, class_=f"rk-s-{level}" + (" rk-s" if level != "high" else ""), title=told))
        at = last
    parts.append(_inline(text[at:end], citations, None, key))
    return join(parts)


def _inline(text: str, citations: Sequence[Citation], judged: Support | None, key: str) -> Html:
    parts: list[str | Html] = []
    at = 0
    for found in _INLINE.finditer(text):
        parts.append(text[at : found.start()])
        if found["bold"]:
            parts.append(el("strong", found["bold"]))
        elif found["code"]:
            parts.append(el("code", found["code"]))
        else:
            parts += [_cite(int(mark), citations, judged, key) for mark in re.findall(r"\d+", found["cite"])]
        at = found.end()
    return join([*parts, text[at:]])


def _cite(mark: int, citations: Sequence[Citation], judged: Support | None, key: str) -> Html:
    """A citation's chip in the text; a mark that points at no passage stays plain text."""
    index = next((place for place, citation in enumerate(citations) if citation.number == mark), None)
    if index is None or not key:
        return el("span", str(mark), class_="rk-cite") if not citations else Html(f"[{mark}]")
    cited = citations[index]
    told = f"{cited.document}, {page_name(cited.page, cited.page_label)}: {cited.quote}"
    return button(str(mark), "cite", f"{key}:{index}", "rk-cite", title=told, aria_label=f"Open source {mark}: {told}")


def page_name(page: int, label: str) -> str:
    """`p. 3`, with the document's own label where it differs."""
    if not label or label == str(page):
        return f"p. {page}"
    return f"p. {label}" if len(label) <= 5 else label


def sources(answer: Answer, key: str) -> Html:
    """One chip a cited passage, which opens it; the nearest passages where the answer names none."""
    seen: dict[int, int] = {}
    for index, citation in enumerate(answer.citations):
        seen.setdefault(citation.number, index)
    if seen:
        cited = [answer.citations[index] for _, index in sorted(seen.items())]
        shown = [
            _chip(one.number, "cite", f"{key}:{seen[one.number]}", one.document, page_name(one.page, one.page_label),
                  one.quote)
            for one in cited
        ]  # fmt: skip
        guessed = all(one.inferred for one in cited)
        label = "Found by its words, not named by the answer" if guessed else ""
        return _chips(shown, label)
    hits = answer.prompt.hits if answer.prompt else answer.hits
    shown = [
        _chip(mark, "hit", f"{key}:{hit.chunk}", hit.document, page_name(hit.page, hit.page_label), hit.text)
        for mark, hit in enumerate(hits[:3], start=1)
    ]
    return _chips(shown, "The answer names no passage. The nearest are" if shown else "")


def closest(answer: Answer, key: str) -> Html | None:
    """What stands in the documents nearest to a question that got no answer; each opens its page (event `close`)."""
    if not answer.closest:
        return None
    lines = [
        el("li", el("span", f"“{_plain(each.quote)}” "),
           _chip(each.number, "close", f"{key}:{place}", each.document, page_name(each.page, each.page_label),
                 each.quote))
        for place, each in enumerate(answer.closest)
    ]  # fmt: skip
    head = el("div", "Nearest in the documents", class_="rk-muted rk-small rk-chips-label")
    return el("div", head, el("ul", *lines, class_="rk-closest"))


def _plain(quote: str) -> str:
    """A sentence without the marks that a list or a heading in Markdown has, on one line."""
    return " ".join(_MARKDOWN.sub("", quote).split())


def _chips(shown: Sequence[Html], label: str) -> Html:
    told = el("div", label, class_="rk-muted rk-small rk-chips-label") if label else None
    return el("div", told, el("div", *shown, class_="rk-chips")) if shown else Html("")


def _chip(mark: int, event: str, value: str, document: str, page: str, quote: str) -> Html:
    label = join([el("span", str(mark), class_="rk-n"), el("span", document, class_="rk-name"),
                  el("span", page, class_="rk-muted")])  # fmt: skip
    return button(label, event, value, "rk-chip", title=quote)


def confidence(read: Reading) -> str:
    """How sure a reader is, in words and as a number."""
    words = next(word for bound, word in CONFIDENCE if read.confidence >= bound)
    return f"{words}, {read.confidence:.0%}"


def reading(read: Reading, hit: Hit, key: str) -> Html:
    """What a reader quotes, how sure it is, and a chip that opens the page with just that marked.

    The chip's event is `read`, its value `key:`. `hit` is the passage that the reading is from.
    """
    told = "Estimated on held-out questions: the share of quotations with such a score that answer the question"
    if not read.answered:
        said = f"The reader is not sure. Its best guess ({confidence(read)}): “{read.text}”"
        return el("p", said, class_="rk-muted rk-small", title=told)
    head = el("div", icon("format_quote"), el("span", "Quoted from the documents"),
              el("span", confidence(read), class_="rk-badge rk-info", title=told), class_="rk-read-head")  # fmt: skip
    chip = _chip(read.passage + 1, "read", f"{key}:", hit.document, page_name(hit.page, hit.page_label), read.text)
    return el("div", head, el("blockquote", read.text), el("div", chip, class_="rk-chips"), class_="rk-read")


def reading_of(answer: Answer, key: str) -> Html | None:
    """What the reader quoted beside an answer; None without a reader, or where the answer is its quotation."""
    read = answer.reading
    if read is None or (answer.generation and answer.generation.reading) or answer.withheld:
        return None
    return reading(read, answer.hits[read.passage], key)


def facts(answer: Answer, key: str, detail: str = "detail") -> Html:
    """One line below an answer: how it was made, and the way to everything that led to it."""
    parts = [button(count(len(answer.hits), "passage"), detail, f"{key}:passages")] if answer.hits else []
    if answer.prompt is not None:
        parts.append(button("Prompt", detail, f"{key}:prompt"))
    parts.append(button("Numbers", detail, f"{key}:numbers"))
    if answer.supported is not None:
        parts.append(el("span", f"{answer.supported:.0%} supported",
                        title="How much of the answer's content words the passages carry"))  # fmt: skip
    if answer.generation is not None:
        made = answer.generation
        parts.append(el("span", f"{number(made.tokens)} tokens in {seconds(made.seconds)}"))
        if made.finish != "stop":
            told = {"length": "cut at the longest answer", "cancelled": "stopped by you"}[made.finish]
            parts.append(el("span", told, class_="rk-badge rk-warn"))
    parts.append(el("span", answer.variant.template))
    return el("div", *parts, class_="rk-facts")


def abstention(answer: Answer, threshold: float) -> Html:
    """The designed state of an answer that was not given."""
    nearest = answer.nearest
    said = el("p", answer.text) if answer.text.strip(" .") not in ("", NOT_SAID) else None
    if answer.withheld == "nothing read" and answer.reading is not None:
        near = f"{count(len(answer.hits), 'passage')} came near the question"
        told = f"{near}, and the reader finds no answer in them; its best guess is {confidence(answer.reading)}."
        head = NOT_SURE if answer.closest else NOT_SAID
        return el("div", el("h4", head), said, el("p", told, class_="rk-muted"), class_="rk-abstain")
    if nearest is None or nearest >= threshold:
        return el("div", el("h4", NOT_SURE if answer.closest else NOT_SAID), said, class_="rk-abstain")
    scale = el(
        "div",
        el("span", class_="rk-scale-fill", style=f"width:{max(nearest, 0) * 100:.1f}%"),
        el("span", class_="rk-scale-mark", style=f"left:{threshold * 100:.1f}%"),
        class_="rk-scale", role="img",
        aria_label=f"Nearest passage {nearest:.2f}, needed {threshold:.2f}",
    )  # fmt: skip
    told = f"The nearest passage scores {nearest:.2f}; an answer needs {threshold:.2f} (cosine to the question)."
    return el("div", el("h4", NOT_SAID), said, scale, el("small", told, class_="rk-muted"),
              class_="rk-abstain")  # fmt: skip


def anyway(answer: Answer, key: str) -> Html | None:
    """The way on where a tuned model or a reader declined, though passages are near: the plain model, on the same ones.

    Also where it declined and the reader's quotation stands in for it.

    The button's event is `anyway`, its value `key`. None where no tuned part declined.
    """
    tuned = answer.generation is not None and answer.variant.adapter
    if not (answer.abstained or answer.quoted) or not answer.hits or not (tuned or answer.withheld == "nothing read"):
        return None
    told = "Asks the language model without its adapter, in whole sentences: more to read, and more often wrong"
    return el("p", button(join([icon("notes"), "Answer at length anyway"]), "anyway", key, title=told),
              class_="rk-small")  # fmt: skip


def stand_in(answer: Answer) -> Html | None:
    """A line below or above a quotation that stands in for an answer; None where the model answered."""
    if not answer.quoted:
        return None
    return el("p", "The language model found no answer; this is what the reader quotes.",
              class_="rk-muted rk-small")  # fmt: skip


def passages(
    hits: Sequence[Hit], key: str = "", dropped: Sequence[Hit] = (), cited: frozenset[int] = frozenset()
) -> Html:
    """Passages with their scores, best first; then those that did not fit."""
    shown = [_passage(hit, place, key, cited) for place, hit in enumerate(hits, start=1)]
    if dropped:
        shown.append(el("p", icon("content_cut"), f" {count(len(dropped), 'passage')} did not fit the model's context:",
                        class_="rk-muted rk-small"))  # fmt: skip
        shown += [_passage(hit, 0, key, cited) for hit in dropped]
    return el("div", *shown)


def _passage(hit: Hit, place: int, key: str, cited: frozenset[int]) -> Html:
    name = f"{hit.document}, {page_name(hit.page, hit.page_label)}"
    similarity = "" if hit.similarity is None else f", cosine {hit.similarity:.2f}"
    top = el(
        "div",
        el("span", str(place) if place else "–", class_="rk-n"),
        button(name, "hit", f"{key}:{hit.chunk}") if key else el("strong", name),
        el("span", f"score {hit.score:.4g}{similarity}", class_="rk-muted"),
        el("span", "cited", class_="rk-badge rk-good") if place in cited else None,
        el("span", "dropped", class_="rk-badge rk-warn") if not place else None,
        class_="rk-top",
    )
    path = el("div", " › ".join(hit.headings), class_="rk-muted rk-small") if hit.headings else None
    return el("div", top, path, el("div", hit.text, class_="rk-quote"),
              class_="rk-passage" if place else "rk-passage rk-gone")  # fmt: skip


def legend(prompt: Prompt) -> Html:
    """Which colour means what, for the parts that the prompt has."""
    there = {segment.kind for message in prompt.messages for segment in message.segments if segment.text.strip()}
    return el("div", *(el("span", label, class_=f"rk-p-{kind}") for kind, label in PARTS.items() if kind in there),
              class_="rk-legend")  # fmt: skip


def prompt_text(prompt: Prompt) -> Html:
    """The prompt with its parts coloured."""
    parts: list[Html] = []
    for message in prompt.messages:
        if prompt.chat:
            parts.append(el("span", message.role, class_="rk-role"))
        parts += [el("span", segment.text, class_=f"rk-p-{segment.kind}", title=PARTS[segment.kind])
                  for segment in message.segments]  # fmt: skip
    return el("div", *parts, class_="rk-prompt", tabindex="0", role="region", aria_label="The prompt")


def numbers(answer: Answer) -> Html:
    """Token counts, timings and settings of an answer."""
    rows: list[tuple[str, str]] = [("Search", seconds(answer.seconds_retrieval))]
    if answer.nearest is not None:
        rows.append(("Nearest passage", f"{answer.nearest:.2f}"))
    if answer.supported is not None:
        rows.append(("Supported", f"{answer.supported:.0%}"))
    if answer.reading is not None:
        rows.append(("Reader", f"{answer.reading.confidence:.0%} sure"))
    if made := answer.generation:
        after = made.seconds - made.seconds_to_first
        rows += [
            ("Prompt", f"{number(made.prompt_tokens)} tokens"),
            ("Answer", f"{number(made.tokens)} tokens"),
            ("First token", seconds(made.seconds_to_first)),
            ("Whole answer", seconds(made.seconds)),
            ("Speed", f"{(made.tokens - 1) / after:.0f} tokens/s" if after > 0 and made.tokens > 1 else "–"),
        ]
    variant = answer.variant
    rows += [("Template", variant.template), ("Model", variant.model), ("Engine", variant.engine)]
    if variant.adapter:
        rows.append(("Adapter", variant.adapter))
    if answer.prompt and answer.prompt.demonstrations:
        rows.append(("Demonstrations", f"{len(answer.prompt.demonstrations)}, {variant.selector}"))
    decoding = variant.decoding
    rows.append(("Temperature", f"{decoding.temperature:g}"))
    rows.append(("Seed", str(decoding.seed)))
    cells = (el("div", el("div", name, class_="rk-t"), el("div", value, class_="rk-v")) for name, value in rows)
    return el("div", *cells, class_="rk-numbers")


def difference(before: Prompt, after: Prompt) -> Html:
    """What two prompts say differently: a unified diff by lines."""
    lines = list(difflib.unified_diff(before.text.splitlines(), after.text.splitlines(), lineterm="", n=2))[2:]
    kinds = {"+": "rk-add", "-": "rk-del", "@": "rk-hunk"}
    if not lines:
        return el("p", "Both prompts are the same.", class_="rk-muted")
    return el("div", *(el("div", line if line[0] != "@" else "···", class_=kinds.get(line[0])) for line in lines),
              class_="rk-diff", tabindex="0", role="region", aria_label="Differences between the prompts")  # fmt: skip
