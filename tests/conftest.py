"""Fixtures of the whole suite. Nothing in a test reaches further than this machine."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragkit.collection import Collection
from tests.chromium import ARGUMENTS, find
from tests.command import ROOT, ragkit

DATA = Path(os.environ.get("RAGKIT_DATA", ROOT.parent / "shared" / "data"))
LOOPBACK = re.compile(r"127\.\d+\.\d+\.\d+|::1|localhost|0\.0\.0\.0|::")

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub; worker processes inherit it
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["RAGKIT_DATA"] = str(DATA)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run; without a browser that is a failure under CI=true."""
    no_data = pytest.mark.skip(reason=f"needs the shared data (RAGKIT_DATA); there is nothing at {DATA}")
    no_browser = pytest.mark.skip(reason="needs a Chromium; name one in RAGKIT_CHROMIUM")
    browser = find() if any("browser" in item.keywords for item in items) else None
    for item in items:
        if "data" in item.keywords and not DATA.is_dir():
            item.add_marker(no_data)
        if "browser" in item.keywords and not browser and os.environ.get("CI") != "true":
            item.add_marker(no_browser)


@pytest.fixture(scope="session", autouse=True)
def _only_this_machine() -> Iterator[None]:
    """Any connection that leaves this machine fails the test that makes it."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        genuine = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any, genuine: Any = genuine) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not LOOPBACK.fullmatch(str(address[0])):
                pytest.fail(f"A test opened a connection to {address}.")
            return genuine(self, address)

        patch.setattr(socket.socket, name, guarded)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared data; tests that use it carry the mark `data`."""
    return DATA


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for collections, which is also the default one while the test runs."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("RAGKIT_HOME", str(folder))
    return folder


def write_papers(folder: Path) -> Path:
    """Two good files and one that has no text."""
    folder.mkdir()
    (folder / "lora.md").write_text("# LoRA\n\nLoRA learns two thin matrices beside each frozen weight matrix.\n")
    (folder / "gates.txt").write_text("The gate of LLaMA-Adapter starts at zero, so nothing changes at first.\n")
    (folder / "empty.pdf").write_bytes(b"")
    return folder


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """A folder with two good files and one that has no text."""
    return write_papers(tmp_path / "papers")


@pytest.fixture(scope="session")
def _filled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    papers = write_papers(folder / "papers")
    ragkit("ingest", papers / "lora.md", papers / "gates.txt", "--embedder", "hashing", home=folder / "home")
    return folder / "home"


@pytest.fixture
def filled(home: Path, _filled_once: Path) -> Path:
    """A home whose collection `sample` holds the two good files."""
    with Collection.open(_filled_once, "sample").transaction():  # nobody writes while it is copied
        shutil.copytree(_filled_once, home, dirs_exist_ok=True)
    return home


@pytest.fixture(scope="session")
def sample_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose collection `sample` is what `make app` puts there, made with the real embedder. Do not change it."""
    folder = tmp_path_factory.mktemp("sample-home")
    samples = ROOT / "index_data"
    ragkit("ingest", samples / "sample_documents", "--examples", samples / "sample_examples.jsonl", home=folder)
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser."""
    path = find()
    if path is None:
        pytest.fail("Under CI=true the browser tests must run, and there is no Chromium (see tests/chromium.py).")
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """One Chromium for the whole run."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as engine:
        running = engine.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield running
        running.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember how each phase ended, so that the page fixture knows whether to keep a picture."""
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A fresh browser window; when the test fails, a picture of it is left in the test's temporary folder."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    opened = context.new_page()
    yield opened
    report = getattr(request.node, "report_call", None)
    if report is not None and report.failed:
        picture = tmp_path / "failed.png"
        opened.screenshot(path=str(picture), full_page=True)
        report.sections.append(("Picture of the page", str(picture)))
    context.close()
