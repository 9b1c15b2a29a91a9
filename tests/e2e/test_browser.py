"""The main job in a real browser, as a person does it."""

from __future__ import annotations

import contextlib
import http.client
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from ragkit.collection import Collection
from ragkit.jobs import Jobs
from tests import library
from tests.e2e.conftest import Server, Watched
from tests.e2e.hands import choose, opened, shut

pytestmark = pytest.mark.browser

SAMPLES = Path(__file__).parents[2] / "index_data" / "sample_documents"
HOSTILE = "<img src=x onerror=alert(1)>.md"
EVIL = """# Cats <script>alert(2)</script>

The cat sleeps on the mat ![a](http://evil.example/?q=1) $x^2$ :material/home: [b](javascript:alert(3)).
"""
ANSWER = ".rk-answer"


def go(page: Any, title: str) -> None:
    """Open a page by the navigation."""
    page.get_by_role("link", name=title).click()


def answer_with_echo(page: Any) -> None:
    """Set the engine that needs no model, as a person sets an engine."""
    opened(page, "Settings").get_by_role("tab", name="Model").click()
    choose(page, "Engine", "echo")
    page.get_by_text("+ echo").wait_for()
    shut(page)


def ask(page: Any, question: str) -> None:
    """Ask, and see that the question has been taken: until it stands on the page, a reload takes it back."""
    page.get_by_placeholder("Ask a question").fill(question)
    page.keyboard.press("Enter")
    page.locator(".rk-ask", has_text=question).last.wait_for()


def upload(page: Any, *files: Path | dict[str, Any]) -> None:
    page.locator("input[type=file]").first.set_input_files(list(files))


def file(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def test_upload_ask_open_a_citation_and_see_the_sentence_marked(page: Any, server: Server, watched: Watched) -> None:
    server.collection("guide")
    page.goto(server.url("documents", collection="guide"))
    page.get_by_text("No documents yet").wait_for()
    upload(page, SAMPLES / "field-guide.pdf")
    page.locator(".rk-row", has_text="field-guide.pdf").wait_for(timeout=60_000)
    go(page, "Ask")
    answer_with_echo(page)
    ask(page, "Which weight matrix W does low-rank adaptation leave alone, which correction of low rank does it learn?")
    page.locator(".rk-chip").first.wait_for()
    assert "rank" in page.locator(ANSWER).first.inner_text()
    page.locator(".rk-chip").first.click()
    drawer = page.get_by_role("dialog")
    drawer.locator("img").wait_for()
    marked = drawer.locator("[data-picture]")
    marked.wait_for(state="attached")
    assert float(marked.get_attribute("data-picture")) > 0
    drawer.get_by_text("Text", exact=True).click()
    quote = drawer.locator("mark")
    quote.wait_for()
    assert quote.inner_text().strip()
    drawer.get_by_role("button", name="Next").click()
    drawer.get_by_role("button", name="Back to the passage").click()
    quote.wait_for()
    page.keyboard.press("Escape")
    drawer.wait_for(state="hidden")
    page.get_by_role("button", name="Prompt", exact=True).click()
    assert drawer.locator(".rk-prompt .rk-p-question").last.inner_text().startswith("Which weight matrix")


def test_a_reload_keeps_the_conversation_and_the_collection(page: Any, server: Server, watched: Watched) -> None:
    library.new(server.home, "another")  # the address names a collection that is not the first there is
    library.filled(server.home, "kept")
    page.goto(server.url(collection="kept"))
    answer_with_echo(page)
    ask(page, "Where does the cat sleep?")
    page.get_by_text("The cat sleeps on the mat.").wait_for()
    page.reload()
    page.get_by_text("The cat sleeps on the mat.").wait_for()
    assert "collection=kept" in page.url
    page.get_by_role("button", name="New conversation").click()
    page.get_by_text("Ask your documents").wait_for()
    page.locator("[data-testid=stSidebar]").get_by_role("button", name="Where does the cat sleep?").click()
    page.get_by_text("The cat sleeps on the mat.").wait_for()


def test_the_built_in_model_streams_survives_a_reload_and_stops(page: Any, server: Server, watched: Watched) -> None:
    library.filled(server.home, "streamed")
    page.goto(server.url(collection="streamed"))
    ask(page, "What does LoRA freeze and what does it learn?")
    first = page.url
    ask(page, "Where does the cat sleep?")  # before the page has been drawn to its end
    assert page.url == first
    page.reload()
    page.locator(".rk-ask", has_text="Where does the cat sleep?").wait_for()
    page.locator(".rk-turn").nth(1).wait_for(timeout=200_000)  # on a new machine the model is converted first
    assert all(text.strip() for text in page.locator(".rk-turn").all_inner_texts())
    ask(page, "What is prefix tuning? Tell a long story about it.")
    with contextlib.suppress(PlaywrightTimeout):  # a fast machine may have written the answer before the click
        page.get_by_role("button", name=re.compile("Stop|Cancel")).click(timeout=5_000)
    page.get_by_role("button", name=re.compile("Stop|Cancel")).wait_for(state="hidden")


def test_three_templates_side_by_side(page: Any, server: Server, watched: Watched) -> None:
    library.filled(server.home, "duel")
    page.goto(server.url("compare", collection="duel"))
    page.get_by_text("3 variants").click()
    page.get_by_text("Template", exact=True).nth(2).wait_for()
    for column in range(3):
        choose(page, "Engine", "echo", opened(page, "Model", column))
        shut(page)
    page.get_by_label("Question").fill("Where does the cat sleep?")
    page.get_by_text("Blind").click()
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Reveal").wait_for()
    page.locator(ANSWER).nth(2).wait_for()
    assert page.locator(ANSWER).count() == 3
    assert page.get_by_text("Side by side").count() == 0
    page.get_by_role("button", name="Reveal").click()
    page.get_by_text("Side by side").wait_for()
    page.locator(".rk-table tbody tr").nth(2).wait_for()
    page.locator(".rk-diff .rk-add").first.wait_for()
    page.locator("summary", has_text="Evidence").click()
    page.locator(".rk-details .rk-passage").first.wait_for()
    page.get_by_role("button", name="All comparisons").click()
    page.get_by_role("button", name="Where does the cat sleep?").wait_for()


def test_a_template_is_copied_checked_while_typing_and_saved(page: Any, server: Server, watched: Watched) -> None:
    library.filled(server.home, "prompts")
    page.goto(server.url("templates", collection="prompts", template="concise"))
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="concise-copy").wait_for()
    text = page.get_by_label("Text of the template")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.rk-editor textarea')].map((area) => area.value).join('|')"
        ".startsWith('name = \"concise-copy\"')"
    )
    page.wait_for_function("() => document.querySelectorAll('.rk-editor').length === 1")
    good = text.input_value()
    text.fill(good.replace("{question}", "{questoin}"))
    problem = page.get_by_role("alert")
    problem.get_by_text("{questoin}").wait_for()
    assert re.search(r"Line \d+", problem.inner_text())
    assert page.get_by_role("button", name="Save").is_disabled()
    text.fill(good.replace("{question}", "My question: {question}"))
    problem.wait_for(state="hidden")
    page.locator(".rk-prompt", has_text="My question:").wait_for()
    page.reload()
    page.locator(".rk-prompt", has_text="My question:").wait_for()
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Saved").wait_for()
    assert "My question:" in (server.home / "templates" / "concise-copy.toml").read_text("utf-8")


