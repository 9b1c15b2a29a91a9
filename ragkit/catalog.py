"""The fuse box: every part of the query side, one row each. Loaders and splitters are in `ingest/catalog.py`.

A new part is one file and one row here; `ragkit list`, `--help`, the menus, the README's table and the contract tests
pick it up. Prompt templates are data files and listed by `ragkit.prompt.store`.
"""

from __future__ import annotations

from ragkit.registry import Registry, Row

EMBEDDERS = Registry(
    "embedder",
    Row("auto", "ragkit.embed.auto:embedder", "OpenVINO on a CPU, sentence-transformers on a GPU; same vectors."),
    Row(
        "openvino",
        "ragkit.embed.openvino:OpenVINOEmbedder",
        "A sentence-transformers model converted once: fastest on a CPU, opens without torch.",
        needs=("openvino", "tokenizers"),
    ),
    Row(
        "sentence-transformers",
        "ragkit.embed.sentence:SentenceEmbedder",
        "Any sentence-transformers model; bf16 on processors that have it.",
        needs=("sentence_transformers", "torch", "transformers"),
    ),
    Row(
        "static",
        "ragkit.embed.static:StaticEmbedder",
        "Token vectors distilled from a model, averaged: thousands of passages a second, less exact.",
        needs=("tokenizers", "safetensors", "scipy"),
    ),
    Row("hashing", "ragkit.embed.hashing:HashingEmbedder", "Hashed words, no model: for tests and tiny machines."),
)

INDEXES = Registry(
    "index",
    Row("flat", "ragkit.index.faiss:FlatIndex", "Exact search; the default up to 50,000 passages.", needs=("faiss",)),
    Row(
        "rabitq",
        "ragkit.index.faiss:RaBitQIndex",
        "One bit a dimension, refined with 8-bit codes; the default up to 200,000 passages.",
        needs=("faiss",),
    ),
    Row("hnsw", "ragkit.index.faiss:HNSWIndex", "Neighbour graph: fastest queries, slow to build.", needs=("faiss",)),
    Row(
        "ivf",
        "ragkit.index.faiss:IVFIndex",
        "RaBitQ's codes in inverted lists, of which an eighth is searched: for millions.",
        needs=("faiss",),
    ),
)

RETRIEVERS = Registry(
    "retriever",
    Row(
        "hybrid",
        "ragkit.retrieve.hybrid:HybridRetriever",
        "Meaning and words, joined by their scores, or by ranks (RRF).",
    ),
    Row("dense", "ragkit.retrieve.dense:DenseRetriever", "By meaning: nearest vectors.", needs=("faiss",)),
    Row("words", "ragkit.retrieve.words:WordsRetriever", "By words: BM25 over a full-text index."),
)

RERANKERS = Registry(
    "reranker",
    Row(
        "cross-encoder",
        "ragkit.retrieve.cross_encoder:CrossEncoderReranker",
        "Any sentence-transformers cross-encoder, by folder or hub id.",
        needs=("sentence_transformers", "torch", "transformers"),
    ),
)

SELECTORS = Registry(
    "selector",
    Row("first", "ragkit.prompt.select:FirstSelector", "The first of the bank, in its order."),
    Row("random", "ragkit.prompt.select:RandomSelector", "A seeded random draw, the same for every question."),
    Row("nearest", "ragkit.prompt.select:NearestSelector", "The most similar to the question, nearest last."),
    Row("diverse", "ragkit.prompt.select:DiverseSelector", "Similar to the question but unlike each other (MMR)."),
    Row("balanced", "ragkit.prompt.select:BalancedSelector", "As many for each distinct answer, the nearest of each."),
)

