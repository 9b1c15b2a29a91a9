"""Trainings as jobs: done by a worker, taken up after a kill, stopped, gone on with, measured, held to a gate."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ingest.launch import ensure_worker
from ingest.tunings import (
    discard_tuning,
    estimate_job,
    folder_of,
    held,
    last_job,
    measured,
    submit_estimate,
    submit_gate,
    submit_tuning,
    trainings,
)
from ragkit import adapters
from ragkit.adapter_files import AdapterError
from ragkit.jobs import Jobs
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings, TuneSettings
from ragkit.tune.card import LOG
from ragkit.tuning import TunePlan, read_log
from ragkit.tuning_data import Sources
from ragkit.types import Question
from tests import quizzes

pytestmark = [pytest.mark.usefixtures("_light"), pytest.mark.timeout(900)]


@pytest.fixture
def _light(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return quizzes.save_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def bench(home):
    return quizzes.workbench(home)


@pytest.fixture
def jobs(bench):
    return Jobs(bench.collection)


@pytest.fixture
def plan(tmp_path, base):
    rows = [
        {"id": pair.id, "question": pair.question, "answers": list(pair.answers), "passage": pair.passage}
        for pair in quizzes.PAIRS
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = TuneSettings(base=base, rank=2, epochs=1, batch=8, looks=3, learning_rate=1e-3)
    return TunePlan("first", Sources(files=(str(file),)), settings)


def long(plan: TunePlan) -> TunePlan:
    """The same, for a good while."""
    return replace(plan, settings=replace(plan.settings, epochs=400, looks=800, patience=0))


def until(condition, seconds=600.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def steps_in(log: Path) -> list[int]:
    return [json.loads(line)["step"] for line in log.read_text().splitlines() if line.endswith("}")]




def test_a_worker_trains_and_the_adapter_is_in_the_library(bench, jobs, plan):
    job = submit_tuning(bench, plan)
    until(lambda: jobs.get(job).over)
    assert (jobs.get(job).state, jobs.get(job).reason) == ("done", "")
    adapter = adapters.find("first", bench.collection.home)
    assert adapter.card["rows"]["train"] > adapter.card["rows"]["held"] > 0
    curve = read_log(adapter.folder)
    assert curve[-1].step == curve[-1].steps == jobs.get(job).progress.total
    assert any(point.held_out_loss is not None for point in curve)
    assert trainings(bench.collection) == []
    assert not folder_of(bench.collection, "first").exists()
    with pytest.raises(AdapterError, match="There is an adapter 'first' already"):
        submit_tuning(bench, plan)


def test_a_killed_worker_takes_its_training_with_it_and_the_next_goes_on_from_the_checkpoint(bench, jobs, plan):
    plan = long(plan)
    job = submit_tuning(bench, plan)
    folder = folder_of(bench.collection, "first")
    until(lambda: (folder / "checkpoint").exists() and steps_in(folder / LOG)[-1] >= 20)
    said = json.loads((bench.collection.folder / ".worker.json").read_text())
    worker = psutil.Process(said["pid"])
    (training,) = worker.children()
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: ended(training.pid))
    before = len((folder / LOG).read_text().splitlines())
    assert jobs.get(job).state == "running"
    until(lambda: ensure_worker(bench.collection))
    until(lambda: len(steps_in(folder / LOG)) > before + 3)
    assert min(steps_in(folder / LOG)[before:]) > 10
    jobs.cancel(job)
    until(lambda: jobs.get(job).over)


def test_a_cancelled_training_stops_within_two_seconds_and_goes_on_or_is_discarded(bench, jobs, plan):
    plan = long(plan)
    job = submit_tuning(bench, plan)
    folder = folder_of(bench.collection, "first")
    until(lambda: (folder / "checkpoint").exists() and (folder / LOG).exists())
    with pytest.raises(AdapterError, match="is going on"):
        discard_tuning(bench.collection, "first")
    with pytest.raises(AdapterError, match="is going on"):
        submit_tuning(bench, plan)
    jobs.cancel(job)
    until(lambda: jobs.get(job).over)
    assert jobs.get(job).state == "cancelled"
    (kept,) = trainings(bench.collection)
    assert (kept.name, kept.plan, kept.job.id) == ("first", plan, job)
    with pytest.raises(AdapterError, match="with another plan"):
        submit_tuning(bench, replace(plan, settings=replace(plan.settings, rank=4)))
    last = max(steps_in(folder / LOG))
    again = submit_tuning(bench, plan)
    until(lambda: max(steps_in(folder / LOG)) > last)
    jobs.cancel(again)
    until(lambda: jobs.get(again).over)
    discard_tuning(bench.collection, "first")
    assert trainings(bench.collection) == []
    assert not folder.exists()


def test_a_training_that_ends_without_a_word_is_a_failed_job_and_no_dead_worker(bench, jobs, plan):
    job = submit_tuning(bench, long(plan))
    folder = folder_of(bench.collection, "first")
    until(lambda: (folder / LOG).exists())
    worker = psutil.Process(json.loads((bench.collection.folder / ".worker.json").read_text())["pid"])
    (training,) = worker.children()
    training.kill()
    until(lambda: jobs.get(job).over)
    assert jobs.get(job).state == "failed"
    assert "signal 9" in jobs.get(job).reason
    assert "memory" in jobs.get(job).reason
    assert not ended(worker.pid)
    assert [each.name for each in trainings(bench.collection)] == ["first"]


def test_a_plan_that_cannot_be_carried_out_is_refused_and_one_without_rows_fails_with_the_reason(bench, jobs, plan):
    with pytest.raises(Exception, match="rank is 5000"):
        submit_tuning(bench, replace(plan, settings=replace(plan.settings, rank=5000)))
    assert jobs.pending() == 0
    short = replace(plan, settings=replace(plan.settings, max_tokens=16))
    job = submit_tuning(bench, short)
    until(lambda: jobs.get(job).over)
    assert jobs.get(job).state == "failed"
    assert "longer than 16 tokens" in jobs.get(job).reason


def test_a_plan_is_measured_and_its_rows_serve_the_training(bench, jobs, plan):
    assert measured(bench.collection, plan) is None
    job = submit_estimate(bench, plan)
    until(lambda: jobs.get(job).over)
    assert (jobs.get(job).state, jobs.get(job).reason) == ("done", "")
    found = measured(bench.collection, plan)
    assert found is not None
    assert found.train + found.held + sum(found.left_out.values()) == len(quizzes.PAIRS)
    assert set(found.kinds) <= {"answer", "absent", "unanswerable"}
    assert found.estimate.seconds > 0
    assert found.estimate.bytes > 0
    assert estimate_job(bench.collection, plan).id == job
    assert measured(bench.collection, replace(plan, name="other")) == found
    assert measured(bench.collection, replace(plan, sources=Sources())) is None
    begun = submit_tuning(bench, plan)
    assert (folder_of(bench.collection, "first") / "rows.json.z").exists()
    until(lambda: jobs.get(begun).over)
    assert jobs.get(begun).state == "done"


def test_an_adapter_is_held_against_the_default_by_the_worker(bench, jobs, plan):
    job = submit_tuning(bench, plan)
    until(lambda: jobs.get(job).over)
    asked = [Question(f"q{place}", f"Is there a wharf number {place}?", (f"wharf {place}",)) for place in range(3)]
    Sets(bench.collection).put("fresh", asked)
    assert held(bench.collection, "first") is None
    job = submit_gate(bench.collection, "first", "fresh", RetrieveSettings(k=1))
    until(lambda: jobs.get(job).over)
    assert (jobs.get(job).state, jobs.get(job).reason) == ("done", "")
    found = held(bench.collection, "first")
    assert found is not None
    assert (found.adapter, found.name, found.asked) == ("first", "fresh", 3)
    assert not found.passed
    assert last_job(bench.collection, "gate", adapter="first").id == job


def test_an_adapter_that_was_registered_before_the_worker_died_is_not_trained_again(bench, jobs, plan):
    job = submit_tuning(bench, plan)
    until(lambda: jobs.get(job).over)
    with bench.collection.transaction() as connection:
        connection.execute("UPDATE jobs SET state = 'running' WHERE id = ?", (job,))
    made = adapters.find("first", bench.collection.home).created
    until(lambda: jobs.get(job).over or ensure_worker(bench.collection) and False)
    assert (jobs.get(job).state, jobs.get(job).reason) == ("done", "")
    assert adapters.find("first", bench.collection.home).created == made


def test_uploaded_names_do_not_lead_out_of_the_folder(bench):
    for name in ("../x", "", ".hidden", "a/b"):
        with pytest.raises(Exception, match="cannot name"):
            folder_of(bench.collection, name)


