"""The commands as a user runs them: help, one line for each mistake, and earlier artifacts intact."""

import inspect
import re
import subprocess
import sys

import pytest

from llmbook.end_to_end.command_line import COMMANDS, chosen_preset, main, one_line, open_workspace


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(40):
        body = "".join(f"    total = total + items[{line}] * {number}\n" for line in range(number % 7 + 5))
        (folder / f"module_{number}.py").write_text(f"def add_{number}(items, total):\n{body}    return total\n" * 5)
    return folder


def failure(capsys, *words):
    """Run a command that must fail; return its one line."""
    assert main([str(word) for word in words]) == 1
    captured = capsys.readouterr()
    lines = [line for line in re.split(r"[\r\n]+", captured.err) if line.startswith("llmbook: ")]
    assert len(lines) == 1 and "Traceback" not in captured.err
    return lines[0]


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_shows_types_and_defaults(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"] if command else ["--help"])
    shown = capsys.readouterr().out
    assert stopped.value.code == 0
    if command is None:
        assert all(name in shown for name in COMMANDS)
    else:
        options = inspect.signature(COMMANDS[command]).parameters
        named = [name for name in options if name != "prompt"]
        assert all(f"--{name.replace('_', '-')}" in shown for name in named)
        assert " ".join(shown.split()).count("(default:") == len(options)
        assert len(re.findall(r"STR|INT|FLOAT|PATH|--no-|\{\w+,", shown)) >= len(options)


def test_help_is_light():
    code = "import sys\nfrom llmbook.end_to_end import command_line\nprint('torch' in sys.modules, 'datatrove' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False", "False"]


def test_unknown_option_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["pretrain", "--stepps", "3"])
    assert stopped.value.code == 2 and "--stepps" in capsys.readouterr().err


def test_bad_values_are_one_line(tmp_path, capsys, source):
    place = ("--workspace", tmp_path / "workspace")
    empty = tmp_path / "empty"
    empty.mkdir()
    latin = tmp_path / "latin.txt"
    latin.write_bytes("caf\xe9 au lait".encode("latin-1"))
    assert "unknown preset 'huge'" in failure(capsys, "pretrain", "--preset", "huge", *place)
    assert "missing" in failure(capsys, "pretrain", "--source", tmp_path / "missing", *place)
    assert "empty" in failure(capsys, "data", "--source", empty, *place)
    assert "latin.txt" in failure(capsys, "data", "--source", latin, *place)
    assert "width 250 is not divisible" in failure(capsys, "pretrain", "--width", 250, "--source", source, *place)
    assert "device='tpu'" in failure(capsys, "pretrain", "--device", "tpu", "--source", source, *place)
    assert "context=0" in failure(capsys, "pretrain", "--context", 0, "--source", source, *place)
    assert "steps=0" in failure(capsys, "pretrain", "--steps", 0, "--source", source, *place)
    assert "learning_rate=-1" in failure(capsys, "pretrain", "--learning-rate", "-1", "--source", source, *place)
    assert "100" in failure(capsys, "tokenizer", "--vocab-size", 100, "--source", source, *place)
    assert "held_out_percent" in failure(capsys, "shards", "--held-out-percent", 99, "--source", source, *place)
    assert "no model" in failure(capsys, "generate", "x", *place)
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "LLMBOOK_HOME" in failure(capsys, "tokenizer", "--source", source, "--workspace", blocked / "x")


def test_the_stages_and_a_damaged_artifact(tmp_path, capsys, source, caplog):
    place = ("--workspace", str(tmp_path / "workspace"))
    words = ("pretrain", "--preset", "tiny", "--source", str(source), "--steps", "12", "--precision", "float32", *place)
    assert main(list(words)) == 0
    out = capsys.readouterr().out
    assert re.search(r"12 steps, 6,144 tokens, .* float32: \d\.\d{3} bits per byte held out", out)
    assert main(["generate", "def ", "--tokens", "10", *place]) == 0
    assert capsys.readouterr().out.startswith("def ")
    assert main(["data", "--source", str(source), "--out", str(tmp_path / "out"), *place]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "documents", "manifest.json", "removed.jsonl", "report.json", "settings.json", "waterfall.png",
    }  # fmt: skip
    capsys.readouterr()
    assert main(["artifacts", *place]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[:4]] == ["model", "shards", "tokenizer", "corpus"]
    model = next((tmp_path / "workspace" / "model").iterdir()) / "model.safetensors"
    good = model.read_bytes()
    model.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert "model.safetensors has changed" in failure(capsys, "generate", "x", *place)
    assert main(list(words)) == 0  # trains again, and to the same bits
    assert model.read_bytes() == good


def test_ctrl_c_says_that_the_run_can_go_on(monkeypatch, capsys):
    monkeypatch.setitem(COMMANDS, "artifacts", lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert main(["artifacts"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("LLMBOOK_DEBUG", "1")
    with pytest.raises(ValueError, match="unknown preset"):
        main(["pretrain", "--preset", "huge"])


def test_helpers(tmp_path):
    assert one_line(ValueError("a\n  b")) == "a b" and one_line(ValueError()) == "ValueError"
    assert open_workspace(tmp_path).root == tmp_path
    preset = chosen_preset("tiny", steps=2, seed=None)
    assert chosen_preset("tiny", width=32).model.width == 32
    assert preset.training.steps == 2 and preset.training.warmup_steps == 2 and preset.training.seed == 0
