"""The query side as a whole: ask and compare on a small collection, with the engine that needs no model."""

import threading
from dataclasses import replace

import pytest

from ragkit.errors import CollectionError, EmbedderMismatch, SettingsError, TemplateError, UnknownPart
from ragkit.history import History
from ragkit.settings import RetrieveSettings
from ragkit.types import Demonstration, Fingerprint, Variant
from ragkit.workbench import ABSTENTION, Workbench
from tests import library

ECHO = Variant(engine="echo", model="echo", adapter="")
QUESTION = "Which low-rank matrices does LoRA learn?"


@pytest.fixture
def workbench(home):
    library.filled(home)
    return Workbench.open("notes", home)


def test_an_answer_cites_the_page_that_holds_it(workbench):
    answer = workbench.ask(QUESTION, ECHO)
    citation = answer.citations[0]
    assert (citation.document, citation.page) == ("lora.md", 1)
    page = workbench.collection.page(workbench.collection.document("lora.md").id, 1)
    assert page.text[citation.start : citation.end] == citation.quote
    assert answer.supported > 0.9
    assert not answer.abstained
    assert answer.prompt.hits[citation.number - 1].document == citation.document


def test_the_text_streams_and_stops_on_request(workbench):
    pieces = []
    whole = workbench.ask(QUESTION, ECHO, on_text=lambda text: pieces.append(text) or True)
    assert "".join(pieces).strip() == whole.text
    assert len(pieces) > 3
    heard = []
    stopped = workbench.ask(QUESTION, ECHO, on_text=lambda text: heard.append(text) or len(heard) < 2)
    assert stopped.generation.finish == "cancelled"
    assert len(stopped.text) < len(whole.text)


def test_nothing_near_is_an_abstention_without_asking_a_model(workbench):
    answer = workbench.ask("zyx wvu qponm", ECHO, retrieve=RetrieveSettings(abstain_below=0.4))
    assert answer.abstained
    assert answer.text == ABSTENTION
    assert answer.generation is None
    assert answer.nearest < 0.4
    assert workbench.ask("zyx wvu qponm", ECHO, retrieve=RetrieveSettings(abstain_below=0.0)).generation is not None


def test_an_empty_collection_abstains(home):
    library.new(home, "empty")
    answer = Workbench.open("empty", home).ask("anything?", ECHO)
    assert answer.abstained
    assert answer.hits == ()


def test_compare_answers_every_variant_on_the_same_evidence(workbench):
    variants = [replace(ECHO, template=name) for name in ("cite", "concise", "quote")]
    heard = {}

    def listen(place, text):
        heard[place] = heard.get(place, "") + text
        return True

    answers = workbench.compare(QUESTION, variants, on_text=listen)
    assert [answer.variant for answer in answers] == variants
    assert len({answer.hits for answer in answers}) == 1
    assert len({answer.prompt.text for answer in answers}) == 3
    assert {place: text.strip() for place, text in heard.items()} == {
        place: answer.text for place, answer in enumerate(answers)
    }


def test_variants_of_one_model_are_written_together(workbench):
    places = []

    def listen(place, _):
        places.append(place)
        return True

    variants = [Variant(template=name, adapter="") for name in ("cite", "quote")]
    ungated = RetrieveSettings(abstain_below=0.0, reader="")
    answers = workbench.compare(QUESTION, variants, retrieve=ungated, on_text=listen)
    assert all(answer.text for answer in answers)
    assert places.index(1) < len(places) - 1 - places[::-1].index(0)  # the second begins before the first has ended


def test_compare_refuses_nothing_and_an_unknown_template_before_any_work(workbench):
    with pytest.raises(SettingsError, match="no variant"):
        workbench.compare(QUESTION, [])
    with pytest.raises(TemplateError, match="nonesuch"):
        workbench.compare(QUESTION, [ECHO, replace(ECHO, template="nonesuch")])


def test_only_the_named_documents_are_used(workbench):
    answer = workbench.ask(QUESTION, ECHO, documents=["cats.txt"], retrieve=RetrieveSettings(abstain_below=0))
    assert {hit.document for hit in answer.hits} == {"cats.txt"}
    with pytest.raises(CollectionError, match="no document"):
        workbench.ask(QUESTION, ECHO, documents=["nowhere.txt"])


