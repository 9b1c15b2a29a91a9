"""Evaluation end to end on real small collections: columns, causes, the cache, kills, jobs, the command line."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from ingest.evaluations import submit_evaluation
from ingest.worker import Worker
from ragkit import evaluation
from ragkit.answering import Answering
from ragkit.collection import Collection
from ragkit.errors import Cancelled, CollectionError, TemplateError, UnknownPart
from ragkit.jobs import Jobs
from ragkit.runs import Plan, RunError, Runs
from ragkit.sets import SetError, Sets
from ragkit.settings import RetrieveSettings
from ragkit.types import Decoding, Gold, Question, Variant
from ragkit.workbench import Workbench
from tests.command import ROOT, ragkit
from tests.library import filled, put

CITE, CONCISE = Variant(template="cite", engine="echo"), Variant(template="concise", engine="echo")
NEVER = RetrieveSettings(abstain_below=0.0)
QUESTIONS = [
    Question("lora", "What does LoRA freeze?", ("the pretrained weights",), (Gold("lora.md", 1),)),
    Question("cat", "Where does the cat sleep?", ("on the mat",)),
    Question("king", "Who is the king of Spain?", ()),
    Question("song", "Which song did Dylan sing?", ("Hurricane",), (Gold("songs.txt", 1),)),
]


@pytest.fixture
def bench(tmp_path):
    collection = filled(tmp_path / "home")
    Sets(collection).put("small", QUESTIONS)
    return Workbench(collection)


def causes(report, variant=0, column="retrieved"):
    return {
        item.question: item.failure for item in report.items if (item.variant, item.column) == (variant, column)
    }


def test_every_question_meets_every_variant_in_every_column(bench):
    report = evaluation.evaluate(bench, "small", [CITE, CONCISE], columns=("none", "retrieved", "gold"))
    assert len(report.items) == 4 * 2 * 3
    assert report.variants == ("cite + echo", "concise + echo")
    assert (report.name, report.version, report.collection) == ("small", 1, "notes")
    assert evaluation.load_report(bench, report.run) == report
    seen = {(item.question, item.variant, item.column) for item in report.items}
    assert len(seen) == len(report.items)


def test_the_prompt_of_each_column_holds_what_the_column_says(bench):
    report = evaluation.evaluate(bench, "small", [CITE], columns=("none", "retrieved", "gold"), retrieve=NEVER)
    runs = Runs(bench.collection)
    prompts = {column: runs.answer(report.run, "lora", 0, column).prompt for column in ("none", "retrieved", "gold")}
    assert "freezes" not in prompts["none"].text
    assert len(prompts["retrieved"].hits) == 5
    assert [(hit.document, hit.page) for hit in prompts["gold"].hits] == [("lora.md", 1)]
    with pytest.raises(RunError, match="no answer of variant 1 to question 'cat'"):
        runs.answer(report.run, "cat", 0, "gold")  # the set does not say where its answer stands
    (item,) = (item for item in report.items if (item.question, item.column) == ("cat", "gold"))
    assert item.text is None
    assert item.missing["f1"] == "the set names no passage that holds the answer"


def test_a_passage_in_the_set_is_the_gold_passage_and_leads_to_its_page(bench):
    passage = "The cat sleeps on the mat."
    Sets(bench.collection).put("p", [Question("cat", "Where does the cat sleep?", ("on the mat",), passage=passage)])
    report = evaluation.evaluate(bench, "p", [CITE], columns=("retrieved", "gold"), retrieve=NEVER)
    assert [item.failure for item in report.items] == ["right", "right"]
    assert report.summary(0, "retrieved", "recall").mean == 1.0
    answer = Runs(bench.collection).answer(report.run, "cat", 0, "gold")
    assert [hit.text for hit in answer.prompt.hits] == [passage]


def test_abstentions_score_as_the_empty_text(bench):
    report = evaluation.evaluate(bench, "small", [CITE], retrieve=RetrieveSettings(abstain_below=1.0))
    assert report.withheld == 4
    values = {item.question: item.values for item in report.items}
    assert values["king"]["f1"] == values["king"]["exact-match"] == 1.0
    assert values["cat"]["f1"] == values["cat"]["length"] == 0.0
    assert values["cat"]["false-refusal"] == 1.0


def test_every_cause_of_failure_is_told_from_the_others(bench):
    put(bench.collection, "hidden.txt", ["Zebra zebra zebra: a walrus weighs a tonne."])
    asked = [
        *QUESTIONS,
        Question("walrus", "How heavy are big marine mammals?", ("a tonne",), (Gold("hidden.txt", 1),)),
        Question("merged", "LoRA matrices weights learns low-rank?", ("costs nothing extra",), (Gold("lora.md", 2),)),
        Question("open", "What sleeps?", judged=False),
    ]
    Sets(bench.collection).put("all", asked)
    narrow = evaluation.evaluate(bench, "all", [CITE], retrieve=replace(NEVER, k=1, retriever="words"))
    assert causes(narrow)["lora"] == causes(narrow)["cat"] == "right"
    assert causes(narrow)["song"] == "not in the documents"
    assert causes(narrow)["walrus"] == "not retrieved"
    assert causes(narrow)["merged"] == "not retrieved"
    assert causes(narrow)["open"] == "not judged"
    wide = evaluation.evaluate(bench, "all", [CITE], retrieve=replace(NEVER, k=6))
    assert causes(wide)["merged"] == "retrieved but ignored"
    assert causes(wide)["king"] == "answered without ground"
    shy = evaluation.evaluate(bench, "all", [CITE], retrieve=replace(NEVER, k=6, abstain_below=1.0))
    assert causes(shy)["lora"] == "held back"
    assert causes(shy)["king"] == "rightly refused"
    alone = evaluation.evaluate(bench, "all", [CITE], columns=("none",))
    assert causes(alone, column="none")["lora"] == "not known without the documents"
    (counted,) = narrow.causes
    assert sum(counted.counts.values()) == len(asked)


def test_a_second_run_comes_from_the_cache_and_says_the_same(bench):
    first = evaluation.evaluate(bench, "small", [CITE, CONCISE], retrieve=NEVER)
    second = evaluation.evaluate(bench, "small", [CITE, CONCISE], retrieve=NEVER)
    assert (first.generated, first.cached) == (8, 0)
    assert (second.generated, second.cached) == (0, 8)
    assert second.run != first.run
    assert second.items == first.items
    assert second.verdicts == first.verdicts


@pytest.mark.parametrize(
    ("change", "fresh"),
    [
        ({"variants": [replace(CITE, decoding=Decoding(max_tokens=3))]}, 4),
        ({"variants": [replace(CITE, decoding=Decoding(temperature=0.5))]}, 4),
        ({"variants": [replace(CITE, decoding=Decoding(seed=5))]}, 0),  # greedy: the seed decides nothing
        ({"variants": [CONCISE]}, 4),
        ({"retrieve": replace(NEVER, k=1)}, 4),
        ({"variants": [replace(CITE, selector="random")]}, 0),  # cite shows no demonstrations: the same prompt
    ],
)
def test_what_decides_an_answer_is_part_of_its_key_and_nothing_else(bench, change, fresh):
    evaluation.evaluate(bench, "small", [CITE], retrieve=NEVER)
    report = evaluation.evaluate(bench, "small", **{"variants": [CITE], "retrieve": NEVER, **change})
    assert report.generated == fresh


def test_changed_documents_are_searched_again_and_changed_prompts_answered_again(bench):
    evaluation.evaluate(bench, "small", [CITE], retrieve=NEVER)
    put(bench.collection, "songs.txt", ["Dylan did sing the song Hurricane."])
    report = evaluation.evaluate(bench, "small", [CITE], retrieve=NEVER)
    assert causes(report)["song"] == "right"
    assert report.generated >= 1


def test_sampled_answers_are_repeated_and_greedy_ones_are_not(bench):
    sampled = replace(CITE, decoding=Decoding(temperature=0.7))
    report = evaluation.evaluate(bench, "small", [CITE, sampled], retrieve=NEVER, repeats=3)
    counts = [sum(item.variant == number for item in report.items) for number in (0, 1)]
    assert counts == [4, 12]
    assert report.summary(1, "retrieved", "f1").questions == 4  # a question counts once: the mean of its repeats


def test_progress_is_told_and_a_stop_is_obeyed_and_taken_up_again(bench):
    told = []
    stops = iter([False, False, False, True])
    with pytest.raises(Cancelled, match="stopped"):
        evaluation.evaluate(bench, "small", [CITE], retrieve=NEVER, should_stop=lambda: next(stops, True))
    (stopped,) = Runs(bench.collection).list()
    assert stopped.state == "stopped"
    kept = Runs(bench.collection).outcomes("generation")
    report = evaluation.evaluate(bench, "small", [CITE], retrieve=NEVER, listen=told.append)
    assert report.run == stopped.id
    assert report.cached == kept
    assert [step.done for step in told] == [0, 1, 2, 3, 4]
    assert {step.total for step in told} == {4}
    assert told[0].left is None
    assert told[-1].left == 0.0
    assert told[2].rate > 0


def test_a_plan_that_cannot_be_carried_out_is_refused_before_anything_is_done(bench):
    def run(variants=(CITE,), **more):
        evaluation.evaluate(bench, "small", list(variants), **more)

    with pytest.raises(TemplateError, match="no template 'citr'"):
        run([replace(CITE, template="citr")])
    with pytest.raises(UnknownPart, match="no metric called 'f2'"):
        run(metrics=["f2"])
    with pytest.raises(RunError, match="no variant to evaluate"):
        run([])
    with pytest.raises(RunError, match="The columns are .*oracle"):
        run(columns=("oracle",))
    with pytest.raises(RunError, match="no variant 3"):
        run(baseline=2)
    with pytest.raises(CollectionError, match="no document 'x'"):
        run(documents=["x"])
    with pytest.raises(SetError, match="no evaluation set 'none'"):
        evaluation.evaluate(bench, "none", [CITE])
    with pytest.raises(RunError, match="no evaluation run 1"):
        evaluation.load_report(bench, 1)
    assert Runs(bench.collection).list() == []


def test_the_answer_of_a_run_is_the_one_that_ask_gives(bench):
    report = evaluation.evaluate(bench, "small", [CITE], retrieve=NEVER)
    kept = Runs(bench.collection).answer(report.run, "cat", 0, "retrieved")
    asked = bench.ask("Where does the cat sleep?", CITE, retrieve=NEVER)
    same = ("text", "citations", "support", "prompt", "hits", "abstained", "unknown_marks")
    assert all(getattr(kept, name) == getattr(asked, name) for name in same)


def test_retrieval_is_kept_until_the_documents_change(bench):
    answering = Answering(bench, lambda: False)
    first = answering.evidence("Where does the cat sleep?", NEVER)
    assert answering.evidence("Where does the cat sleep?", replace(NEVER, abstain_below=0.9)) == first
    assert Runs(bench.collection).outcomes("evidence") == 1
    bench.collection.remove("cats.txt")
    assert "cats.txt" not in {hit.document for hit in answering.evidence("Where does the cat sleep?", NEVER).hits}


def many(home, count=90):
    collection = filled(home)
    asked = [Question(f"q{n}", f"Where does the cat number {n} sleep?", ("on the mat",)) for n in range(count)]
    Sets(collection).put("many", asked)
    return collection


def count_outcomes(path):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT count(*) FROM outcomes WHERE kind = 'generation'").fetchone()[0]
    finally:
        connection.close()


COMMAND = ["evaluate", "many", "-v", "cite", "-v", "concise", "-v", "strict", "--engine", "echo"]
COMMAND += ["--abstain-below", "0", "-c", "notes"]


@pytest.mark.parametrize("attempt", [1, 2])
def test_killed_at_a_random_moment_and_started_again_it_repeats_nothing(tmp_path, attempt):
    home = tmp_path / "home"
    collection = many(home)
    moment = random.Random(f"{os.getpid()}-{attempt}").randrange(5, 220)
    running = subprocess.Popen(
        [sys.executable, "-m", "ui.cli", *COMMAND],
        cwd=ROOT,
        env={**os.environ, "RAGKIT_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while running.poll() is None and count_outcomes(collection.path) < moment:
        time.sleep(0.002)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = count_outcomes(collection.path)
    assert moment <= before < 270, "it was killed in the middle"
    again = json.loads(ragkit(*COMMAND, "--json", home=home).stdout)
    assert (again["generated"], again["cached"]) == (270 - before, before)
    assert again["run"] == 1, "the run that was killed was taken up"
    assert count_outcomes(collection.path) == 270
    third = json.loads(ragkit(*COMMAND, "--json", home=home).stdout)
    assert (third["generated"], third["cached"]) == (0, 270)
    assert third["summaries"] == again["summaries"]


def test_the_worker_does_an_evaluation_and_its_report_is_found_again(bench, monkeypatch):
    monkeypatch.setattr("ingest.evaluations.ensure_worker", lambda collection: False)
    plan = Plan((CITE, CONCISE), retrieve=NEVER)
    chosen = Sets(bench.collection).get("small")
    job, run = submit_evaluation(bench, chosen, plan)
    assert submit_evaluation(bench, chosen, plan) == (job, run), "the same again waits for the same job"
    Worker(bench.collection).work()
    done = Jobs(bench.collection).get(job)
    assert done.state == "done"
    assert (done.progress.files, done.progress.total, done.progress.share) == (8, 8, 1.0)
    assert evaluation.load_report(bench, run).generated == 8


def test_a_job_that_its_worker_left_behind_goes_on_where_it_ended(bench):
    run = evaluation.begin(bench, Sets(bench.collection).get("small"), Plan((CITE,), retrieve=NEVER))
    jobs = Jobs(bench.collection)
    job = jobs.submit("evaluate", {"run": run.id})
    jobs.take()  # a worker that is gone by now
    Answering(bench, lambda: False).answer(CITE, bench.retrieve(QUESTIONS[0].question, NEVER), NEVER)
    Worker(bench.collection).work()
    assert jobs.get(job).state == "done"
    report = evaluation.load_report(bench, run.id)
    assert (report.generated, report.cached) == (3, 1)


def test_two_processes_on_the_same_run_end_with_one_report(tmp_path):
    home = tmp_path / "home"
    many(home, 40)
    environment = {**os.environ, "RAGKIT_HOME": str(home)}
    both = [
        subprocess.Popen([sys.executable, "-m", "ui.cli", *COMMAND, "--json"], cwd=ROOT, env=environment, stdout=-1)
        for _ in range(2)
    ]
    reports = [json.loads(each.communicate(timeout=120)[0]) for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert reports[0]["causes"] == reports[1]["causes"]
    collection = Collection.open(home, "notes")
    assert Runs(collection).outcomes("generation") == 120
    assert {run.state for run in Runs(collection).list()} == {"done"}


def test_the_command_line_imports_evaluates_and_writes(tmp_path):
    home = tmp_path / "home"
    filled(home)
    file = tmp_path / "My questions.jsonl"
    lines = [{"id": "a", "question": "Where does the cat sleep?", "answers": ["on the mat"]}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = [tmp_path / f"report.{ending}" for ending in ("html", "csv", "json")]
    options = ["-c", "notes", "--engine", "echo", "--column", "none", "--column", "retrieved", "--metric", "f1"]
    wanted = [part for path in out for part in ("--out", path)]
    variants = ["-v", "cite", "-v", "concise", "--baseline", "concise"]
    shown = ragkit("evaluate", file, *variants, *options, *wanted, "--together", home=home)
    assert "Answers were written together" in " ".join(shown.stderr.split())
    assert "concise + echo" in shown.stdout
    assert "cite + echo against concise + echo, f1" in shown.stdout
    assert all(path.stat().st_size > 100 for path in out)
    assert json.loads(out[2].read_text())["baseline"] == 1
    listed = [json.loads(line) for line in ragkit("sets", "-c", "notes", "--json", home=home).stdout.splitlines()]
    assert [(each["name"], each["count"]) for each in listed] == [("My-questions", 1)]
    bad = ragkit("evaluate", "nothing", "-c", "notes", home=home, expect=1)
    assert "no evaluation set 'nothing'" in bad.stderr
    ragkit("evaluate", home=home, expect=2)
    ragkit("evaluate", file, "--answers", file, home=home, expect=2)
    wrong = ragkit("evaluate", file, *options, "--out", tmp_path / "r.doc", home=home, expect=1)
    assert "cannot be written as 'r.doc'" in wrong.stderr


def test_sets_from_the_command_line(tmp_path):
    home = tmp_path / "home"
    filled(home)
    file = tmp_path / "q.csv"
    file.write_text("question,answer\nWhere does the cat sleep?,on the mat\n")
    ragkit("sets", "import", file, "--name", "cats", "-c", "notes", home=home)
    exported = ragkit("sets", "export", "cats", "-c", "notes", home=home).stdout
    assert json.loads(exported)["answers"] == ["on the mat"]
    assert "Where does the cat sleep?" in ragkit("sets", "show", "cats", "-c", "notes", home=home).stdout
    ragkit("sets", "remove", "cats", "-c", "notes", home=home)
    assert "no evaluation set 'cats'" in ragkit("sets", "show", "cats", "-c", "notes", home=home, expect=1).stderr
    ragkit("sets", "import", "-c", "notes", home=home, expect=2)
    file.write_text("query\nx\n")
    assert "no column 'question'" in ragkit("sets", "import", file, "-c", "notes", home=home, expect=1).stderr