GENERATORS = Registry(
    "generator",
    Row(
        "openvino",
        "ragkit.generate.openvino:OpenVINOGenerator",
        "Fast on a CPU: reads GGUF files and OpenVINO folders, keeps a prefix cache.",
        needs=("openvino_genai", "openvino"),
    ),
    Row(
        "transformers",
        "ragkit.generate.transformers:TransformersGenerator",
        "Any causal or seq2seq model, any PEFT adapter, GPU where there is one.",
        needs=("transformers", "torch", "peft"),
    ),
    Row(
        "reader",
        "ragkit.generate.reader:ReaderGenerator",
        "Quotes the answer from one passage with an encoder; follows no instruction.",
        needs=("openvino", "tokenizers"),
    ),
    Row("echo", "ragkit.generate.echo:EchoGenerator", "Quotes the first passage, no model: for tests and demos."),
)

TASKS = Registry(
    "tuning task",
    Row(
        "generate",
        "ragkit.tune.run:GenerateRun",
        "A language model learns to reply to the prompt.",
        needs=("torch", "transformers", "peft"),
    ),
    Row(
        "extract",
        "ragkit.tune.run:ExtractRun",
        "An encoder learns to quote the answer from the passages, or that they do not hold one.",
        needs=("torch", "transformers", "peft"),
    ),
)

TUNERS = Registry(
    "tuning method",
    Row(
        "lora",
        "ragkit.tune.methods:Lora",
        "Low-rank adaptation: a few million weights beside the model's own; rsLoRA and DoRA as settings.",
        needs=("torch", "peft"),
    ),
    Row("full", "ragkit.tune.methods:Full", "All weights learn: a whole model comes out.", needs=("torch", "peft")),
)

METRICS = Registry(
    "metric",
    Row("recall", "ragkit.evaluate.retrieval:recall_row", "Share of the gold pages among the retrieved passages."),
    Row("mrr", "ragkit.evaluate.retrieval:mrr_row", "1 / rank of the first gold page."),
    Row(
        "ndcg",
        "ragkit.evaluate.retrieval:ndcg_row",
        "Discounted gain of the ranking over that of the ideal one, first ten pages.",
    ),
    Row("map", "ragkit.evaluate.retrieval:map_row", "Average precision over the retrieved pages."),
    Row("exact-match", "ragkit.evaluate.answers:exact_match_row", "SQuAD exact match with the best gold answer."),
    Row("f1", "ragkit.evaluate.answers:f1_row", "SQuAD token F1 with the best gold answer."),
    Row("rouge-l", "ragkit.evaluate.answers:rouge_l_row", "Longest common subsequence with the best gold answer."),
    Row(
        "citation-precision",
        "ragkit.evaluate.answers:citation_precision_row",
        "Share of the cited passages that hold the answer.",
    ),
    Row(
        "citation-recall",
        "ragkit.evaluate.answers:citation_recall_row",
        "Share of the sentences that cite a passage which holds the answer.",
    ),
    Row("support", "ragkit.evaluate.answers:support_row", "Share of the answer's words that stand in its passages."),
    Row("abstention", "ragkit.evaluate.answers:abstention_row", "1 if it answered just when there was an answer."),
    Row("false-answer", "ragkit.evaluate.answers:false_answer_row", "1 if an unanswerable question was answered."),
    Row("false-refusal", "ragkit.evaluate.answers:false_refusal_row", "1 if an answerable question was not answered."),
    Row("length", "ragkit.evaluate.answers:length_row", "Words of the answer."),
    Row("seconds", "ragkit.evaluate.answers:seconds_row", "Seconds to the end of the answer."),
    Row("first-token", "ragkit.evaluate.answers:first_token_row", "Seconds to the model's first token."),
    Row("tokens", "ragkit.evaluate.answers:tokens_row", "Tokens of the answer."),
)

REGISTRIES = {
    "embedders": EMBEDDERS,
    "indexes": INDEXES,
    "retrievers": RETRIEVERS,
    "rerankers": RERANKERS,
    "selectors": SELECTORS,
    "generators": GENERATORS,
    "tasks": TASKS,
    "methods": TUNERS,
    "metrics": METRICS,
}
