"""Jobs: kept in the database, done by a worker process, taken up again after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ingest.launch import ensure_worker, start_worker, submit_ingest, submit_reembed, worker_alive
from ingest.uploads import FOLDER, remove_uploads, safe_name, stage_upload
from ingest.worker import Worker
from ragkit.collection import Collection
from ragkit.errors import CollectionError
from ragkit.jobs import ATTEMPTS, JobFile, Jobs, Progress
from ragkit.settings import IngestSettings

SETTINGS = IngestSettings(embedder="hashing", embedder_model="", chunk_tokens=60, overlap_tokens=10)


@pytest.fixture
def collection(tmp_path):
    return Collection.open(tmp_path / "home", "c", create=True, settings=SETTINGS)


@pytest.fixture
def jobs(collection):
    return Jobs(collection)


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def write_files(folder: Path, count: int, sentences: int = 30) -> Path:
    folder.mkdir()
    for number in range(count):
        text = " ".join(f"File {number} has sentence {index} in it." for index in range(sentences))
        (folder / f"f{number:03}.txt").write_text(text)
    return folder


def test_a_job_goes_through_its_states(jobs):
    job = jobs.submit("ingest", {"paths": ["/a"]}, ["a.txt", "b.txt"])
    assert jobs.get(job).state == "queued"
    assert jobs.pending() == 1
    assert [(item.file, item.state) for item in jobs.files(job)] == [("a.txt", "waiting"), ("b.txt", "waiting")]
    taken = jobs.take()
    assert taken is not None
    assert (taken.id, taken.state, taken.args) == (job, "running", {"paths": ["/a"]})
    jobs.update(job, Progress(files=1, total=2, share=0.5), [JobFile("a.txt", "added", "", 3, 9)])
    assert jobs.get(job).progress.share == 0.5
    assert jobs.files(job)[0] == JobFile("a.txt", "added", "", 3, 9)
    jobs.finish(job, "done")
    assert jobs.get(job).over
    assert jobs.pending() == 0
    assert jobs.take() is None
    assert jobs.clear() == 1
    with pytest.raises(CollectionError, match=f"no job {job}"):
        jobs.get(job)


def test_files_found_later_keep_the_results_that_are_there(jobs):
    job = jobs.submit("ingest", {}, ["a", "b"])
    jobs.update(job, Progress(), [JobFile("b", "added", "", 1, 2)])
    jobs.set_files(job, ["x", "b"])
    assert jobs.files(job) == [JobFile("x", "waiting"), JobFile("b", "added", "", 1, 2)]


def test_cancelling_a_waiting_job_ends_it_and_a_running_one_is_asked(jobs):
    first, second = jobs.submit("ingest", {}), jobs.submit("ingest", {})
    jobs.take()
    jobs.cancel(first)
    jobs.cancel(second)
    assert jobs.get(first).state == "running"
    assert jobs.asked_to_stop(first)
    assert jobs.get(second).state == "cancelled"


def test_a_job_left_running_comes_before_queued_ones_and_is_given_up_after_some_attempts(jobs):
    first, second = jobs.submit("ingest", {}), jobs.submit("ingest", {})
    for _ in range(ATTEMPTS):
        assert jobs.take().id == first
    assert jobs.take().id == second
    assert jobs.get(first).state == "failed"
    assert "3 times" in jobs.get(first).reason


def test_a_worker_process_does_the_job_and_ends(collection, jobs, tmp_path):
    folder = write_files(tmp_path / "in", 5)
    (folder / "bad.pdf").write_bytes(b"")
    job = jobs.submit("ingest", {"paths": [str(folder)]})
    pid = start_worker(collection.home, collection.name, linger=0)
    assert psutil.Process(pid).environ()["MALLOC_ARENA_MAX"] == "1"  # or its threads keep what each has freed
    until(lambda: jobs.get(job).over)
    assert jobs.get(job).state == "done"
    states = {item.file: item.state for item in jobs.files(job)}
    assert states == {"bad.pdf": "refused", **{f"f{number:03}.txt": "added" for number in range(5)}}
    assert "empty" in next(item.reason for item in jobs.files(job) if item.file == "bad.pdf")
    assert len(collection.documents()) == 5
    assert jobs.get(job).progress.share == 1.0
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert not worker_alive(collection)


def test_two_workers_do_not_work_at_once(collection, jobs, tmp_path):
    folder = write_files(tmp_path / "in", 40, 60)
    job = submit_ingest(collection, [folder])
    others = [start_worker(collection.home, collection.name, linger=0) for _ in range(3)]
    until(lambda: jobs.get(job).over)
    assert len(jobs.files(job)) == 40
    assert {item.state for item in jobs.files(job)} == {"added"}
    for pid in others:
        until(lambda pid=pid: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_asking_for_a_worker_again_and_again_starts_one(collection, jobs, tmp_path):
    """Windows ask several times a second, and a worker takes a while to come up."""
    jobs.submit("ingest", {"paths": [str(write_files(tmp_path / "in", 2))]})
    assert [ensure_worker(collection) for _ in range(20)] == [True] + [False] * 19
    until(lambda: not jobs.pending())


def test_a_worker_started_in_vain_does_not_hide_the_one_at_work(collection, jobs, tmp_path):
    job = jobs.submit("ingest", {"paths": [str(write_files(tmp_path / "in", 300, 300))]})
    start_worker(collection.home, collection.name, linger=0)
    until(lambda: jobs.get(job).state == "running")
    vain = start_worker(collection.home, collection.name, linger=0)
    until(lambda: psutil.Process(vain).status() == psutil.STATUS_ZOMBIE)
    until(lambda: worker_alive(collection) or jobs.get(job).over)
    assert not jobs.get(job).over
    jobs.cancel(job)
    until(lambda: jobs.get(job).over, 10)


def test_a_killed_worker_loses_nothing_and_the_next_one_goes_on(collection, jobs, tmp_path):
    folder = write_files(tmp_path / "in", 80, 300)
    job = jobs.submit("ingest", {"paths": [str(folder)]})
    pid = start_worker(collection.home, collection.name, linger=0)
    until(lambda: sum(item.state == "added" for item in jobs.files(job)) >= 5)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not worker_alive(collection))
    before = {document.name: document.id for document in collection.documents()}
    reported = {item.file for item in jobs.files(job) if item.state == "added"}
    assert 5 <= len(before) < 80
    assert reported <= set(before)
    assert jobs.get(job).state == "running"
    assert ensure_worker(collection)
    until(lambda: jobs.get(job).over)
    after = {document.name: document.id for document in collection.documents()}
    assert len(after) == 80
    assert before.items() <= after.items()
    results = {item.file: item.state for item in jobs.files(job)}
    assert set(results.values()) <= {"added", "unchanged"}
    assert {results[name] for name in reported} == {"added"}
    assert not ensure_worker(collection)


def test_cancel_stops_a_running_job_and_keeps_what_is_in(collection, jobs, tmp_path):
    folder = write_files(tmp_path / "in", 200, 300)
    job = jobs.submit("ingest", {"paths": [str(folder)]})
    start_worker(collection.home, collection.name, linger=0)
    until(lambda: any(item.state == "added" for item in jobs.files(job)))
    jobs.cancel(job)
    until(lambda: jobs.get(job).over, 10)
    assert jobs.get(job).state == "cancelled"
    done = {item.file for item in jobs.files(job) if item.state == "added"}
    assert 0 < len(done) < 200
    assert done <= {document.name for document in collection.documents()}


_DEAF = """
import sys, time
from ingest import worker

