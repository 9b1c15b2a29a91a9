"""What every loader keeps, whatever it reads."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest

from ingest.cage import Cage
from ingest.catalog import LOADERS
from ingest.sniff import sniff
from ragkit.errors import LoadError
from tests.filemaker import MAKERS, SENTENCE

NAMES = LOADERS.names


@pytest.fixture(scope="module")
def cage():
    with Cage() as cage:
        yield cage


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def sample(name, tmp_path):
    path = tmp_path / f"sample{LOADERS.load(name).suffixes[0]}"
    MAKERS[name](path)
    return path


def test_it_says_which_endings_it_reads(name):
    suffixes = LOADERS.load(name).suffixes
    assert suffixes
    assert all(re.fullmatch(r"\.[a-z]+", suffix) for suffix in suffixes)


def test_no_ending_belongs_to_two(name):
    others = {suffix for other in NAMES if other != name for suffix in LOADERS.load(other).suffixes}
    assert not others & set(LOADERS.load(name).suffixes)


def test_its_files_are_recognised(name, sample):
    assert sniff(sample) == name


def test_pages_are_numbered_labelled_and_clean(name, sample):
    pages = list(LOADERS.load(name)().load(sample))
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    assert SENTENCE in " ".join(" ".join(page.text.split()) for page in pages)
    for page in pages:
        assert page.label
        for text in (page.label, page.title, page.text):
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff]", text)
            assert unicodedata.is_normalized("NFC", text)
        assert page.text == page.text.strip("\n")


def test_the_same_file_gives_the_same_pages(name, sample):
    assert list(LOADERS.load(name)().load(sample)) == list(LOADERS.load(name)().load(sample))


def test_a_file_without_text_is_refused(name, tmp_path, cage):
    path = tmp_path / f"blank{LOADERS.load(name).suffixes[0]}"
    MAKERS[name](path, "")
    with pytest.raises(LoadError, match="no text|white space only|no pages"):
        list(cage.read(path).pages)


def test_an_empty_file_is_refused(name, tmp_path, cage):
    path = tmp_path / f"empty{LOADERS.load(name).suffixes[0]}"
    path.write_bytes(b"")
    with pytest.raises(LoadError, match="empty"):
        cage.read(path)


def test_damaged_files_are_read_or_refused_in_a_sentence(name, sample, tmp_path, cage):
    """Cut short anywhere, or with bytes overwritten: never a crash of the child, never a fault of the loader's."""
    whole = sample.read_bytes()
    chance = random.Random(name)
    refusals: list[LoadError] = []
    for attempt in range(30):
        data = bytearray(whole[: chance.randrange(1, len(whole))] if attempt % 2 else whole)
        for _ in range(0 if attempt % 2 else chance.randrange(1, 30)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path = tmp_path / f"damaged{sample.suffix}"
        path.write_bytes(data)
        before = cage.pid
        try:
            list(cage.read(path).pages)
        except LoadError as error:
            refusals.append(error)
        assert before is None or cage.pid == before
    for refusal in refusals:
        assert refusal.message.endswith((".", "!"))
        assert refusal.hint
        assert "could not be read (" not in refusal.message
        assert "crashed" not in refusal.message