def test_few_shot_templates_get_demonstrations_from_the_bank(workbench):
    bank = [Demonstration(f"Question {number}?", f"Answer {number}.") for number in range(5)]
    workbench.collection.add_demonstrations(bank)
    evidence = workbench.retrieve(QUESTION)
    variant = replace(ECHO, template="few-shot", selector="first", demonstrations=2)
    assert workbench.prompt(QUESTION, variant, evidence).demonstrations == tuple(bank[:2])
    assert workbench.prompt(QUESTION, replace(variant, demonstrations=0), evidence).demonstrations == ()
    assert workbench.prompt(QUESTION, replace(variant, template="cite"), evidence).demonstrations == ()


def test_mmr_prefers_passages_that_differ(workbench):
    same = "LoRA learns low-rank matrices."
    library.put(workbench.collection, "twice.txt", [same, same + " Yes.", same + " Indeed."])
    documents = [hit.text for hit in workbench.retrieve("LoRA low-rank matrices", RetrieveSettings(k=3)).hits]
    varied = [hit.text for hit in workbench.retrieve("LoRA low-rank matrices", RetrieveSettings(k=3, mmr=0.3)).hits]
    assert sum(same in text for text in varied) < sum(same in text for text in documents)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (RetrieveSettings(k=0), "k is 0"),
        (RetrieveSettings(depth=-1), "depth is -1"),
    ],
)
def test_impossible_settings_are_refused(workbench, settings, message):
    with pytest.raises(SettingsError, match=message):
        workbench.retrieve(QUESTION, settings)


def test_unknown_parts_and_empty_questions_are_refused(workbench):
    with pytest.raises(UnknownPart, match="Did you mean 'hybrid'"):
        workbench.retrieve(QUESTION, RetrieveSettings(retriever="hybrd"))
    with pytest.raises(UnknownPart, match="generator"):
        workbench.ask(QUESTION, Variant(engine="ollama"))
    with pytest.raises(SettingsError, match="empty"):
        workbench.ask("  ", ECHO)


def test_vectors_of_another_embedder_are_never_searched(workbench):
    import json  # the fingerprint as another embedder would have left it
    from dataclasses import asdict

    other = Fingerprint("other", "abc", 256, 100)
    workbench.collection.connection.execute(
        "UPDATE meta SET value = ? WHERE key = 'fingerprint'", (json.dumps(asdict(other)),)
    )
    with pytest.raises(EmbedderMismatch, match="reembed"):
        workbench.retrieve(QUESTION)


def test_two_questions_at_once_load_one_model(workbench):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(workbench.ask(QUESTION, ECHO))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.text for answer in answers}) == 1
    assert workbench.generator(ECHO) is Workbench.open("notes", workbench.collection.home).generator(ECHO)


def test_kept_answers_come_back_equal(workbench):
    history = History(workbench.collection)
    asked = history.keep(workbench.ask(QUESTION, ECHO), "one")
    refused = history.keep(workbench.ask("zyx wvu", ECHO, retrieve=RetrieveSettings(abstain_below=0.9)), "one")
    compared = [
        history.keep(answer, "two", "compare")
        for answer in workbench.compare(QUESTION, [ECHO, replace(ECHO, template="quote")])
    ]
    assert history.answers("one") == [asked, refused]
    assert history.answers("two") == compared
    assert [(thread.name, thread.answers) for thread in history.threads("ask")] == [("one", 2)]
    assert [(thread.name, thread.question) for thread in history.threads("compare")] == [("two", QUESTION)]
    history.forget("one")
    assert history.threads("ask") == []


def test_compare_on_the_built_in_model_shares_the_prefix_cache(workbench):
    """Bundled chat templates begin alike, so the second variant's prompt is mostly in the cache."""
    model = Variant()
    prompts = [
        workbench.generator(model).render(
            workbench.prompt(QUESTION, replace(model, template=name), workbench.retrieve(QUESTION))
        )
        for name in ("cite", "concise", "strict", "quote")
    ]
    shared = next(place for place, letters in enumerate(zip(*prompts, strict=False)) if len(set(letters)) > 1)
    assert all(hit.text in prompts[0][:shared] for hit in workbench.retrieve(QUESTION).hits)
