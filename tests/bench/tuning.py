"""Training speed against trl's SFTTrainer: same rows, model, LoRA settings, schedule and machine, in one run.

    python -m tests.bench.tuning -n 160 --rounds 3

Both sides run in processes of their own, taking turns; each trains one epoch and writes its adapter. Reported: tokens a
second (the tokens of all rows, each row counted whole on both sides), their ratio, the held-out loss of each adapter
as the same code measures it, and each process's peak of memory. trl runs twice: as its documentation recommends
(activations computed twice, to save memory), and with that off, as ours does.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import torch

from ragkit import models
from ragkit.generate.chat import ChatTokenizer
from ragkit.settings import RetrieveSettings, TuneSettings
from ragkit.tune import generate
from ragkit.tune.loop import Trainer, drawn, schedule
from ragkit.tune.methods import Lora
from ragkit.tune.precision import half
from ragkit.tune.rows import Prepared, Reply, Row
from ragkit.tuning_data import Sources, gather, prepare
from tests.bench import articles, results
from tests.bench.bundled import collection

SETTINGS = TuneSettings(rank=8, alpha=16, learning_rate=5e-4, epochs=1, batch=16, looks=1, patience=0, dropout=0.0)
SIDES = ("ragkit", "trl", "trl, activations kept")


def rows(work: Path, count: int, passages: int) -> tuple[list[Row], list[Row], dict[str, Reply]]:
    """Training rows and held-out rows of SQuAD as they are tuned on, in tokens."""
    part = articles.training(work / "train")
    bench = collection(work / "home", "train", part.corpus)
    made: Prepared = prepare(
        bench, gather(bench, Sources(files=(str(part.questions[0]),))), SETTINGS, RetrieveSettings(k=passages)
    )
    chosen, held = list(made.train[:count]), list(made.held[: max(16, count // 4)])
    chat = ChatTokenizer(SETTINGS.base)
    replies = {
        row.id: Reply(tuple(chat.encode(row.prompt)), tuple(chat.reply(row.prompt, row.target)))
        for row in (*chosen, *held)
        if row.prompt is not None
    }
    return chosen, held, replies


def ours(data: dict[str, Any], folder: Path) -> float:
    """Train with ragkit's loop; seconds of the steps."""
    task = _task(data)
    trainer = Trainer(task, SETTINGS, _rows(data["train"]), ())
    begun = time.perf_counter()
    trainer.run(lambda _: None, lambda: False)
    spent = time.perf_counter() - begun
    Lora.save(task.model, folder)
    return spent


def theirs(data: dict[str, Any], folder: Path, recompute: bool) -> float:
    """Train with trl's SFTTrainer; seconds of `train()`."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    class Trained(SFTTrainer):
        """Both get the same schedule, ours, and the rows in the same order: either tells in a run of a few steps."""

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ANN401
            return torch.utils.data.SequentialSampler(train_dataset or self.train_dataset)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:  # noqa: ANN401
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: schedule(step, num_training_steps)
            )
            return self.lr_scheduler

    source = models.as_safetensors(models.resolve(SETTINGS.base, "generator"))
    table = Dataset.from_list(
        [
            {
                "input_ids": [*row["prompt"], *row["reply"]],
                "completion_mask": [0] * len(row["prompt"]) + [1] * len(row["reply"]),
            }
            for row in _in_order(data)
        ]
    )
    trainer = Trained(
        model=AutoModelForCausalLM.from_pretrained(source, dtype=half()),
        args=SFTConfig(
            output_dir=str(folder / "run"),
            per_device_train_batch_size=4,
            gradient_accumulation_steps=SETTINGS.batch // 4,
            num_train_epochs=1,
            learning_rate=SETTINGS.learning_rate,
            max_grad_norm=1.0,
            max_length=None,
            completion_only_loss=True,
            gradient_checkpointing=recompute,
            bf16=half() == torch.bfloat16,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=table,
        processing_class=AutoTokenizer.from_pretrained(source),
        peft_config=LoraConfig(
            r=SETTINGS.rank, lora_alpha=SETTINGS.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    begun = time.perf_counter()
    trainer.train()
    spent = time.perf_counter() - begun
    trainer.model.save_pretrained(folder)
    return spent


def _in_order(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The training rows in the order in which ragkit's loop takes them."""
    plain = SimpleNamespace(  # what planning looks at of a model
        config=SimpleNamespace(is_encoder_decoder=False, pad_token_id=0),
        forward=lambda position_ids: None,
        parameters=lambda: iter((torch.zeros(1),)),
    )
    task = generate.Generate(plain, _replies(data), SETTINGS.batch_tokens)
    steps = task.plan(_rows(data["train"]), SETTINGS.batch, drawn(SETTINGS.seed, "epoch", 0))
    trees = [tree for step in steps for batch in step for tree in batch]
    by_tokens = {(*row["prompt"], 0, *row["reply"]): row for row in data["train"]}
    return [by_tokens[*tree.trunk, *each.prompt, 0, *each.reply] for tree in trees for each in tree.branches]


