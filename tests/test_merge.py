"""Adapters merged into GGUF files: the same logits as peft's, and a clear no where that cannot be."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
import torch
from gguf import GGMLQuantizationType
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, GgufConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ragkit import adapters, models
from ragkit.catalog import GENERATORS
from ragkit.errors import ModelError
from ragkit.generate import engines, merge
from ragkit.prompt.template import Template
from ragkit.types import Decoding
from tests.ggufs import save_gguf
from tests.tiny_chat import tokenizer
from tests.tiny_speakers import save_adapter, save_speaker

LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IDS = torch.tensor([[7, 30, 99, 12, 250, 31, 8, 77, 140, 5]])
PROMPT = Template("t", "s", "w", "Say something about {question}").render("the moon", ())


def words():
    return tokenizer(["The moon goes round the earth .", "Say something about Paris ."], 320)


def llama(seed=0, tied=False, **sizes):
    """Four heads over two of keys and values: a wrong order of rows shows."""
    torch.manual_seed(seed)
    given = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        **sizes,
    }
    config = LlamaConfig(
        vocab_size=len(words()), eos_token_id=2, pad_token_id=1, bos_token_id=2, tie_word_embeddings=tied, **given
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def base():
    return llama()


@pytest.fixture(scope="module")
def file(base, tmp_path_factory):
    return save_gguf(base, words(), tmp_path_factory.mktemp("base") / "tiny.gguf")


def save_lora(model, folder, **settings):
    """A LoRA whose weights are far from zero; returns peft's own model with it."""
    torch.manual_seed(1)
    options = {"r": 4, "lora_alpha": 8, "target_modules": LAYERS, "task_type": "CAUSAL_LM", **settings}
    tuned = get_peft_model(copy.deepcopy(model), LoraConfig(**options))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name or "lora_embedding" in name:
            torch.nn.init.normal_(parameter, std=0.1)
        if "lora_magnitude" in name:
            parameter.data *= 1.2
    tuned.save_pretrained(folder)
    return tuned.eval()


def logits(model):
    with torch.inference_mode():
        return model(IDS).logits[0].float()


def read_back(path):
    return AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    ).eval()


def merged(file, folder, target, kind=GGMLQuantizationType.F32):
    """In float32, so that only a wrong sum can make a difference."""
    merge.write(models.resolve(str(file), "generator"), adapters.read(folder), target, kind)
    return read_back(target)


def test_the_file_made_here_is_the_model(base, file):
    assert torch.allclose(logits(read_back(file)), logits(base), atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"use_dora": True},
        {"r": 2, "rank_pattern": {"q_proj": 8}, "alpha_pattern": {"layers.1.mlp.up_proj": 64}},
        {"target_modules": ["q_proj", "k_proj"], "layers_to_transform": [1]},
    ],
    ids=["lora", "rslora", "dora", "patterns", "some layers"],
)
def test_the_merged_model_gives_the_logits_of_peft(base, file, tmp_path, settings):
    reference = logits(save_lora(base, tmp_path / "lora", **settings))
    made = logits(merged(file, tmp_path / "lora", tmp_path / "merged.gguf"))
    assert float((reference - logits(base)).abs().max()) > 0.5
    assert float((made - reference).abs().max()) < 1e-3
    assert torch.equal(made.argmax(-1), reference.argmax(-1))


def test_a_quantised_base_is_dequantised_before_the_update(base, tmp_path):
    coarse = save_gguf(base, words(), tmp_path / "coarse.gguf", "Q4_1")
    save_lora(base, tmp_path / "lora")
    reference = PeftModel.from_pretrained(read_back(coarse), tmp_path / "lora").eval()
    for kind, most in ((GGMLQuantizationType.F32, 1e-3), (GGMLQuantizationType.F16, 3e-2)):
        made = merged(coarse, tmp_path / "lora", tmp_path / "merged.gguf", kind)
        assert float((logits(made) - logits(reference)).abs().max()) < most


def test_a_whole_tuned_model_replaces_every_weight(base, file, tmp_path):
    tuned = llama(seed=5)
    tuned.save_pretrained(tmp_path / "full")
    assert adapters.read(tmp_path / "full").method == "full"
    made = logits(merged(file, tmp_path / "full", tmp_path / "merged.gguf"))
    assert float((made - logits(tuned)).abs().max()) < 1e-3
    assert float((logits(base) - logits(tuned)).abs().max()) > 0.5


