"""The page Tune in Streamlit's own test driver: data, settings, trainings in every state, adapters, the gate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from ingest.tunings import PLAN, folder_of, kept_data
from ragkit import adapters
from ragkit.collection import Collection
from ragkit.evaluate.gate import Row
from ragkit.jobs import Jobs, Progress
from ragkit.promotion import Gate
from ragkit.promotions import Promotions
from ragkit.sets import Sets
from ragkit.settings import TuneSettings
from ragkit.tune.card import append
from ragkit.tune.rows import Point
from ragkit.tuning import TunePlan
from ragkit.tuning_data import Sources
from ragkit.types import Question, Variant, to_json
from tests import library, quizzes
from tests.test_ui import APP, html
from tests.test_ui import opened as opened_plain

EVIL = "<script>alert(1)</script> ![a](http://evil.example/?q=1)"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Cached collections belong to one test, and no worker does what a page only asks for."""
    for module in ("ingest.tunings", "ui.tuning_run", "ui.tuning_gate"):
        monkeypatch.setattr(f"{module}.ensure_worker", lambda *_: False)
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quizzes.save_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def collection(home: Path) -> Collection:
    return quizzes.workbench(home).collection


def opened(page: str, state: dict[str, str] | None = None, **query: str) -> AppTest:
    """The app with that page open, and with what its widgets hold."""
    if not state:
        return opened_plain(page, **query)
    test = AppTest.from_file(str(APP), default_timeout=60)
    for name, value in state.items():
        test.session_state[name] = value
    test._page_hash = calc_hash(page)  # noqa: SLF001 - see tests/test_ui.py
    return test.run()


def rows(count: int = 12) -> bytes:
    found = [
        {"id": pair.id, "question": pair.question, "answers": list(pair.answers), "passage": pair.passage}
        for pair in quizzes.PAIRS[:count]
    ]
    return "".join(json.dumps(row) + "\n" for row in found).encode()


def upload(test: AppTest, name: str, data: bytes) -> AppTest:
    return test.file_uploader[0].set_value((name, data, "application/jsonl")).run()


def form(base: str) -> AppTest:
    """The form, filled so far that only its buttons are left."""
    test = opened("tune", {"tune.generate.base": base, "tune.name": "first"})
    return upload(test, f"rows {EVIL}.jsonl", rows())