def held_out(data: dict[str, Any], folder: Path) -> float:
    """Mean loss over the reply tokens of the held-out rows, in float32, row by row."""
    source = models.as_safetensors(models.resolve(SETTINGS.base, "generator"))
    model = Lora.load(generate.load(source, torch.float32), folder, trainable=True)  # or there is nothing to train
    task = generate.Generate(model, _replies(data), 4096, share=False)
    return Trainer(task, SETTINGS, _rows(data["held"]), _rows(data["held"])).held_out_loss()


def _task(data: dict[str, Any]) -> generate.Generate:
    source = models.as_safetensors(models.resolve(SETTINGS.base, "generator"))
    torch.manual_seed(0)
    model = Lora.wrap(generate.load(source, half()), SETTINGS, "CAUSAL_LM")
    return generate.Generate(model, _replies(data), SETTINGS.batch_tokens)


def _rows(records: list[dict[str, Any]]) -> list[Row]:
    return [Row(each["id"], "", "", "answer", "", "", None, tuple(each["passages"])) for each in records]


def _replies(data: dict[str, Any]) -> dict[str, Reply]:
    both = (*data["train"], *data["held"])
    return {each["id"]: Reply(tuple(each["prompt"]), tuple(each["reply"])) for each in both}


def one(side: str, file: Path, folder: Path) -> dict[str, float]:
    """One side's training in this process."""
    data = json.loads(file.read_text(encoding="utf-8"))
    before = psutil.Process().memory_info().rss
    seconds = ours(data, folder) if side == SIDES[0] else theirs(data, folder, recompute=side == SIDES[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    tokens = sum(len(each["prompt"]) + len(each["reply"]) for each in data["train"])
    return {"seconds": seconds, "tokens_per_second": tokens / seconds, "peak_mib": peak / 2**20, "before": before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=160, help="Training rows.")
    parser.add_argument("-k", type=int, default=RetrieveSettings().k, help="Passages a row.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("build/bundled"))
    parser.add_argument("--keep", action="store_true", help="Write the result into tests/bench/results.")
    parser.add_argument("--side", help="Used by itself: one side in this process.")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.side:
        sys.stdout.write(json.dumps(one(options.side, options.data, options.folder)) + "\n")
        return
    train, held, replies = rows(options.work.resolve(), options.n, options.k)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "data.json"
        records = [
            [{"id": row.id, "passages": row.passages, **asdict(replies[row.id])} for row in part]
            for part in (train, held)
        ]
        data = {"train": records[0], "held": records[1]}
        file.write_text(json.dumps(data), encoding="utf-8")
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for number in range(options.rounds):
            for side in SIDES:
                folder = Path(temporary) / f"{number}-{side}"
                command = [sys.executable, "-m", "tests.bench.tuning", "--side", side]
                done = subprocess.run(
                    [*command, "--data", str(file), "--folder", str(folder)], check=True, capture_output=True, text=True
                )
                found = json.loads(done.stdout.splitlines()[-1])
                if number == 0:
                    found["held_out_loss"] = held_out(data, folder)
                runs[side].append(found)
                sys.stdout.write(json.dumps({"side": side, **found}) + "\n")
                sys.stdout.flush()
        rate = {side: statistics.median(each["tokens_per_second"] for each in found) for side, found in runs.items()}
        summary = {
            side: {
                "tokens_per_second": round(rate[side], 1),
                "ours_to_this": round(rate[SIDES[0]] / rate[side], 3),
                "peak_mib": round(max(each["peak_mib"] for each in found)),
                "held_out_loss": round(found[0]["held_out_loss"], 4),
            }
            for side, found in runs.items()
        }
        sys.stdout.write(json.dumps(summary, indent=1) + "\n")
        if options.keep:
            results.keep("tuning", summary, n=options.n, k=options.k, rounds=options.rounds, **asdict(SETTINGS))


if __name__ == "__main__":
    main()
