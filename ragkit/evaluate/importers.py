"""Reads evaluation sets: JSON lines, CSV, SQuAD JSON (v1.1 and v2.0) and BEIR folders; and answers made elsewhere.

What a file is, is found by its content; its ending says nothing. Whatever is wrong is said with its line.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ragkit.sets import SetError, question_id
from ragkit.types import Gold, Question

LARGEST = 512 * 1024 * 1024
"""Bytes of the largest file that is read."""
_SHAPE = 'Each line holds {"question": ..., "answers": [...]} and perhaps "id", "document", "page", "passage".'
_TRUE = frozenset({"true", "yes", "1", "x"})
_FALSE = frozenset({"false", "no", "0", ""})
_SPLITS = ("test", "dev", "validation", "train")
"""Judgements of a BEIR folder, the first that is there unless another is named."""


def read_set(path: Path, split: str = "") -> list[Question]:
    """Questions of a file or a BEIR folder, each with an id of its own.

    Args:
        path: JSON lines, CSV, SQuAD JSON, or a folder with `queries.jsonl` and `qrels/*.tsv`.
        split: which judgements of a BEIR folder; the first of test, dev, validation and train if empty.

    Raises SetError with the line or place of what is wrong.
    """
    questions = _beir(path, split) if path.is_dir() else _parsed(path, _text(path))
    if not questions:
        raise SetError(f"{path} holds no question.", _SHAPE)
    return _with_ids(path, questions)


def squad_articles(path: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Of a SQuAD file: by question id the title of its article and its answers, those that most people gave first.

    Of answers that equally many gave, the shorter one is first. Nothing for a file of another kind.
    """
    whole = None if path.is_dir() else _json(_text(path))
    if not isinstance(whole, dict) or "data" not in whole or "question" in whole:
        return {}
    found = {}
    for article in whole["data"]:
        for asked in (each for paragraph in article["paragraphs"] for each in paragraph["qas"]):
            count = Counter(str(answer["text"]) for answer in asked.get("answers", ()))
            usual = sorted(count, key=lambda text: (-count[text], len(text)))
            found[str(asked["id"])] = (str(article.get("title", "")), tuple(usual))
    return found


def read_answers(path: Path) -> dict[str, str]:
    """Answers made elsewhere by question id: JSON lines {"id", "answer"}, or a SQuAD prediction file {id: text}.

    A null or empty answer is an abstention. Raises SetError with the line that is wrong.
    """
    text = _text(path)
    whole = _json(text)
    if isinstance(whole, dict) and not _is_answer(whole):
        wrong = next((key for key, value in whole.items() if not isinstance(value, str | None)), None)
        if wrong is not None:
            raise SetError(f"The answer {wrong!r} of {path} is no text.", "A prediction file is {id: text, ...}.")
        return {str(key): value or "" for key, value in whole.items()}
    answers: dict[str, str] = {}
    records = enumerate(whole, start=1) if isinstance(whole, list) else _lines(path, text)
    for number, record in records:
        if not isinstance(record, dict) or not _is_answer(record):
            raise SetError(f"Line {number} of {path} is no answer.", 'Each line holds {"id": ..., "answer": ...}.')
        key = str(record.get("id", record.get("_id")))
        if key in answers:
            raise SetError(f"Line {number} of {path} answers {key!r} again.", "Each id has one answer.")
        answers[key] = str(record["answer"] or "")
    return answers


def _is_answer(record: Mapping[str, Any]) -> bool:
    return "answer" in record and ("id" in record or "_id" in record) and isinstance(record["answer"], str | None)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise SetError(f"{path} is larger than {LARGEST >> 20} MiB.", "Cut it into several sets.")
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SetError(f"{path} cannot be read: {error}.", "Give a UTF-8 file, or a BEIR folder.") from error


def _json(text: str) -> Any:  # noqa: ANN401 - JSON
    """The text as one JSON value; None if it is not one."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parsed(path: Path, text: str) -> list[Question]:
    whole = _json(text)
    if isinstance(whole, dict) and "data" in whole and "question" not in whole:
        return list(_squad(path, whole["data"]))
    if isinstance(whole, list):
        return [_question(path, f"Record {number}", record) for number, record in enumerate(whole, start=1)]
    if text.lstrip()[:1] == "{":
        return [_question(path, f"Line {number}", record) for number, record in _lines(path, text)]
    return list(_csv(path, text))


def _lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Line numbers and JSON values of a file of JSON lines. (Not `splitlines`: a text may hold a bare U+2028.)"""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise SetError(f"Line {number} of {path} is not JSON: {line.strip()[:60]!r}.", _SHAPE) from error