worker.do_evaluation = lambda *arguments: time.sleep(600)  # work that never asks whether it should stop
worker.main(sys.argv[1:])
"""


def test_a_cancelled_job_that_does_not_end_is_torn_off_and_the_next_one_is_done(collection, jobs, tmp_path):
    deaf = jobs.submit("evaluate", {"run": 1})
    then = jobs.submit("ingest", {"paths": [str(write_files(tmp_path / "in", 3))]})
    arguments = ["--home", str(collection.home), "--collection", collection.name]
    with subprocess.Popen([sys.executable, "-c", _DEAF, *arguments]) as process:
        until(lambda: jobs.get(deaf).state == "running")
        jobs.cancel(deaf)
        until(lambda: jobs.get(deaf).over)
        assert jobs.get(deaf).state == "cancelled"
        until(lambda: jobs.get(then).over)
        assert process.poll() is None or process.returncode == 0
    assert jobs.get(then).state == "done"
    assert len(collection.documents()) == 3


def test_reembedding_is_a_job_like_any_other(collection, jobs, tmp_path):
    folder = write_files(tmp_path / "in", 3)
    first = jobs.submit("ingest", {"paths": [str(folder)]})
    Worker(collection).work()
    assert jobs.get(first).state == "done"
    few = collection.count()
    second = submit_reembed(collection, IngestSettings("sentences", 30, 0, "hashing", ""))
    until(lambda: jobs.get(second).over)
    assert jobs.get(second).state == "done"
    assert collection.settings.splitter == "sentences"
    assert collection.count() > few
    assert {item.state for item in jobs.files(second)} == {"replaced"}


def test_a_job_that_cannot_be_done_fails_with_the_reason_and_the_next_is_done(collection, jobs, tmp_path):
    first = jobs.submit("paint", {})
    second = jobs.submit("reembed", {"settings": {"chunk_tokens": 5000, "embedder": "hashing", "embedder_model": ""}})
    third = jobs.submit("ingest", {"paths": [str(write_files(tmp_path / "in", 1))]})
    Worker(collection).work()
    assert jobs.get(first).state == "failed"
    assert "no kind of job called 'paint'" in jobs.get(first).reason
    assert "5000 tokens are longer than the 256" in jobs.get(second).reason
    assert jobs.get(third).state == "done"


def test_uploads_are_read_under_their_names_and_removed_afterwards(collection, jobs):
    good = stage_upload(collection, "Übersicht 2024.txt", b"Viel Text steht hier.")
    bad = stage_upload(collection, "../../etc/passwd", b"")
    submit_ingest(collection, uploads=[good, bad])
    job = jobs.list()[0].id
    assert [item.file for item in jobs.files(job)] == ["Übersicht 2024.txt", "passwd"]
    until(lambda: jobs.get(job).over)
    assert [document.name for document in collection.documents()] == ["Übersicht 2024.txt"]
    until(lambda: not list((collection.folder / FOLDER).iterdir()))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"), ("../../x/evil.sh", "evil.sh"), ("C:\\docs\\a.docx", "a.docx"),
        ("nul\0byte.txt", "nulbyte.txt"), ("..", "unnamed"), ("", "unnamed"), ("a\nb\x1b[31m.txt", "ab[31m.txt"),
        ("x" * 500 + ".pdf", "x" * 196 + ".pdf"),
        ("é" * 300 + ".md", "é" * 98 + ".md"), ("half\ud800.txt", "half?.txt"),
    ],
)  # fmt: skip
def test_names_from_elsewhere_are_only_text(collection, name, safe):
    assert safe_name(name) == safe
    path = stage_upload(collection, name, b"x")
    assert path.parent.parent == collection.folder / FOLDER
    assert path.read_bytes() == b"x"


def test_only_uploads_are_removed(collection, tmp_path):
    precious = tmp_path / "mine" / "a.txt"
    precious.parent.mkdir()
    precious.write_text("x")
    upload = stage_upload(collection, "a.txt", b"x")
    remove_uploads(collection, [str(precious), str(upload), str(collection.folder / FOLDER / "x")])
    assert precious.exists()
    assert not upload.exists()
    assert (collection.folder / FOLDER).is_dir()
