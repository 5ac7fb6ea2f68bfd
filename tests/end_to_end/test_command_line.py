"""The commands as a user runs them: every option in both forms, one line for each mistake, and artifacts that are found again."""

import dataclasses
import inspect
import json
import operator
import os
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import llmbook
from llmbook.end_to_end import command_line
from llmbook.end_to_end.command_line import (
    COMMANDS,
    _arguments,
    _command,
    _full_words,
    _message,
    _nearest,
    _options,
    _outline,
    _sections,
    _tidy,
    _value_of,
    main,
)
from llmbook.preliminaries.settings import PRESETS, CorpusConfig, ExpertConfig, ModelConfig, RopeConfig
from llmbook.preliminaries.workspace import Workspace

ROOT = Path(llmbook.__file__).parent


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(40):
        body = "".join(f"    total = total + items[{line}] * {number}\n" for line in range(number % 7 + 5))
        (folder / f"module_{number}.py").write_text(f"def add_{number}(items, total):\n{body}    return total\n" * 5)
    return folder


def failure(capsys, status, *words):
    """Run a command that must fail with this status; return its one line."""
    assert main([str(word) for word in words]) == status
    captured = capsys.readouterr()
    lines = [line for line in re.split(r"[\r\n]+", captured.err) if line.startswith("llmbook: ")]
    assert len(lines) == 1 and "Traceback" not in captured.err and "╭" not in captured.err
    return lines[0].removeprefix("llmbook: ")


def success(capsys, *words):
    """Run a command that must succeed; return the lines that it prints."""
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out.splitlines()


def python(code, *words, package=ROOT.parent, **environment):
    """Run code in a fresh process, with the package that lies in a folder; return what it printed."""
    env = os.environ | {"PYTHONPATH": str(package), **environment}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=env, cwd=package)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------- signatures and options


def test_an_outline_is_what_the_function_is():
    for name in COMMANDS:
        outline, command = _outline(name), _command(name)
        assert inspect.signature(outline) == inspect.signature(command)
        assert outline.__doc__ == command.__doc__ and len(outline.__doc__.splitlines()[0]) < 92
        assert outline is not command


HEAVY = "{'torch', 'datatrove', 'tokenizers', 'numpy', 'pyarrow', 'matplotlib'}"


@pytest.mark.parametrize(
    "words, status",
    [
        ([], 0),
        (["--help"], 0),
        (["pretrain", "--help"], 0),
        (["generate", "-h"], 0),
        (["pretrain", "--stepps", "3"], 2),
        (["pretrain", "--vocab-size", "255"], 2),
        (["pretrain", "--learning-rate", "inf"], 2),
        (["pretrain", "--heads", "3"], 2),
        (["pretrain", "--preset", "huge"], 2),
        (["pretrain", "--steps", "many"], 2),
    ],
)
def test_help_and_mistakes_wait_for_nothing_heavy(words, status, tmp_path):
    code = f"""
import sys
from llmbook.end_to_end.command_line import main
status = main(sys.argv[1:])
print(status, sorted({HEAVY} & sys.modules.keys()))
"""
    home = tmp_path / "home"
    assert python(code, *words, LLMBOOK_HOME=str(home)).splitlines()[-1] == f"{status} []"
    assert not home.exists()


