"""The comparison lab in a real browser: a set, a run, the leaderboard, ten blind votes, the ratings, the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkit.collection import Collection
from ragkit.history import History
from ragkit.settings import RetrieveSettings
from ragkit.types import Decoding, Variant
from ragkit.votes import Votes
from ragkit.workbench import Workbench
from tests import library
from tests.e2e.conftest import Server, Watched
from tests.e2e.hands import choose, hand_over, opened, settled, shut

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=alert(1)> ![a](http://evil.example/?q=1)"
ROWS = [
    {"id": "cat", "question": "Where does the cat sleep?", "answers": ["on the mat"], "document": "cats.txt"},
    {"id": "dog", "question": "Where does a dog bark at night?", "answers": ["in the yard"], "document": "cats.txt"},
    {"id": "lora", "question": "What does LoRA freeze?", "answers": ["the pretrained weights"]},
    {"id": "cup", "question": f"Who won the cup in 1998? {EVIL}", "answers": []},
]
LENGTHS = {"cite": 200, "concise": 12, "quote": 9, "strict": 8}
ASKED = ["What does LoRA freeze and learn?", "When can the low-rank update be merged, what does inference cost?"]


def saved(page: Any, name: str, folder: Path) -> Path:
    """Click a download and return what came."""
    with page.expect_download() as coming:
        page.get_by_role("button", name=name, exact=True).click()
    path = folder / coming.value.suggested_filename
    coming.value.save_as(path)
    return path


def test_a_set_is_imported_run_and_read(page: Any, server: Server, watched: Watched, tmp_path: Path) -> None:
    library.filled(server.home, "lab")
    page.goto(server.url("evaluate", collection="lab"))
    page.get_by_text("No evaluation set yet").last.wait_for()
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    given = {"name": "first questions.jsonl", "mimeType": "application/jsonl", "buffer": lines.encode()}
    hand_over(page, "Import questions", given)
    page.get_by_text("4 questions: 3 answerable, 1 unanswerable").wait_for()
    page.get_by_role("tab", name="New run").click()
    for place in range(2):
        choose(page, "Engine", "echo", opened(page, "Model", place))
        shut(page)
    page.get_by_text("gold passage", exact=True).click()
    page.get_by_text("16 answers").wait_for()
    page.get_by_role("button", name="Start the evaluation").click()
    page.wait_for_url("**run=*")
    page.reload()  # the run goes on in a process of its own
    page.get_by_text("Leaderboard").first.wait_for(timeout=90_000)
    rows = page.locator(".rk-table tbody tr")
    rows.nth(1).wait_for()
    settled(page)
    assert rows.count() == 2
    assert "cite" in rows.first.inner_text()
    assert page.locator(".rk-verdict").count() >= 2
    page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").nth(1).wait_for()
    page.get_by_text("unanswerable", exact=True).click()
    page.locator(".rk-gold", has_text="Who won the cup in 1998?").wait_for()
    page.get_by_text("What the model read").last.click()
    page.get_by_text("No model was asked").last.wait_for()
    page.get_by_text("all", exact=True).click()
    page.locator(".rk-gold", has_text="Who won the cup in 1998?").wait_for(state="hidden")
    settled(page)
    page.get_by_text("What the model read").last.click()
    page.locator(".rk-prompt").last.wait_for()
    assert page.locator(".rk img").count() == 0
    report = json.loads(saved(page, "JSON", tmp_path).read_text("utf-8"))
    assert [asked["id"] for asked in report["questions"]] == ["cat", "dog", "lora", "cup"]
    assert saved(page, "CSV", tmp_path).read_text("utf-8").count("cite") >= 8
    assert "<!doctype html>" in saved(page, "HTML", tmp_path).read_text("utf-8")


def compared(collection: Collection, thread: str, question: str) -> None:
    """A comparison of four variants that say differently much, each as if it had meant to end there."""
    variants = [Variant(name, engine="echo", model="", decoding=Decoding(max_tokens=most))
                for name, most in LENGTHS.items()]  # fmt: skip
    for answer in Workbench(collection).compare(question, variants, retrieve=RetrieveSettings(abstain_below=0)):
        assert answer.generation is not None
        whole = replace(answer, generation=replace(answer.generation, finish="stop"))
        History(collection).keep(whole, thread, "compare")


def vote(page: Any, votes: Votes, how: str) -> None:
    """One vote, by button or key, and wait until it is kept."""
    before = votes.count()
    page.get_by_role("button", name="Tie").wait_for()
    assert "echo" not in page.locator(".stMain").inner_text()
    page.locator(".rk-question-title").click()  # the keys go to the page, as after reading
    if len(how) == 1 or how.startswith("Arrow"):
        page.keyboard.press(how)
    else:
        page.get_by_role("button", name=how).click()
    for _ in range(100):
        if votes.count() > before:
            break
        page.wait_for_timeout(100)
    assert votes.count() == before + 1
    settled(page)


def test_ten_blind_votes_make_ratings_and_rows_for_a_trainer(
    page: Any, server: Server, watched: Watched, tmp_path: Path
) -> None:
    collection = library.filled(server.home, "votes")
    votes = Votes(collection)
    for number, question in enumerate(ASKED):
        compared(collection, f"duel{number}", question)
    page.goto(server.url("compare", collection="votes", comparison="duel0", blind="1"))
    for how in ("ArrowLeft", "ArrowRight", "t", "b", "Left is better", "Right is better"):
        vote(page, votes, how)
    page.get_by_text("Side by side").wait_for()
    assert "cite + echo" in page.locator(".stMain").inner_text()
    page.goto(server.url("compare", collection="votes", comparison="duel1", blind="1"))
    for how in ("Tie", "Both bad", "ArrowLeft", "ArrowRight"):
        vote(page, votes, how)
    cast = votes.list()
    assert [each.choice for each in cast] == ["left", "right", "tie", "bad", "left", "right", "tie", "bad", "left",
                                             "right"]  # fmt: skip
    assert all(each.blind and each.seconds is not None for each in cast)
    page.keyboard.press("u")
    for _ in range(100):
        if votes.count() == 9:
            break
        page.wait_for_timeout(100)
    assert [each.id for each in votes.list()] == [each.id for each in cast[:-1]]
    page.get_by_role("button", name="All comparisons").click()
    page.get_by_text("9 votes", exact=True).wait_for()
    page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first.wait_for()
    assert page.get_by_role("columnheader", name="95 % interval").count() == 1
    rows = [json.loads(line) for line in saved(page, "DPO rows", tmp_path).read_text("utf-8").splitlines()]
    told = {each.id: each for each in votes.list()}
    assert rows
    for row in rows:
        for number in row["votes"]:
            better, worse = told[number].preferred
            assert row["chosen"][0]["content"].strip() == better.text.strip()
            assert row["rejected"][0]["content"].strip() == worse.text.strip()
    single = [json.loads(line) for line in saved(page, "KTO rows", tmp_path).read_text("utf-8").splitlines()]
    assert {number for row in single for number in row["votes"]} == {each.id for each in cast if each.choice == "bad"}
    assert not any(row["label"] for row in single)


def test_a_thumb_up_becomes_an_example_by_one_click(page: Any, server: Server, watched: Watched) -> None:
    collection = library.filled(server.home, "thumbs")
    answer = Workbench(collection).ask("Where does the cat sleep?", Variant(engine="echo", model=""))
    History(collection).keep(answer, "talk")
    page.goto(server.url(collection="thumbs", conversation="talk"))
    page.get_by_role("button", name="Good answer").click()
    page.get_by_role("button", name="Use as an example").click()
    page.get_by_text("Added to the worked examples.").wait_for()
    assert [example.answer for example in collection.demonstrations()] == ["The cat sleeps on the mat."]


@pytest.mark.parametrize("name", ["compare", "evaluate"])
def test_the_lab_is_not_wider_than_a_narrow_screen(page: Any, server: Server, watched: Watched, name: str) -> None:
    if not (server.home / "slim").exists():
        collection = library.filled(server.home, "slim")
        compared(collection, "duel", ASKED[0])
        first, second, *_ = History(collection).answers("duel")
        Votes(collection).cast(first.id or 0, second.id or 0, "left")
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(server.url(name, collection="slim"))
    page.locator(".stMainBlockContainer .rk").first.wait_for()
    settled(page)
    wide = "() => document.querySelector('.stMain').scrollWidth - document.querySelector('.stMain').clientWidth"
    assert page.evaluate(wide) <= 0
