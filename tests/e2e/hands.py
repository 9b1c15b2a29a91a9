"""What a hand does in the browser that takes more than one look: menus, popovers, waiting for a page to be drawn."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout

TRIES = 8


def settled(page: Any) -> None:
    """Wait until the page has been drawn to its end."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()


def popover(page: Any) -> Any:
    """The popover that is open."""
    return page.locator("[data-testid=stPopoverBody]")


def opened(page: Any, name: str, place: int = 0) -> Any:
    """Open a popover by its button; one that was drawn anew under the click is clicked once more."""
    for _ in range(TRIES):
        settled(page)
        page.get_by_role("button", name=name).nth(place).click()
        with contextlib.suppress(PlaywrightTimeout):
            popover(page).last.wait_for(timeout=5000)
            return popover(page).last
    pytest.fail(f"The popover {name} did not open.")


def shut(page: Any) -> None:
    """Close the open popover; the Escape that a page being drawn did not hear is pressed once more."""
    for _ in range(TRIES):
        settled(page)
        page.keyboard.press("Escape")
        with contextlib.suppress(PlaywrightTimeout):
            popover(page).first.wait_for(state="hidden", timeout=3000)
            return
    pytest.fail("The popover did not close.")


def choose(page: Any, label: str, option: str, within: Any = None) -> None:
    """Pick an option; a menu that closes again, since its popover was still being placed, is opened once more."""
    settled(page)
    wanted = page.get_by_role("option", name=option, exact=True)
    for _ in range(TRIES):
        (within or page).get_by_label(label, exact=True).first.click()
        with contextlib.suppress(PlaywrightTimeout):
            wanted.click(timeout=5000)
            return
    pytest.fail(f"The menu {label} did not open.")


def hand_over(page: Any, label: str, *files: Any) -> None:
    """Give files to the uploader with a label, once the page stands still: one that is drawn anew forgets them."""
    settled(page)
    uploader = page.get_by_test_id("stFileUploader").filter(has_text=label)
    uploader.locator("input[type=file]").set_input_files(list(files))
