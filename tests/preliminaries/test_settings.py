"""The settings of a run: what is refused, what names a result, and that no default changes unnoticed."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.preliminaries.settings import (
    DEFAULT_SPECIAL_TOKENS,
    END_OF_TEXT,
    PRESETS,
    CorpusConfig,
    ExpertConfig,
    LatentConfig,
    ModelConfig,
    RopeConfig,
    Run,
    SamplingConfig,
    ShardConfig,
    TokenizerConfig,
    TrainConfig,
    choose_preset,
    keyed,
    unkeyed,
)

# Every setting with its default. Keys leave out what has its default, so a result that was made with the old default would
# be found under the same key. Whoever changes a line of this table must therefore also raise the `version` with which the
# stage is built (`Workspace.build`, `begin`): of the corpus, the tokenizer, the shards or the base model. A new line needs a
# default that does what was done before. `unkeyed` settings are marked, and may change freely.
DEFAULTS = {
    "corpus": {
        "source": "stdlib",
        "quality": True,
        "jaccard_threshold": 0.8,
        "languages": ("en",),
        "end_punctuation": False,
        "toxicity": True,
        "mask": True,
        "limit": None,
        "tasks": None,
        "repeated_lines": None,
    },
    "tokenizer": {
        "vocab_size": 4096,
        "pattern": "gpt2",
        "special_tokens": ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    },
    "shards": {"held_out_percent": 5},
    "model": {
        "vocab_size": None,
        "context": 256,
        "width": 256,
        "layers": 6,
        "heads": 4,
        "kv_heads": None,
        "head_width": None,
        "ff_width": None,
        "rope_base": 10000.0,
        "rope": RopeConfig(),
        "qk_norm": True,
        "tie_embeddings": True,
        "attention": "multihead",
        "latent": LatentConfig(),
        "window": None,
        "sinks": 0,
        "norm": "rms",
        "norm_place": "pre",
        "feed_forward": "swiglu",
        "experts": ExpertConfig(),
        "positions": "rope",
        "bias": False,
        "norm_eps": 1e-6,
        "init_std": 0.02,
        "logit_cap": None,
        "qk_gain": False,
        "stream_scalars": False,
        "value_embeddings": False,
        "ngram_rows": 0,
    },
    "model.rope": {"scaling": "none", "factor": 1.0, "trained_context": None, "slow": None, "fast": None},
    "model.latent": {"kv_rank": None, "q_rank": None, "nope_width": None, "rope_width": None, "value_width": None},
    "model.experts": {
        "count": 0,
        "per_token": 2,
        "shared": 0,
        "width": None,
        "dense_layers": 0,
        "scoring": "softmax",
        "renormalize": True,
        "scale": 1.0,
        "capacity_factor": None,
        "balance": 0.01,
    },
    "training": {
        "steps": 500,
        "minutes": None,
        "batch_size": 16,
        "optimizer": "muon",
        "learning_rate": 0.02,
        "table_learning_rate": 0.003,
        "weight_decay": 0.0,
        "warmup_steps": 20,
        "final_fraction": 0.0,
        "clip_norm": 1.0,
        "precision": "auto",
        "seed": 0,
    },
}
UNKEYED = {
    "training": {
        "micro_batch_size": None,
        "compile": False,
        "parallel": "ddp",
        "evaluate_every": 100,
        "evaluation_windows": 128,
        "checkpoint_seconds": 30.0,
    },
}
SECTIONS = {
    "corpus": CorpusConfig,
    "tokenizer": TokenizerConfig,
    "shards": ShardConfig,
    "model": ModelConfig,
    "training": TrainConfig,
}
NESTED = {"model.rope": RopeConfig, "model.latent": LatentConfig, "model.experts": ExpertConfig}
ALL = SECTIONS | NESTED


# ---------------------------------------------------------------- defaults and keys


def test_a_changed_default_comes_with_a_new_version():
    assert {part.name: type(part.default) for part in fields(Run)} == SECTIONS
    assert {f"model.{part.name}": type(part.default) for part in fields(ModelConfig) if is_dataclass(part.default)} == NESTED
    for name, section in ALL.items():
        found = {True: {}, False: {}}
        for spec in fields(section):
            found[spec.metadata.get("keyed", True)][spec.name] = getattr(section(), spec.name)
        for keyed_here, table in ((True, DEFAULTS), (False, UNKEYED)):
            expected = table.get(name, {})
            changed = {key: value for key, value in found[keyed_here].items() if key not in expected or expected[key] != value}
            gone = expected.keys() - found[keyed_here].keys()
            assert not changed and not gone, (
                f"{section.__name__}: changed or new {changed}, gone {sorted(gone)}. A changed or removed default keeps the keys "
                f"of old results: raise the version with which this stage is built, then write the default into this table."
            )


def test_defaults_have_an_empty_key_and_other_values_do_not():
    assert keyed(Run()) == {} == keyed(PRESETS["laptop"])
    assert keyed(PRESETS["tiny"]) == {
        "tokenizer": {"vocab_size": 512},
        "model": {"context": 64, "width": 64, "layers": 2, "heads": 2},
        "training": {"steps": 60, "batch_size": 8, "warmup_steps": 5},
    }


# Another possible value, by setting and else by the type of the default.
OTHER = {
    "pattern": "gpt4",
    "norm": "layer",
    "feed_forward": "gelu",
    "positions": "learned",
    "optimizer": "adamw",
    "precision": "float32",
    "parallel": "fsdp",
    "vocab_size": 1000,
    "rope_base": 500.0,
    "width": 264,
    "heads": 2,
    "kv_heads": 2,
    "head_width": 8,
    "attention": "latent",
    "norm_place": "post",
    "scaling": "yarn",
    "factor": 2.0,
    "rope_width": 4,
    "scoring": "sigmoid",
}
OF_TYPE = {str: "other", int: 3, float: 0.5, tuple: (END_OF_TEXT, "xx"), type(None): 1}
NAMES = [(section, name) for table in (DEFAULTS, UNKEYED) for section in table for name in table[section]]
NAMES = [(section, name) for section, name in NAMES if name != "sinks" and f"model.{name}" not in NESTED]


@pytest.mark.parametrize("section, name", NAMES)
def test_each_setting_names_the_result_exactly_if_it_is_keyed(section, name):
    default = ALL[section]()
    value = getattr(default, name)
    other = not value if isinstance(value, bool) else OTHER.get(name, OF_TYPE[type(value)])
    changed = replace(default, **{name: other})
    plain = list(other) if isinstance(other, tuple) else other
    assert keyed(changed) == ({name: plain} if name in DEFAULTS[section] else {})


def test_keyed_leaves_other_values_and_containers_alone():
    @dataclasses.dataclass
    class Pair:
        a: int
        b: list = dataclasses.field(default_factory=list)
        c: int = unkeyed(3)

    assert keyed([Pair(1), {"x": Pair(2, [3], 4)}, "text", None]) == [{"a": 1}, {"x": {"a": 2, "b": [3]}}, "text", None]
    assert keyed(Pair) is Pair and keyed(Pair(1)) == {"a": 1}


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 10**6), st.floats(1e-9, 1e9))
def test_keys_survive_json(steps, rate):
    config = TrainConfig(steps=steps, learning_rate=rate)
    assert json.loads(json.dumps(keyed(config))) == keyed(config)
    assert TrainConfig(**keyed(config)) == config


# ---------------------------------------------------------------- what is refused


NAN, INF = math.nan, math.inf
WHOLE = [0, -1, 1.0, 2.5, NAN, INF, True, "3"]
NUMBER = [0, -1.0, NAN, INF, -INF, True, "0.1"]


def wrong_values():
    """(section, field, impossible value)."""
    for section, names in {
        CorpusConfig: ["limit", "tasks", "repeated_lines"],
        TokenizerConfig: ["vocab_size"],
        ShardConfig: ["held_out_percent"],
        ModelConfig: ["vocab_size", "context", "width", "layers", "heads", "kv_heads", "ff_width", "head_width", "window"],
        RopeConfig: ["trained_context"],
        LatentConfig: ["kv_rank", "q_rank", "nope_width", "rope_width", "value_width"],
        ExpertConfig: ["per_token", "width"],
        TrainConfig: ["steps", "batch_size", "micro_batch_size", "evaluate_every", "evaluation_windows"],
    }.items():
        yield from ((section, name, value) for name in names for value in WHOLE)
    for section, names in {
        ModelConfig: ["norm_eps", "init_std", "logit_cap"],
        RopeConfig: ["factor", "slow", "fast"],
        ExpertConfig: ["scale", "capacity_factor"],
        TrainConfig: ["learning_rate", "table_learning_rate", "clip_norm", "minutes", "checkpoint_seconds"],
    }.items():
        yield from ((section, name, value) for name in names for value in NUMBER)
    for section, name, values in [
        (CorpusConfig, "source", ["", "  "]),
        (CorpusConfig, "jaccard_threshold", [0, -0.1, 1.0001, NAN, INF]),
        (CorpusConfig, "languages", ["en"]),
        (TokenizerConfig, "vocab_size", [255, 256, 260, None]),
        (TokenizerConfig, "pattern", ["gpt3", "", None]),
        (TokenizerConfig, "special_tokens", [(), ("<|end|>",), END_OF_TEXT]),
        (ShardConfig, "held_out_percent", [51, 100, None]),
        (ModelConfig, "width", [255, None]),
        (ModelConfig, "heads", [3, 257, None]),
        (ModelConfig, "heads", [256]),  # a head width of 1 has no pairs
        (ModelConfig, "kv_heads", [3, 8]),
        (ModelConfig, "rope_base", [1, 0.5, 0, -1, NAN, INF]),
        (ModelConfig, "attention", ["linear", None]),
        (ModelConfig, "norm_place", ["both"]),
        (ModelConfig, "sinks", [-1, 1.5, 2]),  # without a window
        (ModelConfig, "ngram_rows", [-1, 0.5]),
        (ModelConfig, "head_width", [7]),
        (RopeConfig, "scaling", ["dynamic"]),
        (RopeConfig, "factor", [0.5]),
        (LatentConfig, "rope_width", [3]),
        (ExpertConfig, "count", [-1, 1.5, 1]),  # fewer than per_token
        (ExpertConfig, "shared", [-1]),
        (ExpertConfig, "dense_layers", [-1]),
        (ExpertConfig, "scoring", ["tanh"]),
        (ExpertConfig, "balance", [-1.0, NAN, INF]),
        (ModelConfig, "norm", ["batch"]),
        (ModelConfig, "feed_forward", ["relu"]),
        (ModelConfig, "positions", ["alibi"]),
        (TrainConfig, "warmup_steps", [-1, 1.5, True, None]),
        (TrainConfig, "seed", [-1, 0.5, True, None]),
        (TrainConfig, "steps", [None]),
        (TrainConfig, "learning_rate", [None]),
        (TrainConfig, "optimizer", ["sgd"]),
        (TrainConfig, "precision", ["float16"]),
        (TrainConfig, "parallel", ["tp"]),
        (TrainConfig, "final_fraction", [-0.1, 1.1, NAN, INF]),
        (TrainConfig, "weight_decay", [-1, NAN, INF]),
        (SamplingConfig, "temperature", [-1, -1e-9, NAN, INF, True, None, "1"]),
        (SamplingConfig, "top_k", [0, -3, 2.5, True]),
        (SamplingConfig, "top_p", [0, -0.1, 1.0001, 90, NAN, True]),
        (SamplingConfig, "min_p", [0, -0.1, 1.0001, NAN, True]),
        (SamplingConfig, "repetition_penalty", [0, -1, NAN, INF, None]),
    ]:
        yield from ((section, name, value) for value in values)


@pytest.mark.parametrize("section, name, value", list(wrong_values()), ids=lambda value: getattr(value, "__name__", repr(value)))
def test_an_impossible_value_is_one_line_with_field_value_and_way_out(section, name, value):
    with pytest.raises(ValueError) as caught:
        section(**{name: value})
    line = str(caught.value)
    shown = repr(list(value)) if isinstance(value, tuple) else repr(value)
    assert "\n" not in line and ("give" in line or "choose" in line or "add" in line)
    assert name in line or (name == "heads" and "heads" in line)
    assert shown in line or str(value) in line


@pytest.mark.parametrize(
    "fine",
    [
        lambda: ModelConfig(width=6, heads=3, positions="rope"),
        lambda: ModelConfig(width=9, heads=3, positions="learned"),  # odd head widths are fine without pairs
        lambda: ModelConfig(heads=4, kv_heads=1),
        lambda: TrainConfig(warmup_steps=0, learning_rate=1, minutes=0.1, micro_batch_size=3),
        lambda: CorpusConfig(languages=[], jaccard_threshold=1),
        lambda: ShardConfig(50),
        lambda: TokenizerConfig(257, special_tokens=[END_OF_TEXT]),
        lambda: Run(model=ModelConfig(vocab_size=4096)),
        lambda: SamplingConfig(temperature=0, top_k=1, top_p=1, min_p=1.0, repetition_penalty=0.5),
        lambda: SamplingConfig(temperature=1e300, top_k=10**9, top_p=1e-9, min_p=1e-9),
    ],
)
def test_possible_values_at_the_border_are_accepted(fine):
    fine()


@pytest.mark.parametrize("section", [*SECTIONS.values(), Run, SamplingConfig])
def test_unknown_names_and_changes_in_place_are_refused(section):
    with pytest.raises(TypeError, match="no_such_setting"):
        section(no_such_setting=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(section(), fields(section)[0].name, 1)
    assert hash(section()) == hash(section()) and section() == section()


def test_a_vocabulary_has_one_owner():
    with pytest.raises(ValueError, match=r"model.vocab_size=512: .* 4096 ids; give tokenizer.vocab_size"):
        Run(model=ModelConfig(vocab_size=512))
    assert Run(CorpusConfig(), TokenizerConfig(512), model=ModelConfig(vocab_size=512))


def test_sequences_become_tuples():
    assert CorpusConfig(languages=["en", "de"]).languages == ("en", "de")
    assert TokenizerConfig(special_tokens=list(DEFAULT_SPECIAL_TOKENS)) == TokenizerConfig()


def test_presets_are_chosen_by_name():
    assert choose_preset("laptop") == Run() and choose_preset("tiny") is PRESETS["tiny"]
    with pytest.raises(ValueError, match="preset='large': choose one of tiny, laptop"):
        choose_preset("large")


def test_settings_need_nothing_but_python():
    code = "import sys, llmbook.preliminaries.settings; print(sorted({'torch', 'numpy', 'tyro', 'tokenizers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