def adapter(home: Path, name: str = "made", **card: object) -> adapters.Adapter:
    """An adapter as far as the library looks at one."""
    import numpy as np
    from safetensors.numpy import save_file

    folder = home / "adapters" / name
    folder.mkdir(parents=True)
    save_file({"a": np.zeros(3, dtype=np.float32)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM"}))
    told = {"format": 1, "name": name, "task": "generate", "method": "lora", "base": "smollm2-135m",
            "template": "grounded", "created": "2026-01-01T00:00:00+00:00", "source": "trained",
            "metrics": {"held_out_loss": 1.234, "loss": 1.1, "best_step": 8, "steps": 10, "ended": EVIL},
            "rows": {"train": 40, "held": 5, "left_out": {EVIL: 3}}, "settings": {"rank": 8}}  # fmt: skip
    (folder / "ragkit.json").write_text(json.dumps(told | card))
    for step in (1, 2, 3):
        append(folder, Point(step, 3, loss=3.0 / step, held_out_loss=3.1 / step))
    return adapters.read(folder)


def press(test: AppTest, key: str) -> AppTest:
    return test.button(key=key).click().run()


def labels(test: AppTest) -> set[str]:
    return {button.label for button in test.button}


def test_the_page_says_what_to_do_while_there_is_nothing(home: Path) -> None:
    assert "Nothing to tune on yet" in html(opened("tune"))
    library.new(home)
    test = opened("tune")
    assert not test.exception
    assert "Upload questions with answers" in html(test)
    assert "reader" in html(test)  # which comes with ragkit
    for query in ({"training": "nothing"}, {"training": "../x"}, {"adapter": "nothing"}, {"adapter": "../x"}):
        test = opened("tune", **query)
        assert not test.exception
        assert "rk-bad" in html(test) or "rk-warn" in html(test)


def test_a_file_is_kept_counted_and_shown_as_rows(collection: Collection, base: str) -> None:
    test = form(base)
    assert [path.name.endswith(".jsonl") for path in kept_data(collection)] == [True]
    shown = html(test)
    assert "With an answer" in shown
    assert "<script" not in shown
    test.toggle(key="tune.rows").set_value(True).run()
    shown = html(test)
    assert not test.exception
    assert shown.count("Learns to reply:") == 5
    assert "rk-p-passage" in shown
    again = opened("tune")  # a reload finds the file
    assert "With an answer" in html(again)


def test_a_file_that_cannot_be_read_is_named(collection: Collection) -> None:
    test = upload(opened("tune"), "broken.jsonl", b"{nothing\n")
    assert not test.exception
    assert "broken.jsonl" in html(test)
    assert "rk-bad" in html(test)


def test_every_setting_is_on_the_form_with_its_sentence(collection: Collection) -> None:
    test = opened("tune")
    there = {str(each.key).rpartition(".")[2] for each in (*test.number_input, *test.toggle, *test.selectbox)}
    names = set(TuneSettings.__dataclass_fields__)
    assert names - there == set()
    assert all(each.help for each in test.number_input if str(each.key).startswith("tune."))


def test_an_estimate_and_a_training_are_jobs_with_the_plan_of_the_form(collection: Collection, base: str) -> None:
    Sets(collection).put("apart", [Question("q", "Who?", ("me",))])
    test = form(base)
    test.number_input(key="tune.rank").set_value(4).run()
    press(test, "tune.estimate")
    (job,) = Jobs(collection).waiting()
    assert job.kind == "estimate"
    assert "Finding the passages" in html(test) or "Waits" in html(test)
    press(test, "tune.start")
    training = next(each for each in Jobs(collection).waiting() if each.kind == "tune")
    plan = training.args["plan"]
    assert (plan["name"], plan["settings"]["rank"], plan["against"]) == ("first", 4, ["apart"])
    assert plan["sources"]["files"] == [str(kept_data(collection)[0])]
    assert test.query_params["training"] in ("first", ["first"])


def test_a_name_that_is_taken_is_refused_where_it_is_asked_for(collection: Collection, base: str) -> None:
    adapter(collection.home, "first")
    test = form(base)
    press(test, "tune.start")
    assert "There is an adapter &#x27;first&#x27; already" in html(test)
    assert Jobs(collection).pending() == 0


def begun(collection: Collection, base: str) -> int:
    plan = TunePlan("going", Sources(sets=("field",)), TuneSettings(base=base))
    folder = folder_of(collection, "going")
    folder.mkdir(parents=True)
    (folder / PLAN).write_text(json.dumps(to_json(plan)))
    for step in range(1, 30):
        append(folder, Point(step, 100, loss=3.0 / step, held_out_loss=2.5 if step % 10 == 0 else None))
    return Jobs(collection).submit("tune", {"name": "going", "plan": to_json(plan)})


def test_a_training_shows_its_curve_stops_goes_on_and_is_discarded(collection: Collection, base: str) -> None:
    number = begun(collection, base)
    jobs = Jobs(collection)
    jobs.take()
    jobs.update(number, Progress(files=29, total=100, share=0.29, rate=1234.0, left=70.0, doing="training"))
    shown = opened("tune", training="going")
    assert "step 29 of 100" in html(shown)
    assert "234 tokens/s" in html(shown)
    assert "Held-out loss 2.500" in html(shown)
    assert shown.get("vega_lite_chart") or shown.get("arrow_vega_lite_chart")
    assert "29%" in html(opened("tune"))
    jobs.cancel(number)
    jobs.finish(number, "cancelled")
    shown = opened("tune", training="going")
    assert "Stopped." in html(shown)
    press(shown, "training.resume")
    (again,) = jobs.waiting()
    assert (again.kind, again.args["name"]) == ("tune", "going")
    jobs.cancel(again.id)
    press(opened("tune", training="going"), "training.discard")
    assert not folder_of(collection, "going").exists()


def test_a_training_that_failed_says_why(collection: Collection, base: str) -> None:
    number = begun(collection, base)
    Jobs(collection).finish(number, "failed", f"The loss was not finite. {EVIL}")
    shown = html(opened("tune", training="going"))
    assert "The loss was not finite." in shown
    assert "<script" not in shown


def test_a_training_that_is_done_leads_to_its_adapter(collection: Collection) -> None:
    adapter(collection.home)
    test = opened("tune", training="made")
    assert test.query_params["adapter"] in ("made", ["made"])
    assert "1.234" in html(test)


def test_an_adapter_is_shown_renamed_exported_and_deleted(collection: Collection) -> None:
    adapter(collection.home)
    test = opened("tune", adapter="made")
    shown = html(test)
    assert not test.exception
    for told in ("1.234", "8 of 10", "Rows held out", "Is it better than the default?"):
        assert told in shown
    assert "<script" not in shown
    assert [each.proto.label for each in test.get("download_button")] == ["Export"]
    test.text_input(key="adapter.new-name.made").set_value("other").run()
    press(test, "adapter.rename")
    assert [each.name for each in adapters.listing(collection.home) if not each.bundled] == ["other"]
    press(test, "adapter.delete")
    assert [each for each in adapters.listing(collection.home) if not each.bundled] == []


def test_the_models_page_lists_adapters_and_says_what_is_damaged(collection: Collection) -> None:
    assert "There is none yet." in html(opened("models")) or "bundled" in html(opened("models"))
    found = adapter(collection.home)
    (adapter(collection.home, "broken").folder / "adapter_model.safetensors").write_bytes(b"nothing")
    test = opened("models")
    assert not test.exception
    assert "lora on smollm2-135m, writes through grounded" in html(test)
    assert found.sha256 in html(test)
    assert "broken" in html(test)


def test_an_adapter_is_put_into_compare_beside_its_base(collection: Collection) -> None:
    adapter(collection.home)
    test = opened("tune", adapter="made")
    test.button(key="adapter.compare").click()
    test.run()
    assert not test.exception
    for letter, name in (("A", ""), ("B", "made")):
        assert test.session_state[f"compare.{letter}.model.adapter"] == name
        assert test.session_state[f"compare.{letter}.template"] == "grounded"
    assert test.session_state["compare.blind"] is False


def gated(collection: Collection, found: adapters.Adapter, outcome: str) -> Gate:
    plain = Variant(template="grounded", adapter="")
    row = Row("f1", "decides", 8, 0.6, 0.4, 0.2, 0.1, 0.3, "better by 20 points", outcome)  # type: ignore[arg-type]
    mine = Variant(template="grounded", adapter=found.name)
    held = Gate("generate", found.name, found.sha256, found.base, "grounded", "0" * 64, mine, plain, "", "fresh", 1,
                "0" * 64, 8, 7, 0.02, outcome, () if outcome == "passed" else (f"f1 {EVIL}.",), None, (row,))  # type: ignore[arg-type] # fmt: skip
    file = collection.folder / "tuning" / f".gate-{found.name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(to_json(held)))
    return held


def test_the_gate_is_held_as_a_job_and_only_one_that_passed_can_be_promoted(collection: Collection) -> None:
    found = adapter(collection.home)
    Sets(collection).put("fresh", [Question("q", "Who?", ("me",))])
    test = press(opened("tune", adapter="made"), "gate.start")
    (job,) = Jobs(collection).waiting()
    assert (job.kind, job.args["adapter"], job.args["set"]) == ("gate", "made", "fresh")
    Jobs(collection).cancel(job.id)
    gated(collection, found, "failed")
    test = opened("tune", adapter="made")
    assert "is not to replace" in html(test)
    assert "<script" not in html(test)
    assert "Make it the default" not in labels(test)
    gated(collection, found, "passed")
    test = opened("tune", adapter="made")
    assert "better by 20 points" in html(test)
    press(test, "gate.promote")  # the set has changed since: the door refuses, and the page says so
    assert "since made was measured" in html(test)


def test_the_default_is_marked_and_rolled_back(collection: Collection) -> None:
    found = adapter(collection.home)
    Promotions(collection).add("generate", "made", found.sha256, found.base, "grounded", None, {})
    assert "default" in html(opened("tune"))
    test = opened("tune", adapter="made")
    assert "It is the default of smollm2-135m" in html(test)
    press(test, "gate.back")
    assert Promotions(collection).current("generate") is None


def test_adapters_of_other_tasks_are_not_offered_and_a_wrong_base_is_told(collection: Collection) -> None:
    adapter(collection.home, "writer")
    adapter(collection.home, "quoter", task="extract", base="minilm")
    test = opened("compare")
    menu = test.selectbox(key="compare.A.model.adapter")
    assert [*menu.options][:2] == ["auto", "none"]
    assert "writer" in menu.options
    assert "quoter" not in menu.options
    test = opened("compare", {"compare.A.model.adapter": "writer", "compare.A.model.model": "other/model"})
    assert "It needs the model smollm2-135m" in html(test)
    test = opened("compare", {"compare.A.model.adapter": "/a/folder/by/hand"})
    assert not test.exception
    assert test.session_state["compare.variants"][0].adapter == "/a/folder/by/hand"
