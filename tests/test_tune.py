"""Training, for real and tiny: what learns, what stays, what is kept, and what happens when it is stopped or fails."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, T5Config, T5ForConditionalGeneration

from ragkit import adapters, models
from ragkit.catalog import TASKS, TUNERS
from ragkit.errors import Cancelled, ModelError, RagkitError, SettingsError
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings, TuneSettings
from ragkit.tune import extract, generate
from ragkit.tune.card import LOG, QUESTIONS, read_log, read_questions
from ragkit.tune.loop import Trainer, TrainingFailed
from ragkit.tune.methods import Full, Lora
from ragkit.tune.rows import Point, Prepared, Reply, Row, Span
from ragkit.tuning import TunePlan, estimate, prepare_plan, tune
from ragkit.tuning_data import Sources
from ragkit.types import Question
from tests import quizzes, readers

TINY = {"learning_rate": 3e-3, "epochs": 2, "batch": 4, "looks": 4, "patience": 0, "rank": 4, "batch_tokens": 2048}
TRAINED = ("lora", "full")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quizzes.save_base(tmp_path_factory.mktemp("base"), wide=True)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(readers.save_encoder(tmp_path_factory.mktemp("encoder")))


@pytest.fixture
def bench(home: Path):
    return quizzes.workbench(home)


@pytest.fixture
def data(tmp_path: Path) -> str:
    file = tmp_path / "rows.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for pair in quizzes.PAIRS:
            row = {"id": pair.id, "question": pair.question, "answers": list(pair.answers), "passage": pair.passage}
            lines.write(json.dumps(row) + "\n")
    return str(file)


def plan(data: str, base: str, name: str = "mine", **changes: object) -> TunePlan:
    settings = TuneSettings(**{**TINY, "base": base, **changes})
    return TunePlan(name, Sources(files=(data,)), settings, RetrieveSettings())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(next(folder.glob("*.safetensors")))


@pytest.mark.parametrize("method", TRAINED)
@pytest.mark.parametrize("task", TASKS.names)
def test_a_training_leaves_an_adapter_that_has_learnt(task, method, bench, base, encoder, data, tmp_path) -> None:
    points = []
    chosen = plan(data, encoder if task == "extract" else base, task=task, method=method)
    made = tune(bench, chosen, tmp_path / "run", points.append)
    assert made == adapters.find("mine", bench.collection.home)
    assert (made.task, made.method, made.template) == (task, method, "grounded")
    looks = [point.held_out_loss for point in points if point.held_out_loss is not None]
    assert min(looks) < looks[0]
    assert made.card["metrics"]["held_out_loss"] == pytest.approx(min(looks))
    assert made.card["reload"]["max_logit_difference"] < 1e-3
    assert made.base_sha256 == models.resolve(made.base, "embedder" if task == "extract" else "generator").sha256
    assert read_log(made.folder)[-1].step == points[-1].step
    assert not (tmp_path / "run").exists()
    assert ("calibration" in made.card) == (task == "extract")
    assert {point.phase for point in points} == {"preparing", "training", "checking"}


def test_methods_are_those_of_the_catalog() -> None:
    assert tuple(TUNERS.names) == TRAINED


def rows_of(base: str, bench, **changes) -> tuple[Prepared, dict[str, Reply], TuneSettings]:
    from ragkit.generate.chat import ChatTokenizer

    settings = TuneSettings(**{**TINY, "base": base, "alpha": 8, **changes})
    prepared = quizzes.made(bench, base, **{key: value for key, value in changes.items() if key != "base"})
    chat = ChatTokenizer(base)
    replies = {
        row.id: Reply(tuple(chat.encode(row.prompt)), tuple(chat.reply(row.prompt, row.target)))
        for row in (*prepared.train, *prepared.held)
    }
    return prepared, replies, settings


def task_of(base: str, replies: dict[str, Reply], settings: TuneSettings, share: bool = True) -> generate.Generate:
    torch.manual_seed(0)
    model = Lora.wrap(generate.load(Path(base), torch.float32), settings, "CAUSAL_LM")
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    return generate.Generate(model, replies, 8192, share)


def gradients(task: generate.Generate, rows) -> tuple[float, dict[str, torch.Tensor], int]:
    task.model.eval()  # all in float32: mixed precision is for training
    task.model.zero_grad()
    total, tokens = 0.0, 0
    for step in task.plan(rows, 16, None):
        for batch in step:
            loss, _ = task.loss(batch, None)
            loss.backward()
            total, tokens = total + float(loss), tokens + task.tokens(batch)
    return total, {n: p.grad.clone() for n, p in task.model.named_parameters() if p.grad is not None}, tokens


def test_rows_that_share_a_beginning_learn_the_same_as_one_by_one(base, bench) -> None:
    prepared, replies, settings = rows_of(base, bench)
    together, alone = task_of(base, replies, settings), task_of(base, replies, settings, share=False)
    loss, gradient, tokens = gradients(together, prepared.train)
    other, expected, many = gradients(alone, prepared.train)
    assert tokens < 0.7 * many  # they do share
    assert loss == pytest.approx(other, rel=1e-4)
    for name, value in expected.items():
        assert torch.allclose(gradient[name], value, atol=1e-4 * float(value.abs().max()) + 1e-6), name


def test_the_loss_is_on_the_reply_alone(base, bench) -> None:
    prepared, replies, settings = rows_of(base, bench)
    task = task_of(base, replies, settings)
    task.model.eval()
    row = prepared.train[0]
    prompt, reply = replies[row.id].prompt, replies[row.id].reply
    with torch.no_grad():
        logits = task.model(input_ids=torch.tensor([[*prompt, *reply]])).logits[0].log_softmax(-1)
        wanted = -sum(float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(reply))
        ((batch,),) = task.plan([row], 1, None)
        loss, count = task.loss(batch, None)
    assert count == len(reply)
    assert float(loss) == pytest.approx(wanted, rel=1e-4)


def test_only_the_adapter_moves_with_lora(base, bench) -> None:
    prepared, replies, settings = rows_of(base, bench)
    task = task_of(base, replies, settings)
    before = {name: value.detach().clone() for name, value in task.model.named_parameters()}
    Trainer(task, settings, prepared.train, ()).run(lambda _: None, lambda: False)
    moved = {name for name, value in task.model.named_parameters() if not torch.equal(value, before[name])}
    assert moved
    assert all("lora_" in name for name in moved)
    assert {name for name in before if "lora_" in name} == moved


def test_every_weight_moves_with_full(base, bench) -> None:
    prepared, replies, settings = rows_of(base, bench, method="full")
    model = Full.wrap(generate.load(Path(base), torch.float32), settings, "CAUSAL_LM")
    task = generate.Generate(model, replies, 8192)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    Trainer(task, settings, prepared.train, ()).run(lambda _: None, lambda: False)
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert not still


@pytest.mark.parametrize("extra", [{}, {"rslora": True}, {"dora": True}])
def test_merged_equals_unmerged(extra, base, bench, data, tmp_path) -> None:
    made = tune(bench, plan(data, base, epochs=1, **extra), tmp_path / "run")
    config = json.loads((made.folder / "adapter_config.json").read_text())
    assert (config["use_rslora"], config["use_dora"]) == (extra.get("rslora", False), extra.get("dora", False))
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), made.folder)
    ids = torch.arange(2, 40)[None]
    with torch.no_grad():
        apart = model(ids).logits
        plain = AutoModelForCausalLM.from_pretrained(base)(ids).logits
        merged = model.merge_and_unload()(ids).logits
    assert torch.allclose(apart, merged, atol=1e-4)
    assert not torch.allclose(apart, plain, atol=1e-3)


def test_a_seq2seq_model_learns(bench, base, data, tmp_path) -> None:
    folder = tmp_path / "t5"
    shutil.copytree(base, folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = T5Config(
        vocab_size=size, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=1, eos_token_id=2,
        decoder_start_token_id=1,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    made = tune(bench, plan(data, str(folder), learning_rate=1e-2), tmp_path / "run")
    looks = [point.held_out_loss for point in read_log(made.folder) if point.held_out_loss is not None]
    assert min(looks) < looks[0]
    assert made.card["reload"]["max_logit_difference"] < 1e-3


def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(base, bench, data, tmp_path) -> None:
    script = (
        "import sys, os, signal, pathlib, tests.test_tune as t, tests.quizzes as q\n"
        "from ragkit.collection import Collection\nfrom ragkit.workbench import Workbench\n"
        "from ragkit.tuning import tune\n"
        "def say(p):\n"
        "    if p.phase == 'training' and p.step >= 9 and p.held_out_loss is None:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "bench = Workbench(Collection.open(pathlib.Path(sys.argv[1]), 'notes'))\n"
        "tune(bench, t.plan(sys.argv[2], sys.argv[3]), pathlib.Path(sys.argv[4]), say)\n"
    )
    arguments = [str(bench.collection.home), data, base, str(tmp_path / "run")]
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, cwd=root)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    kept = json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())
    assert 0 < kept["step"] < 10
    steps = []

    def say(point: Point) -> None:
        steps.extend([point.step] if point.phase == "training" else [])

    one = tune(bench, plan(data, base), tmp_path / "run", say)
    assert min(steps) > kept["step"]
    other = tune(bench, plan(data, base, "whole"), tmp_path / "whole")
    assert one.card["metrics"]["held_out_loss"] == pytest.approx(other.card["metrics"]["held_out_loss"], rel=1e-4)
    for name, value in weights(other.folder).items():
        # Not to the bit: sums in bfloat16 depend on how they fall on the processor's cores.
        assert float((weights(one.folder)[name].float() - value.float()).norm()) < 0.05 * float(value.float().norm())
    assert [point.step for point in read_log(one.folder)] == [point.step for point in read_log(other.folder)]


def test_cancelled_it_keeps_a_checkpoint_and_registers_nothing(base, bench, data, tmp_path) -> None:
    seen = []
    with pytest.raises(Cancelled):
        tune(bench, plan(data, base), tmp_path / "run", seen.append, lambda: any(p.step >= 3 for p in seen[-1:]
             if p.phase == "training"))  # fmt: skip
    assert (tmp_path / "run" / "checkpoint" / "state.json").is_file()
    assert all(each.bundled for each in adapters.listing(bench.collection.home))
    assert tune(bench, plan(data, base), tmp_path / "run").name == "mine"


def test_no_finite_loss_stops_it_and_keeps_the_last_good_weights(base, bench) -> None:
    prepared, replies, settings = rows_of(base, bench)
    task = task_of(base, replies, settings)
    genuine, calls = task.loss, []

    def broken(batch, draw):
        loss, count = genuine(batch, draw)
        calls.append(draw is not None)
        return (loss * math.nan if sum(calls) > 6 and draw is not None else loss), count

    task.loss = broken
    outcome = Trainer(task, settings, prepared.train, prepared.held).run(lambda _: None, lambda: False)
    assert outcome.ended == "the loss was not finite"
    assert outcome.step < outcome.steps
    assert all(bool(torch.isfinite(value).all()) for value in task.model.parameters())
    task.loss = lambda batch, draw: (genuine(batch, draw)[0] * math.nan, 1)
    with pytest.raises(TrainingFailed, match="not finite"):
        Trainer(task, settings, prepared.train, ()).run(lambda _: None, lambda: False)


def test_it_stops_early_when_held_out_rows_get_no_better(base, bench) -> None:
    prepared, replies, settings = rows_of(base, bench)
    task = task_of(base, replies, settings)
    hasty = replace(settings, learning_rate=1e-9, patience=2, looks=10, epochs=4)
    trainer = Trainer(task, hasty, prepared.train, prepared.held)
    worse = iter(range(1, 100))
    trainer.held_out_loss = lambda: float(next(worse))
    outcome = trainer.run(lambda _: None, lambda: False)
    assert outcome.ended == "no better on held-out rows"
    assert outcome.best_step == 0
    assert outcome.step < outcome.steps


def test_a_training_goes_on_from_an_adapter(base, bench, data, tmp_path) -> None:
    first = tune(bench, plan(data, base, "first", rank=2, alpha=6, rslora=True), tmp_path / "run")
    points: list[Point] = []
    going_on = plan(data, base, "second", rank=0, start="first", learning_rate=1e-9, looks=1, epochs=1)
    second = tune(bench, going_on, tmp_path / "run", points.append)
    for name, value in weights(first.folder).items():  # at this rate nothing moves: it began with these weights
        assert torch.allclose(weights(second.folder)[name], value, atol=2e-3), name  # kept in bfloat16 while learning
    settings = second.card["settings"]
    assert (settings["rank"], settings["alpha"], settings["rslora"]) == (2, 6, True)
    assert second.card["start"] == {"name": "first", "sha256": first.sha256}
    assert second.card["metrics"]["held_out_loss"] == pytest.approx(first.card["metrics"]["held_out_loss"], rel=0.02)
    assert len(read_questions(second.folder)) == len(set(read_questions(first.folder)))
    shutil.rmtree(second.folder)
    (first.folder / QUESTIONS).unlink()
    assert read_questions(tune(bench, going_on, tmp_path / "run").folder) is None


def test_what_a_training_cannot_go_on_from_is_refused(base, encoder, bench, data, tmp_path) -> None:
    made = tune(bench, plan(data, base, "first", rank=2), tmp_path / "run")
    for wrong, said in (
        ({"start": "nobody"}, "no adapter 'nobody'"),
        ({"start": "first", "rank": 8}, "rank is 8, but first has 2"),
        ({"start": "first", "rank": 0, "method": "full"}, "cannot begin a training of full"),
        ({"start": "first", "rank": 0, "task": "extract", "base": encoder}, "trained on"),
    ):
        with pytest.raises(RagkitError, match=said):
            tune(bench, plan(data, **{"base": base, "name": "second", **wrong}), tmp_path / "run")
    model = Lora.wrap(generate.load(Path(base), torch.float32), TuneSettings(rank=2, alpha=4), "CAUSAL_LM")
    state = weights(made.folder)
    save_file({f"other.{name}": value for name, value in state.items()}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(TrainingFailed, match="other places"):
        Lora.start(model, tmp_path)


def test_a_sweep_takes_the_best_rate(base, bench, data, tmp_path) -> None:
    made = tune(bench, plan(data, base, sweep=True, learning_rate=1e-3), tmp_path / "run")
    losses = {float(rate): loss for rate, loss in made.card["sweep"].items()}
    assert len(losses) == 3
    assert made.card["settings"]["learning_rate"] == pytest.approx(min(losses, key=losses.get), rel=1e-3)


def test_an_estimate_counts_what_is_trained(base, bench, data, tmp_path) -> None:
    chosen = plan(data, base)
    prepared = prepare_plan(bench, chosen, tmp_path / "run")
    found = estimate(bench, chosen.settings, prepared)
    whole = AutoModelForCausalLM.from_pretrained(base)
    assert found.trainable == sum(
        4 * (layer.in_features + layer.out_features)
        for name, layer in whole.named_modules()
        if isinstance(layer, torch.nn.Linear) and name != "lm_head"
    )
    assert found.parameters == whole.num_parameters()
    assert found.seconds > 0
    assert found.bytes > 0
    assert prepare_plan(bench, chosen, tmp_path / "run") == prepared


def test_what_cannot_be_trained_is_refused_before_any_work(base, bench, data, tmp_path) -> None:
    for changes, kind in (
        ({"method": "lorra"}, RagkitError), ({"template": "groundedd"}, RagkitError), ({"base": "nowhere"}, ModelError),
        ({"holdout": 2.0}, SettingsError), ({"batch": 0}, SettingsError),
    ):  # fmt: skip
        with pytest.raises(kind):
            tune(bench, plan(data, **{"base": base, **changes}), tmp_path / "run")
    with pytest.raises(RagkitError):
        tune(bench, replace(plan(data, base), name="../evil"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_questions_of_an_evaluation_set_are_not_trained_on(base, bench, data, tmp_path) -> None:
    pair = quizzes.PAIRS[0]
    Sets(bench.collection).put("judge", [Question("q", pair.question, pair.answers)])
    prepared = prepare_plan(bench, replace(plan(data, base), against=("judge",)), tmp_path / "run")
    assert pair.question not in {row.question for row in (*prepared.train, *prepared.held)}
    assert prepared.left_out["like an evaluation question"] >= 1


def test_an_adapter_knows_its_base(base, bench, data, tmp_path) -> None:
    made = tune(bench, plan(data, base, epochs=1), tmp_path / "run")
    other = quizzes.save_base(tmp_path / "other", wide=True, seed=1)
    with pytest.raises(ModelError, match="trained on"):
        adapters.check_base(made, models.resolve(other, "generator"))


def test_a_log_survives_a_line_that_was_cut_short(tmp_path) -> None:
    (tmp_path / LOG).write_text('{"step": 1, "steps": 2}\n{"step": 2, "steps": 2, "loss": 1.0}\n{"step": 2, "ste')
    assert [point.step for point in read_log(tmp_path)] == [1, 2]


def test_a_span_is_learnt_where_it_stands(encoder) -> None:
    passages = ("a b c d e", "x y z w v")
    rows = [
        Row(f"{n}", "g", "where is z ?" if n % 2 else "where is q ?", "answer", "t", "z", None, passages,
            (Span(1, 4, 5),) if n % 2 else ())
        for n in range(16)
    ]  # fmt: skip
    plain = TuneSettings(task="extract", base=encoder)
    settings = replace(plain, rank=8, alpha=16, learning_rate=1e-2, epochs=30, batch=8)
    model = Lora.wrap(extract.load(Path(encoder), torch.float32), settings, extract.KIND)
    task = extract.Extract(model, Path(encoder), 4096)
    trainer = Trainer(task, settings, rows, ())
    trainer.run(lambda _: None, lambda: False)
    (yes, no) = task.read([rows[1], rows[0]])
    assert yes[:3] == (1, 4, 5)
    assert yes[3] > 0 > no[3]


def test_an_adapter_does_not_say_where_things_lie_on_this_machine(base, bench, data, tmp_path) -> None:
    made = tune(bench, plan(data, base, epochs=1), tmp_path / "run")
    assert json.loads((made.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == base
    assert str(Path(data).parent) not in (made.folder / "ragkit.json").read_text()