def values(name, default, hint):
    """Words for an option that differ from its default where they can, and the value that they stand for."""
    options = [kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        other = next((choice for choice in options if choice != default), default)
        return [other], other
    kind = options[0]
    if name == "special_tokens":
        return ["<|endoftext|>", "<|x|>"], ("<|endoftext|>", "<|x|>")
    if typing.get_origin(hint) is tuple:
        return ["de", "fr"], ("de", "fr")
    if kind is bool:
        return [], not default
    if kind is int:
        number = {"seed": 7, "top_k": 3}.get(name, 2 * default if default else 2)
        return [str(number)], number
    if kind is float:
        number = 4.0 if name == "factor" else default / 2 if default else 0.5
        return [str(number)], number
    word = {"pattern": "gpt4"}.get(name, "some")
    return [word], kind(word)


def cases():
    for name in COMMANDS:
        outline = _outline(name)
        hints, sections = typing.get_type_hints(outline), _sections(outline)
        for parameter in inspect.signature(outline).parameters.values():
            if parameter.name not in sections and parameter.kind != parameter.POSITIONAL_ONLY:
                yield name, None, parameter.name, parameter.default, hints[parameter.name]
        for section, config in sections.items():
            yield from ((name, section, *setting) for setting in settings_of(config))


def settings_of(config, outer=""):
    """Name, default and type of each setting, those of inner sections with a dot."""
    kinds = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from settings_of(value, f"{outer}{field.name}.")
        elif field.name != "sinks":  # which need a window
            yield f"{outer}{field.name}", value, kinds[field.name]


@pytest.mark.parametrize(
    "name, section, field, default, hint", [pytest.param(*case, id=".".join(filter(None, case[:3]))) for case in cases()]
)
def test_every_option_in_both_forms(name, section, field, default, hint, monkeypatch):
    monkeypatch.setattr(command_line, "_earlier_corpus", lambda options: {})
    words, expected = values(field.split(".")[-1], default, hint)
    if (section, field) == ("model", "vocab_size"):
        words, expected = ["4096"], 4096
    inner, dot, option = field.replace("_", "-").rpartition(".")
    if isinstance(default, bool) and default:
        option = f"no-{option}"
    option = inner + dot + option
    forms = [f"--{section}.{option}" if section else f"--{option}"]
    if (section, field) != ("model", "vocab_size"):  # whose short form is the tokenizer's
        forms.append(f"--{option}")
    for form in [*forms, *(form.replace("-", "_").replace("__", "--", 1) for form in forms)]:
        _, options = _arguments(name, [form, *words])
        found = operator.attrgetter(field)(options[section]) if section else options[field]
        assert found == expected and (found != default or expected == default)
        if len(words) == 1:
            _, again = _arguments(name, [f"{form}={words[0]}"])
            assert again == options


def test_short_forms_that_two_sections_share():
    for name in COMMANDS:
        sections = _sections(_outline(name)).items()
        fields = [field for _, config in sections for field, _, _ in settings_of(config)]
        assert {field for field in fields if fields.count(field) > 1} <= {"vocab_size"}
        own = inspect.signature(_outline(name)).parameters.keys() - {section for section, _ in sections}
        assert not own & {*fields, "preset"}
    assert _options(_outline("pretrain"))["--vocab-size"] == "--tokenizer.vocab-size"


def test_settings_of_inner_sections_and_those_that_need_another(monkeypatch):
    monkeypatch.setattr(command_line, "_earlier_corpus", lambda options: {})
    words = ["--experts.count", "4", "--model.experts.no-renormalize", "--window=9", "--sinks", "2", "--rope.scaling=yarn"]
    _, options = _arguments("pretrain", words)
    assert options["model"].experts == ExpertConfig(4, renormalize=False)
    assert (options["model"].window, options["model"].sinks, options["model"].rope) == (9, 2, RopeConfig("yarn"))
    for wrong in ("--sinks", "--count", "--model.experts"):
        with pytest.raises((command_line._UsageError, SystemExit)):
            _arguments("pretrain", [wrong, "2"])


def test_a_preset_replaces_the_defaults_of_all_sections(monkeypatch):
    monkeypatch.setattr(command_line, "_earlier_corpus", lambda options: {})
    _, options = _arguments("pretrain", ["--preset", "tiny", "--width=128", "--steps", "3"])
    tiny = PRESETS["tiny"]
    assert options["model"] == dataclasses.replace(tiny.model, width=128)
    assert options["training"] == dataclasses.replace(tiny.training, steps=3)
    assert options["tokenizer"] == tiny.tokenizer and options["shards"] == tiny.shards
    assert "preset" not in options
    _, options = _arguments("tokenizer", ["--preset=tiny"])
    assert options["tokenizer"] == tiny.tokenizer
    assert _arguments("pretrain", []) == _arguments("pretrain", ["--preset", "laptop"])


def test_what_is_given_wins_over_an_earlier_corpus(monkeypatch, tmp_path):
    asked = []

    def last_corpus(workspace, source):
        asked.append((workspace.root, source))
        return CorpusConfig(source, quality=False, mask=False)

    monkeypatch.setattr("llmbook.data.pipeline.last_corpus", last_corpus)
    _, options = _arguments("shards", ["--source", "here", "--mask", "--workspace", str(tmp_path)])
    assert options["corpus"] == CorpusConfig("here", quality=False) and asked == [(tmp_path, "here")]
    _, options = _arguments("data", ["--source", "here"])
    assert options["corpus"] == CorpusConfig("here") and len(asked) == 1


def test_a_new_field_is_an_option_and_nothing_else_is_edited(tmp_path):
    shutil.copytree(ROOT, tmp_path / "llmbook", ignore=shutil.ignore_patterns("__pycache__"))
    settings = tmp_path / "llmbook" / "preliminaries" / "settings.py"
    text = settings.read_text()
    before = "    bias: bool = False  # of all linear maps but the output\n"
    assert text.count(before) == 1
    settings.write_text(text.replace(before, before + "    dropout: float = 0.0  # share of numbers set to 0\n"))
    code = """
import sys
from llmbook.end_to_end import command_line
command_line._earlier_corpus = lambda options: {}
_, options = command_line._arguments("pretrain", sys.argv[1:])
print(options["model"].dropout)
command_line.main(["pretrain", "--help"])
"""
    for form in ("--dropout", "--model.dropout"):
        out = python(code, form, "0.25", package=tmp_path)
        assert out.startswith("0.25\n")
        assert re.search(r"--model\.dropout FLOAT\s+share of numbers set to 0 \(default: 0\.0\)", out)


def test_words_are_told_from_options():
    ways = _options(_outline("generate"))
    assert _full_words("generate", ["- a list", "-5", "-1e3", "--", "--foo", "-x"], ways) == [
        "- a list",
        "-5",
        "-1e3",
        "--",
        "--foo",
        "-x",
    ]
    assert _full_words("generate", ["--top_k=3", "--seed", "-1"], ways) == ["--sampling.top-k=3", "--seed", "-1"]
    assert _value_of("--a", ["--a", "1", "--a=2", "b"]) == "2" and _value_of("--a", ["b"]) is None
    assert _nearest("--sede", ["--seed", "--top-k"]) == "; did you mean --seed?" and _nearest("zzz", ["seed"]) == ""


def test_texts_of_tyro_are_made_short():
    assert (
        _message(" Value error \n ------ \n  Error parsing model: width=1: give\n  more \n ------ \n help") == "width=1: give more"
    )
    assert _message("something else") == "something else"
    assert _tidy("a --x {None}|INT  b") == "a --x INT         b" and max(map(len, _tidy("word " * 40).splitlines())) <= 80


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_option_with_type_and_default(command, capsys):
    shown = success(capsys, command, "--help")
    assert max(map(len, shown)) <= 80 and not any(line != line.rstrip() for line in shown)
    text, outline = " ".join(" ".join(shown).split()), _outline(command)
    assert " ".join(outline.__doc__.split("\n\n")[0].split()) in text
    ways = {full for full in _options(outline).values() if full not in ("-h", "--help")}
    assert all(re.search(rf"(?<!\S){re.escape(way)}(?=[ ,])", text) for way in ways)
    switches = {way for way in ways if re.search(r"(^--|\.)no-", way)}
    kinds = [parameter.kind for parameter in inspect.signature(outline).parameters.values()]
    assert text.count("(default:") == len(ways - switches) + kinds.count(inspect.Parameter.POSITIONAL_ONLY)
    for section, config in _sections(outline).items():
        assert f"{section} options" in text
        for field, _, _ in settings_of(config):
            name = field.replace("_", "-")
            help_text = text.split(f"--{section}.{name}")[-1].split("(default:")[0]
            assert len(help_text.split()) > 1, f"{section}.{field} has no help: write a comment behind the field"


def test_the_overview_names_all_commands(capsys):
    for words in ([], ["--help"], ["-h"]):
        shown = success(capsys, *words)
        assert max(map(len, shown)) <= 80
        assert [line.split()[0] for line in shown if re.match(r"  [a-z]", line)] == [*COMMANDS]


def test_help_of_a_preset_shows_its_defaults(capsys):
    text = " ".join(" ".join(success(capsys, "pretrain", "--preset", "tiny", "--help")).split())
    assert re.search(r"--model\.width INT [^(]*\(default: 64\)", text)


def test_shells_complete_the_options(capsys):
    assert any("--training.learning-rate" in line for line in success(capsys, "completion"))
    assert success(capsys, "completion", "zsh")[0] == "#compdef llmbook"
    assert "there is no 'cmd'" in failure(capsys, 2, "completion", "cmd")


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "words, line",
    [
        ("pretrian", "there is no command pretrian; did you mean pretrain?"),
        ("xyzzy", "there is no command xyzzy: choose one of data, tokenizer, "),
        ("pretrain --stepps 3", "pretrain has no option --stepps; did you mean --steps?"),
        ("pretrain --model.widht 3", "did you mean --model.width?"),
        ("pretrain --no-steps", "pretrain has no option --no-steps; did you mean "),
        ("generate --zzz", "generate has no option --zzz; see llmbook generate --help"),
        ("generate -hello", "generate has no option -hello"),
        ("pretrain --preset huge", "preset='huge': choose one of tiny, laptop"),
        ("pretrain --preset", "--preset needs a value"),
        ("pretrain --width", "--model.width needs a value"),
        ("pretrain --width 250", "width=250: give a multiple of heads, 4"),
        ("pretrain --heads 3", "width=256: give a multiple of heads, 3"),
        ("pretrain --vocab-size 255", "vocab_size=255: give a whole number of at least 261"),
        ("pretrain --model.vocab-size 300", "model.vocab_size=300: the vocabulary is the tokenizer's, 4096 ids"),
        ("pretrain --learning-rate inf", "learning_rate=inf: give a finite number above 0"),
        ("pretrain --learning-rate -1", "learning_rate=-1.0"),
        ("pretrain --context 0", "context=0"),
        ("pretrain --steps 0", "steps=0"),
        ("pretrain --steps many", "--training.steps: 'many' is no whole number"),
        ("pretrain --minutes soon", "--training.minutes: give FLOAT or None, not 'soon'"),
        ("pretrain --rope-base x", "--model.rope-base: 'x' is no number"),
        ("pretrain --optimizer sgd", "--training.optimizer: there is no 'sgd'; choose one of 'muon', 'adamw'"),
        ("pretrain --quality false", "there is no place for false"),
        ("pretrain more", "there is no place for more"),
        ("shards --held-out-percent 99", "held_out_percent=99"),
        ("data --jaccard-threshold 0", "jaccard_threshold=0.0"),
        ("tokenizer --special-tokens a", "special_tokens=['a']: add '<|endoftext|>'"),
    ],
)
def test_words_that_cannot_be_understood(words, line, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMBOOK_HOME", str(tmp_path / "home"))
    assert line in failure(capsys, 2, *words.split(" "))
    assert not (tmp_path / "home").exists()


def test_stages_that_fail_say_why_in_one_line(tmp_path, capsys, source):
    place = ("--workspace", tmp_path / "workspace")
    empty = tmp_path / "empty"
    empty.mkdir()
    latin = tmp_path / "latin.txt"
    latin.write_bytes("caf\xe9 au lait".encode("latin-1"))
    assert "missing" in failure(capsys, 1, "pretrain", "--source", tmp_path / "missing", *place)
    assert "empty" in failure(capsys, 1, "data", "--source", empty, *place)
    assert "latin.txt" in failure(capsys, 1, "data", "--source", latin, *place)
    assert "device='tpu'" in failure(capsys, 2, "pretrain", "--device", "tpu", "--source", source, *place)
    assert "no base" in failure(capsys, 1, "generate", "x", *place)
    assert "seed=-1" in failure(capsys, 2, "generate", "x", "--seed", "-1", *place)
    assert "seed=18446744073709551616" in failure(capsys, 2, "generate", "x", "--seed", 2**64, *place)
    assert "temperature=nan" in failure(capsys, 2, "generate", "--temperature", "nan", *place)
    assert "caf" not in failure(capsys, 1, "generate", "caf\udce9", *place)
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "LLMBOOK_HOME" in failure(capsys, 2, "tokenizer", "--source", source, "--workspace", blocked / "x")


@pytest.mark.parametrize(
    "words, message",
    [
        ("data --source=", "source=''"),
        ("data --source=\t", "source="),
        ("shards --source=", "source=''"),
        ("tokenizer --source=", "source=''"),
        ("pretrain --corpus.source=", "source=''"),
        ("data --source SOURCE --workers 0", "workers=0"),
        ("data --source SOURCE --workers -1", "workers=-1"),
        ("tokenizer --source SOURCE --workers 0", "workers=0"),
        ("shards --source SOURCE --workers 0", "workers=0"),
        ("pretrain --source SOURCE --workers 0", "workers=0"),
        ("data --source SOURCE --out=", "out="),
        ("data --source SOURCE --out FILE", "FILE"),
        ("data --source SOURCE --out FILE/x", "FILE"),
        ("data --source SOURCE --out SOURCE/x", "SOURCE"),
        ("data --source SOURCE --out OTHER", "holds other files"),
        ("data --source SOURCE --workspace FILE", "FILE is not a folder"),
        ("artifacts --workspace FILE", "FILE is not a folder"),
        ("artifacts --workspace=", "workspace=''"),
        ("pretrain --source SOURCE --workspace FILE", "FILE is not a folder"),
        ("generate x --workspace FILE", "FILE is not a folder"),
    ],
)
def test_words_that_cannot_be_carried_out(tmp_path, capsys, monkeypatch, source, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMBOOK_HOME", str(tmp_path / "home"))
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("of mine")
    for name, place in (("SOURCE", source), ("FILE", tmp_path / "file"), ("OTHER", tmp_path / "other")):
        words, message = words.replace(name, str(place)), message.replace(name, str(place))
    before = sorted(tmp_path.rglob("*"))
    assert message in failure(capsys, 2, *re.split(" +", words))
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [path for path in before if path.is_file()]


CLUTTER = (".DS_Store", "._x", "Thumbs.db", "desktop.ini", "lost+found/x", "a.partial", ".0123456789abcdef.partial")


@pytest.mark.parametrize("name", CLUTTER)
def test_what_file_managers_and_killed_writes_leave_is_no_content(tmp_path, capsys, source, name):
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("clutter")
    words = ("data", "--source", source, "--out", out, "--limit", "20", "--workers", "1")
    lines = success(capsys, *words)
    (out / name).write_text("changed since")
    assert success(capsys, *words) == lines
    assert name not in json.loads((out / "manifest.json").read_text())["files"]


def test_ctrl_c_says_that_the_run_can_go_on(monkeypatch, capsys):
    def stopped():
        """Wait."""
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "wait", stopped)
    assert "run the same command again" in failure(capsys, 130, "wait")


def test_a_bug_keeps_its_traceback_and_debug_shows_all(monkeypatch):
    def broken(kind: str = "value"):
        """Break."""
        raise {"value": ValueError, "type": TypeError}[kind]("broken")

    monkeypatch.setitem(COMMANDS, "break", broken)
    assert main(["break"]) == 1
    with pytest.raises(TypeError):
        main(["break", "--kind", "type"])
    monkeypatch.setenv("LLMBOOK_DEBUG", "1")
    with pytest.raises(ValueError, match="broken"):
        main(["break"])


@pytest.mark.parametrize("rank, loud", [(None, True), ("0", True), ("1", False)])
def test_of_several_processes_one_prints(rank, loud, monkeypatch, capsys):
    def shout(fail: bool = False):
        """Shout."""
        print("loud")
        if fail:
            raise RuntimeError("no more memory")

    monkeypatch.setitem(COMMANDS, "shout", shout)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["shout"]) == 0 and main(["shout", "--fale"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "loud\n" * loud and captured.err.count("no option --fale") == loud
    assert main(["shout", "--fail"]) == 1
    assert capsys.readouterr().err == "llmbook: no more memory\n"  # each process fails in its own way


# ---------------------------------------------------------------- the stages


def corpus_line(lines):
    [line] = [line for line in lines if line.startswith("corpus ")]
    return line


def test_each_command_finds_the_corpus_that_another_made(tmp_path, capsys, source):
    place = ("--workspace", tmp_path / "workspace")
    path = success(capsys, "data", "--source", source, "--no-quality", "--no-mask", *place)[-1]
    assert len(list((tmp_path / "workspace" / "corpus").iterdir())) == 1
    used = corpus_line(success(capsys, "tokenizer", "--source", source, "--vocab-size", 300, *place))
    assert "quality=False" in used and "mask=False" in used and Path(path).name[:16] in used
    assert corpus_line(success(capsys, "shards", "--source", source, "--vocab-size", 300, *place)) == used
    assert corpus_line(success(capsys, "shards", "--source", path, "--vocab-size", 300, *place)) == used
    assert len(list((tmp_path / "workspace" / "corpus").iterdir())) == 1
    assert len(list((tmp_path / "workspace" / "tokenizer").iterdir())) == 1
    other = corpus_line(success(capsys, "tokenizer", "--source", source, "--vocab-size", 300, "--mask", *place))
    assert "quality=False" in other and "mask" not in other
    assert len(list((tmp_path / "workspace" / "corpus").iterdir())) == 2


def test_a_corpus_written_to_a_folder_is_a_source(tmp_path, capsys, source):
    place, out = ("--workspace", tmp_path / "workspace"), tmp_path / "out"
    success(capsys, "data", "--source", source, "--no-quality", "--out", out, *place)
    used = corpus_line(success(capsys, "shards", "--source", out, "--vocab-size", 300, *place))
    assert "quality=False" in used and not (tmp_path / "workspace" / "corpus").exists()


def test_the_stages_and_a_damaged_artifact(tmp_path, capsys, source):
    place = ("--workspace", tmp_path / "workspace")
    words = ("pretrain", "--preset", "tiny", "--source", source, "--steps", "12", "--precision", "float32", *place)
    lines = success(capsys, *words)
    assert re.search(r"12 steps, 6,144 tokens, .* float32: \d\.\d{3} bits per byte held out", "\n".join(lines))
    assert corpus_line(lines).endswith("default rules")
    assert success(capsys, "generate", "def ", "--tokens", "10", *place)[0].startswith("def ")
    kinds = [line.split()[0] for line in success(capsys, "artifacts", *place)]
    assert kinds[:4] == ["base", "shards", "tokenizer", "corpus"]
    model = next((tmp_path / "workspace" / "base").iterdir()) / "model.safetensors"
    good = model.read_bytes()
    model.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert "model.safetensors has changed" in failure(capsys, 1, "generate", "x", *place)
    success(capsys, *words)  # trains again, and to the same bits
    assert model.read_bytes() == good


def test_generate_takes_base_models_only(tmp_path, capsys, source):
    place = ("--workspace", tmp_path / "workspace")
    success(capsys, "pretrain", "--preset", "tiny", "--source", source, "--steps", "2", *place)
    base = next((tmp_path / "workspace" / "base").iterdir())

    def copy(folder):
        for name in json.loads((base / "manifest.json").read_text())["files"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(base / name, folder / name)
        (folder / "model.safetensors").write_bytes(b"of another kind")

    for kind in ("chat", "reward"):
        Workspace(tmp_path / "workspace").build(kind, ModelConfig(), copy)
    assert success(capsys, "generate", "def ", "--tokens", "3", *place)[0].startswith("def ")
    chat = next((tmp_path / "workspace" / "chat").iterdir()).name
    assert "base" in failure(capsys, 1, "generate", "def ", "--model", chat[:12], *place)