def _question(path: Path, place: str, record: Any) -> Question:  # noqa: ANN401 - JSON
    """One record of JSON lines or one row of a CSV file."""

    def wrong(what: str) -> SetError:
        return SetError(f"{place} of {path}: {what}.", _SHAPE)

    if not isinstance(record, dict):
        raise wrong("it is no object")
    asked = record.get("question")
    if not isinstance(asked, str) or not asked.strip():
        raise wrong("it has no question")
    answers = _answers(record, wrong)
    gold = _gold(record, wrong)
    given = record.get("id", record.get("_id"))
    passage = record.get("passage") or ""
    if not isinstance(passage, str):
        raise wrong("its passage is no text")
    return Question(
        id="" if given is None else str(given),
        question=asked.strip(),
        answers=answers or (),
        gold=gold,
        passage=passage,
        judged=answers is not None,
    )


def _answers(record: Mapping[str, Any], wrong: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - makes the error
    """Gold answers: none at all for an unanswerable question, None where the record does not say."""
    refused = record.get("unanswerable", record.get("is_impossible", False))
    if isinstance(refused, str):
        if refused.strip().lower() not in _TRUE | _FALSE:
            raise wrong(f"'unanswerable' is {refused!r}, neither true nor false")
        refused = refused.strip().lower() in _TRUE
    found = record.get("answers", record.get("answer"))
    if isinstance(found, dict):  # the layout of data set libraries: {"text": [...], "answer_start": [...]}
        found = found.get("text", [])
    if isinstance(found, str | int | float) and not isinstance(found, bool):
        found = [found] if str(found).strip() else []
    if found is not None and not isinstance(found, list):
        raise wrong("its answers are no list of texts")
    texts = []
    for each in found or ():
        text = each.get("text") if isinstance(each, dict) else each
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise wrong("its answers are no list of texts")
        texts.append(str(text))
    texts = [text for text in dict.fromkeys(texts) if text.strip()]
    if refused and texts:
        raise wrong("it is marked unanswerable and has an answer")
    return tuple(texts) if refused or found is not None else None


def _gold(record: Mapping[str, Any], wrong: Any) -> tuple[Gold, ...]:  # noqa: ANN401 - makes the error
    """Gold pages: a list `gold`, or one page by `document`, `page` and `label`."""
    listed = record.get("gold")
    if listed is None:
        listed = [record] if any(record.get(key) not in (None, "") for key in ("document", "page", "label")) else []
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise wrong("its gold is no list of pages")
    pages = []
    for each in listed:
        page, label = each.get("page"), str(each.get("label") or "")
        if isinstance(page, str) and page.strip():
            try:
                page = int(page)
            except ValueError:
                page, label = None, page.strip()  # a page's own name: "iv", "Sheet1", a record's id
        elif page in ("", None):
            page = None
        elif isinstance(page, bool) or not isinstance(page, int):
            raise wrong(f"its page is {page!r}")
        try:
            gain = float(each.get("gain", 1.0))
        except (TypeError, ValueError):
            raise wrong(f"the gain of a page is {each.get('gain')!r}") from None
        pages.append(Gold(str(each.get("document") or ""), page, label, gain))
    return tuple(pages)


def _csv(path: Path, text: str) -> Iterator[Question]:
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        if "question" not in names:
            hint = 'It is read as CSV: the first line names the columns, "question" and "answer" among them.'
            raise SetError(f"{path} has no column 'question': its first line is {head[:60]!r}.", hint)
        reader.fieldnames = names
        for row in reader:
            place = f"Line {reader.line_num}"
            if None in row:
                raise SetError(f"{place} of {path} has more cells than the first line.", "Put quotes around texts.")
            if any(value and value.strip() for value in row.values()):
                yield _question(path, place, _row(path, place, row))
    except csv.Error as error:
        line = reader.reader.line_num  # DictReader's own count lags behind when a row cannot be read
        raise SetError(f"Line {line} of {path} is no CSV: {error}.", "Check its quotes.") from error


def _row(path: Path, place: str, row: Mapping[str, str | None]) -> dict[str, Any]:
    """A CSV row as a record: several answers stand in `answers`, as a JSON list or with | between them."""
    record: dict[str, Any] = {key: value for key, value in row.items() if value is not None}
    cell = (record.pop("answers", "") or "").strip()
    single = (record.pop("answer", "") or "").strip()
    if cell.startswith("["):
        try:
            record["answers"] = json.loads(cell)
        except ValueError as error:
            raise SetError(f"{place} of {path}: its answers are no JSON list.", "Or write them as a|b|c.") from error
    else:
        record["answers"] = [part.strip() for part in cell.split("|") if part.strip()]
    if isinstance(record["answers"], list) and single:
        record["answers"].insert(0, single)
    if not {"answer", "answers", "unanswerable", "is_impossible"} & set(row):
        del record["answers"]  # nothing is said about answers: a retrieval set
    record["id"] = record.get("id") or None
    return record


def _squad(path: Path, articles: Any) -> Iterator[Question]:  # noqa: ANN401 - JSON
    """SQuAD (Rajpurkar et al. 2016, 2018): the paragraph is the passage that holds the answer."""
    place = "the top"
    try:
        for a, article in enumerate(articles):
            for p, paragraph in enumerate(article["paragraphs"]):
                for q, asked in enumerate(paragraph["qas"]):
                    place = f"data[{a}].paragraphs[{p}].qas[{q}]"
                    refused = bool(asked.get("is_impossible", False))
                    texts = [] if refused else [str(answer["text"]) for answer in asked["answers"]]
                    yield Question(
                        id=str(asked["id"]),
                        question=str(asked["question"]).strip(),
                        answers=tuple(dict.fromkeys(text for text in texts if text.strip())),
                        passage=str(paragraph["context"]),
                    )
    except (KeyError, TypeError, AttributeError) as error:
        what = f"{path} is no SQuAD file: at {place} there is no {error}."
        raise SetError(what, "It holds data, paragraphs, context, qas, id, question, answers, text.") from error


def _beir(folder: Path, split: str) -> list[Question]:
    """A BEIR folder (Thakur et al. 2021): corpus ids are the pages' labels. Only queries with a judgement count."""
    there = {file.stem: file for file in sorted(folder.glob("qrels/*.tsv"))}
    chosen = split or next((name for name in _SPLITS if name in there), next(iter(there), ""))
    if chosen not in there or not (folder / "queries.jsonl").is_file():
        known = f"There are: {', '.join(there)}." if there else "It holds queries.jsonl and qrels/test.tsv."
        raise SetError(f"{folder} is no BEIR folder with judgements {chosen or 'of any name'!r}.", known)
    gold = _qrels(there[chosen])
    path = folder / "queries.jsonl"
    questions = []
    for number, record in _lines(path, _text(path)):
        try:
            key, text = str(record["_id"]), str(record["text"])
        except (KeyError, TypeError) as error:
            raise SetError(f"Line {number} of {path} is no query.", 'It holds {"_id", "text"}.') from error
        if gold.get(key):
            questions.append(Question(key, text.strip(), (), tuple(gold[key]), judged=False))
    return questions


def _qrels(path: Path) -> dict[str, list[Gold]]:
    """Judgements by query: three columns (BEIR) or four (TREC), a grade of 0 or less is not relevant."""
    found: dict[str, list[Gold]] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        cells = line.split("\t") if "\t" in line else line.split()
        if not cells or (number == 1 and cells[-1].strip() == "score"):
            continue
        try:
            query, page, grade = cells[0], cells[-2], float(cells[-1])
            if len(cells) not in (3, 4):
                raise ValueError
        except (ValueError, IndexError) as error:
            hint = "It holds query-id, corpus-id, score."
            raise SetError(f"Line {number} of {path} is no judgement: {line[:60]!r}.", hint) from error
        if grade > 0:
            found.setdefault(query.strip(), []).append(Gold(label=page.strip(), gain=grade))
    return found


def _with_ids(path: Path, questions: Iterable[Question]) -> list[Question]:
    """Every question with an id; one that came without gets a hash, numbered where the same question comes again."""
    questions = list(questions)
    seen = {each.id for each in questions if each.id}
    if len(seen) < sum(bool(each.id) for each in questions):
        ids = [each.id for each in questions if each.id]
        twice = next(name for number, name in enumerate(ids) if name in ids[:number])
        raise SetError(f"{path} has the id {twice!r} twice.", "Every question has its own.")
    named = []
    for each in questions:
        key = each.id or question_id(each)
        number = 2
        while not each.id and key in seen:
            key = f"{question_id(each)}-{number}"
            number += 1
        seen.add(key)
        named.append(replace(each, id=key))
    return named
