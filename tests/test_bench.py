"""The benches work at a small size, and what they find makes a page. Nothing here looks at a clock."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tests.bench import beside, page, results, run, sides

pytestmark = [pytest.mark.slow, pytest.mark.data]


@pytest.mark.parametrize("name", run.names())
def test_an_experiment_runs_small_and_makes_its_part_of_the_page(name):
    kept = {"settings": run.read(name) | run.read(name, small=True), "found": run.run(name, small=True)}
    assert kept["found"]
    json.dumps(kept)
    if name in beside.SECTIONS:
        assert beside.SECTIONS[name].section(kept).startswith("## ")
        for what, _, target, measured, met in beside.SECTIONS[name].targets(kept):
            assert what
            assert target
            assert measured
            assert met in (True, False, None)
    if hasattr(beside.SECTIONS.get(name), "plot"):
        assert ElementTree.fromstring(beside.SECTIONS[name].plot(kept)).tag.endswith("svg")


def test_search_at_a_small_size_is_exact():
    assert run.run("latency", small=True)["500"]["recall@10"] == 1.0


def test_a_kept_result_is_not_measured_again(monkeypatch):
    name = next(each for each in run.names() if results.load(each))
    monkeypatch.setattr(run, "import_module", lambda _: pytest.fail("measured again"))
    assert run.run(name) == results.load(name)["found"]


def test_every_kept_result_is_on_the_page_and_was_found_with_the_experiment_as_it_is():
    shown = {*beside.SECTIONS, *page.SECTIONS, "quality-peers", "quality-paired"}
    for file in results.FOLDER.glob("*.json"):
        assert file.stem in shown
        kept = results.load(file.stem)
        assert kept["made"]["processor"]
        assert kept["made"]["versions"]["python"]
        if file.stem in run.names():
            assert kept["settings"] == run.read(file.stem)


def test_every_peer_names_exact_versions_and_speaks_the_protocol():
    for script in sorted(sides.SCRIPTS.glob("*.py")):
        needed = sides.header(script).get("dependencies", [])
        assert all("==" in each or each in ("pypdf", "pypdfium2", "numpy") for each in needed), script.name
        assert script.stem in ("serve", "txtai_embeddings") or "serve(" in script.read_text("utf-8")


def test_a_side_answers_with_the_error_of_what_failed(tmp_path):
    with sides.Side("ragkit_workbench", tmp_path) as side, pytest.raises(RuntimeError, match="AttributeError"):
        side.ask("no such thing")


def test_what_a_side_prints_is_no_answer(tmp_path):
    body = "  def say(self):\n    print('noise')\n    return 7"
    script = f"from serve import serve\nclass Loud:\n{body}\nserve(Loud())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        input='{"do": "say"}\n',
        cwd=sides.SCRIPTS,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["found"] == 7
    assert "noise" in done.stderr