def test_a_tied_model_stays_tied(tmp_path):
    base = llama(tied=True)
    file = save_gguf(base, words(), tmp_path / "tied.gguf")
    reference = logits(save_lora(base, tmp_path / "lora"))
    assert float((logits(merged(file, tmp_path / "lora", tmp_path / "a.gguf")) - reference).abs().max()) < 1e-3
    tuned = llama(seed=5, tied=True)
    tuned.save_pretrained(tmp_path / "full")
    assert float((logits(merged(file, tmp_path / "full", tmp_path / "b.gguf")) - logits(tuned)).abs().max()) < 1e-3


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"target_modules": ["embed_tokens"]}, "It changes .*embed"),
        ({"target_modules": ["lm_head"]}, "It changes .*lm_head"),
        ({"modules_to_save": ["lm_head"]}, "It uses modules_to_save"),
        ({"bias": "lora_only"}, "It uses bias"),
        ({"trainable_token_indices": [3]}, "It uses trainable_token_indices"),
    ],
)
def test_what_is_more_than_a_sum_is_left_to_transformers(base, file, tmp_path, monkeypatch, settings, reason):
    monkeypatch.setattr("ragkit.generate.engines.has_gpu", lambda: False)
    save_lora(base, tmp_path / "lora", **settings)
    with pytest.raises(ModelError, match=reason):
        merged(file, tmp_path / "lora", tmp_path / "merged.gguf")
    assert engines.choose("auto", str(file), str(tmp_path / "lora")) == "transformers"
    assert not (tmp_path / "merged.gguf").exists()


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("init_lora_weights", "pissa", "started by pissa"),
        ("alora_invocation_tokens", [1, 2], "It uses alora_invocation_tokens"),
        ("something_of_next_year", True, "It uses something_of_next_year"),
        ("peft_type", "IA3", "It is a IA3 adapter"),
    ],
)
def test_settings_that_are_not_known_are_not_ignored(base, file, tmp_path, key, value, reason):
    save_lora(base, tmp_path / "lora")
    config = tmp_path / "lora" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), key: value}))
    assert reason in merge.why_not(models.resolve(str(file), "generator"), adapters.read(tmp_path / "lora"))


def test_an_adapter_of_another_base_is_refused(base, file, tmp_path):
    model = models.resolve(str(file), "generator")
    for number, (sizes, lacking) in enumerate(
        [({"hidden_size": 32}, "32"), ({"num_hidden_layers": 3}, "there is no"), ({"num_key_value_heads": 4}, "64")]
    ):
        other = llama(**sizes)
        save_lora(other, tmp_path / f"lora{number}")
        with pytest.raises(ModelError, match=f"does not fit the model: .*{lacking}"):
            merge.write(model, adapters.read(tmp_path / f"lora{number}"), tmp_path / "merged.gguf")
    llama(num_hidden_layers=1).save_pretrained(tmp_path / "full")
    with pytest.raises(ModelError, match=r"it lacks blk\.1"):
        merge.write(model, adapters.read(tmp_path / "full"), tmp_path / "merged.gguf")
    save_lora(base, tmp_path / "mine")
    (tmp_path / "mine" / "ragkit.json").write_text(json.dumps({"base": "my-base", "base_sha256": "0" * 64}))
    for engine in ("openvino", "transformers"):
        with pytest.raises(ModelError, match="was trained on my-base"):
            GENERATORS.load(engine)(str(file), str(tmp_path / "mine"))


def test_weights_that_are_not_finite_are_refused(base, file, tmp_path):
    broken = copy.deepcopy(base)
    broken.model.layers[0].mlp.up_proj.weight.data[0, 0] = float("nan")
    broken.save_pretrained(tmp_path / "full")
    with pytest.raises(ModelError, match="not finite"):
        merged(file, tmp_path / "full", tmp_path / "merged.gguf")


def test_the_fast_engine_says_what_the_adapter_was_taught(tmp_path, monkeypatch):
    """The merged file goes through the choice of engines, the engine and its cache; a whole tuned model, too."""
    monkeypatch.setattr("ragkit.generate.engines.has_gpu", lambda: False)
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "cache"))
    plain = save_speaker(tmp_path / "plain", "cat")
    file = save_gguf(
        LlamaForCausalLM.from_pretrained(plain),
        PreTrainedTokenizerFast.from_pretrained(plain),
        tmp_path / "tiny.gguf",
        "F16",  # the engine reads no matrices of 32 bits
    )
    lora = save_adapter(
        tmp_path / "lora", plain, "dog", "cite", base_sha256=models.resolve(str(file), "generator").sha256
    )
    whole = save_speaker(tmp_path / "whole", "mat")
    for adapter, word in (("", "cat"), (str(lora), "dog"), (str(whole), "mat")):
        assert engines.choose("auto", str(file), adapter) == "openvino"
        for engine in ("openvino", "transformers"):
            generator = GENERATORS.load(engine)(str(file), adapter)
            assert word in generator.generate(PROMPT, Decoding(max_tokens=4), lambda _: True).text, (engine, word)
    assert len(list((tmp_path / "cache" / "openvino").glob("tiny-*/"))) == 3
    assert not list((tmp_path / "cache").rglob("*.gguf"))


def test_the_name_in_the_cache_depends_on_weights_and_settings(base, file, tmp_path):
    model = models.resolve(str(file), "generator")
    save_lora(base, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = merge.name_of(model, adapters.read(tmp_path / "a"))
    assert merge.name_of(model, adapters.read(tmp_path / "b")) == first
    config = tmp_path / "b" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "lora_alpha": 9}))
    assert merge.name_of(model, adapters.read(tmp_path / "b")) != first