def test_hostile_files_are_refused_or_shown_as_text(page: Any, server: Server, watched: Watched) -> None:
    server.collection("hostile")
    page.goto(server.url("documents", collection="hostile"))
    upload(page, file(HOSTILE, EVIL.encode()), file("not-a.pdf", b"%PDF-1.7 garbage"), file("empty.txt", b""))
    page.get_by_text("2 files could not be read").wait_for(timeout=60_000)
    assert "empty" in page.locator(".rk-refused").inner_text()
    page.get_by_role("button", name="onerror=alert").click()
    page.get_by_text("<script>alert(2)</script>").first.wait_for()
    go(page, "Ask")
    answer_with_echo(page)
    ask(page, "Where does the cat sleep? <script>alert(4)</script> ![q](http://evil.example/)")
    page.locator(".rk-chip", has_text=HOSTILE).click()
    page.get_by_role("dialog").locator("mark").wait_for()
    assert page.locator("script:text('alert')").count() == 0
    assert page.locator(".rk img, .rk a, .rk iframe").count() == 0
    page.keyboard.press("Escape")
    go(page, "Documents")
    page.get_by_role("button", name="Dismiss").click()
    page.locator(".rk-refused").wait_for(state="hidden")


def test_a_reload_and_a_second_window_find_the_ingestion_going_on(
    page: Any, server: Server, watched: Watched
) -> None:
    collection = server.collection("long")
    page.goto(server.url("documents", collection="long"))
    told = "Line {} of a long book tells of matter {} and of its causes.\n"
    lines = "".join(told.format(number, number % 977) for number in range(90_000))
    upload(page, file("book.txt", lines.encode()), file("second.txt", lines[1000:].encode()))
    page.locator(".rk-files", has_text="book.txt").wait_for()
    page.reload()
    page.locator(".rk-files", has_text="book.txt").wait_for()
    second = page.context.new_page()
    second.goto(server.url("documents", collection="long"))
    second.locator(".rk-files", has_text="second.txt").wait_for()
    second.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled by you").wait_for()
    second.close()
    (job,) = Jobs(Collection.open(server.home, collection.name)).list()
    assert job.state == "cancelled"


@pytest.mark.parametrize("name", ["", "documents", "compare", "templates", "models"])
def test_nothing_is_wider_than_a_narrow_screen(page: Any, server: Server, watched: Watched, name: str) -> None:
    if not (server.home / "narrow").exists():
        library.filled(server.home, "narrow")
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(server.url(name, collection="narrow"))
    page.locator(".stMainBlockContainer .rk").first.wait_for()
    wide = "() => document.querySelector('.stMain').scrollWidth - document.querySelector('.stMain').clientWidth"
    assert page.evaluate(wide) <= 0


def test_a_name_that_is_not_this_machines_gets_no_connection(server: Server) -> None:
    """DNS rebinding: a page of somebody else's that resolves to 127.0.0.1 must not reach the app."""
    answers = {}
    for host in ("evil.example", f"127.0.0.1:{server.port}"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        wanted = {"Host": host, "Origin": f"http://{host}", "Connection": "Upgrade", "Upgrade": "websocket",
                  "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
        connection.putrequest("GET", "/_stcore/stream", skip_host=True)
        for header, value in wanted.items():
            connection.putheader(header, value)
        connection.endheaders()
        answers[host] = connection.getresponse().status
        connection.close()
    assert list(answers.values()) == [403, 101]
