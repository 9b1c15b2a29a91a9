"""Evaluations as jobs of the worker, so that a window can start one, be closed, and find it again."""

from __future__ import annotations

from collections.abc import Callable

from ingest.launch import ensure_worker
from ragkit.collection import Collection
from ragkit.evaluation import Progress, begin, carry_out
from ragkit.jobs import Job, Jobs
from ragkit.jobs import Progress as JobProgress
from ragkit.runs import Plan
from ragkit.sets import EvaluationSet
from ragkit.workbench import Workbench


def submit_evaluation(workbench: Workbench, questions: EvaluationSet, plan: Plan) -> tuple[int, int]:
    """Queue a run and start a worker. Returns the ids of the job and of the run, which will hold the report.

    Raises what `ragkit.evaluation.begin` raises: a plan that cannot be carried out is refused here, not in the worker.
    """
    collection = workbench.collection
    run = begin(workbench, questions, plan)
    return queue_evaluation(collection, run.id), run.id


def queue_evaluation(collection: Collection, run: int) -> int:
    """Queue a run that was written down, or what is left of it, and start a worker. Returns the job's id."""
    before = job_of(collection, run)
    job = before.id if before and not before.over else Jobs(collection).submit("evaluate", {"run": run})
    ensure_worker(collection)
    return job


def job_of(collection: Collection, run: int) -> Job | None:
    """The last job of a run; None if there is none, or if it was cleared from the list."""
    jobs = Jobs(collection)
    listed = {job.id: job for job in (*jobs.list(limit=200), *jobs.waiting())}
    mine = [job for job in listed.values() if job.kind == "evaluate" and job.args.get("run") == run]
    return max(mine, key=lambda job: job.id, default=None)


def do_evaluation(
    collection: Collection, run: int, listen: Callable[[JobProgress], None], should_stop: Callable[[], bool]
) -> None:
    """What the worker does for such a job; its files are the run's answers."""

    def tell(now: Progress) -> None:
        share = now.done / now.total if now.total else 0.0
        listen(
            JobProgress(
                files=now.done, total=now.total, seconds=now.seconds, rate=now.rate, share=share, left=now.left
            )
        )

    carry_out(Workbench(collection), run, tell, should_stop)
