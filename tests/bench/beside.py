"""What docs/benchmarks.md says beside other tools: a section, its targets and its plot for each experiment."""

from __future__ import annotations

from types import ModuleType

from tests.bench import results
from tests.bench.sections import answers, ingest, latency, memory, pdf, quality, start
from tests.bench.sections.base import table

SECTIONS: dict[str, ModuleType] = {
    "ingest": ingest, "memory": memory, "pdf": pdf, "latency": latency, "answers": answers, "start": start,
    "quality": quality,
}  # fmt: skip
"""By the name of the result. Each has `section` and `targets`, some have a `plot`; all take what was kept."""

REASONS: dict[str, str] = {
    "ingest, of the bare encoder's rate": (
        "the bare encoder has all cores to itself; beside ours files are parsed in another process, cut, and written"
        " with their words, which counts most where files are small (medquad: 310 of 1.3 kB)"
    ),
    "nDCG@10 above the best peer's": (
        "questions of MedQuAD share few words with their answers, so that words help little there; whether the"
        " difference is more than chance is said below the table of that section"
    ),
    "ingest, memory for ten times the text": (
        "the peak comes after the last file, when the index of vectors is built in memory: out of a sample and blocks"
        " of fixed size, and 300 to 440 bytes a passage"
    ),
    "PDF pages, times the peers' fastest, any loader": (
        "the same PDFium reads for both; ragkit also cleans the text, joins hyphens, looks labels up and hands pages"
        " over from a process with limits"
    ),
}
"""Why a target was missed, by what it is of."""


def glance() -> str:
    """Each target, what was measured, and whether it was met."""
    rows = []
    for name, module in SECTIONS.items():
        kept = results.load(name)
        if kept:
            rows += [
                (what, on, target, measured, {True: "yes", None: "in part", False: "no"}[met] + _reason(what, met))
                for what, on, target, measured, met in module.targets(kept)
            ]
    return "## At a glance\n\n" + table(("what", "on", "target", "measured", "met"), rows)


def _reason(what: str, met: bool | None) -> str:
    return f": {REASONS[what]}" if not met and what in REASONS else ""


def in_short() -> str:
    """A line a subject, for the README."""
    lines = []
    for name, module in SECTIONS.items():
        kept = results.load(name)
        if kept and hasattr(module, "in_short"):
            lines.append(f"- {module.in_short(kept)}")
    return "\n".join(lines)
