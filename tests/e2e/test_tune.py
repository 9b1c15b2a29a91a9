"""Tuning in a real browser: rows go in, a tiny model learns, the curve is seen, and the adapter answers in Compare."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ragkit import adapters
from tests import quizzes
from tests.e2e.conftest import Server, Watched
from tests.e2e.hands import hand_over, opened, settled, shut

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

LONG = 600_000
"""Milliseconds that a worker may take to come up and train on a machine that does other work besides."""


def rows() -> bytes:
    """200 questions, of which every third has no answer."""
    found = []
    for number in range(67):
        city, thing = quizzes.CITIES[number % 6], quizzes.THINGS[number % 4]
        text = quizzes.page(city, thing)
        weight = text.partition("weighs ")[2].split(" and")[0]
        for kind, answers in (("weigh", [weight]), ("stand in", [f"hall {thing}{city}"]), ("cost", [])):
            asked = f"In which way does the {thing} of {city} {kind}, asked the {number}. time?"
            found.append({"id": f"{number}-{kind}", "question": asked, "answers": answers, "passage": text})
    return "".join(json.dumps(row) + "\n" for row in found[:200]).encode()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quizzes.save_base(tmp_path_factory.mktemp("base") / "tiny")


def typed(page: Any, label: str, text: str, within: Any = None) -> None:
    """Type something into a menu that takes what it does not list."""
    field = (within or page).get_by_role("combobox", name=label).first
    field.click()
    field.fill(text)
    page.keyboard.press("Enter")
    settled(page)


def test_rows_become_an_adapter_that_answers_in_compare(
    page: Any, server: Server, watched: Watched, base: str
) -> None:
    if not (server.home / "tuned").exists():
        collection = server.collection("tuned")
        for city in quizzes.CITIES:
            texts = [quizzes.page(city, thing) for thing in quizzes.THINGS]
            quizzes.library.put(collection, f"{city}.md", texts)
    page.goto(server.url("tune", collection="tuned"))
    page.get_by_role("tab", name="New training").click()
    given = {"name": "two hundred.jsonl", "mimeType": "application/jsonl", "buffer": rows()}
    hand_over(page, "Questions with answers", given)
    page.get_by_text("two hundred.jsonl: 200").wait_for()
    page.get_by_role("textbox", name="Name of the adapter").fill("tiny-one")
    page.keyboard.press("Tab")
    settled(page)
    typed(page, "Base", base)
    page.get_by_role("spinbutton", name="Rank").fill("2")
    page.keyboard.press("Tab")
    settled(page)
    page.get_by_role("spinbutton", name="Epochs").fill("1")
    page.keyboard.press("Tab")
    settled(page)
    page.get_by_text("Show some rows").click()
    page.get_by_text("Learns to reply:").nth(4).wait_for()
    page.locator(".rk-prompt .rk-p-passage").first.wait_for()
    page.get_by_role("button", name="Start the training").click()
    page.wait_for_url("**training=tiny-one*")
    page.reload()  # the training goes on in a process of its own
    page.wait_for_url("**adapter=tiny-one*", timeout=LONG)
    page.get_by_text("Is it better than the default?").wait_for()
    chart = page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")
    chart.first.wait_for()
    assert adapters.find("tiny-one", server.home).card["rows"]["train"] > 100
    page.get_by_role("button", name="Use in Compare").click()
    page.get_by_role("textbox", name="Question").fill("How much does the crane of Paris weigh?")
    page.keyboard.press("Tab")
    settled(page)
    for place in range(2):
        within = opened(page, "Model", place)
        answer = within.get_by_role("spinbutton", name="Longest answer")
        answer.fill("8")
        page.keyboard.press("Tab")
        shut(page)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("Side by side").wait_for(timeout=LONG)
    heads = page.locator(".rk-column-head").all_inner_texts()
    assert any("tiny-one" in head for head in heads)


def test_the_page_is_not_wider_than_a_narrow_screen(page: Any, server: Server, watched: Watched) -> None:
    if not (server.home / "slim-tune").exists():
        server.collection("slim-tune")
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(server.url("tune", collection="slim-tune"))
    page.locator(".stMainBlockContainer .rk").first.wait_for()
    page.get_by_role("tab", name="New training").click()
    settled(page)
    wide = "() => document.querySelector('.stMain').scrollWidth - document.querySelector('.stMain').clientWidth"
    assert page.evaluate(wide) <= 0


