"""The workspace survives what happens to real files: killed writers, full disks, damage, two writers at once."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.preliminaries import workspace as module
from llmbook.preliminaries.workspace import (
    Artifact,
    ArtifactDamaged,
    Workspace,
    WorkspaceBusy,
    WorkspaceError,
    WorkspaceFull,
    _default_root,
    _is_disk_full,
    artifacts_command,
    canonical_json,
    derive_seed,
    file_sha256,
    open_artifact,
    seal_folder,
    verify_artifact,
    write_atomic,
)

NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_text(text: str):
    """A builder of one file."""

    def builder(folder: Path) -> None:
        write_atomic(folder / "text.txt", text)

    return builder


def fails(folder: Path) -> None:
    pytest.fail("the builder was called although the artifact is there")


@pytest.fixture
def home(tmp_path) -> Workspace:
    return Workspace(tmp_path / "home")


def visible(home: Workspace) -> list[str]:
    """Names of what a reader of the workspace can see."""
    return sorted(f"{item.kind}/{item.path.name}" for item in home.artifacts())


# ---------------------------------------------------------------- atomic writes


@pytest.mark.parametrize("data", ["", "text ü\n", b"\x00\xff", "x" * 3_000_000])
def test_write_atomic_stores_what_it_is_given(tmp_path, data):
    path = tmp_path / "file"
    write_atomic(path, "before")
    write_atomic(str(path), data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_full_disk_leaves_the_old_content_and_no_temporary_file(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def full(*_):
        raise NO_SPACE

    monkeypatch.setattr(call, full)
    with pytest.raises(WorkspaceFull, match="LLMBOOK_HOME") as caught:
        write_atomic(path, "new")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "file", "x")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "file", "\ud800")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_atomic(tmp_path / "folder", "x")
    assert os.listdir(tmp_path) == ["folder"]


def test_file_permissions_follow_the_umask(tmp_path):
    if sys.platform == "win32":
        pytest.skip("Windows has no umask")
    old = os.umask(0o027)
    try:
        write_atomic(tmp_path / "file", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_is_recognized_behind_other_errors():
    wrapped = RuntimeError("could not save")
    wrapped.__cause__ = NO_SPACE
    assert _is_disk_full(NO_SPACE) and _is_disk_full(wrapped)
    assert _is_disk_full(OSError(errno.EDQUOT, "quota"))
    assert _is_disk_full(Exception("I/O error: No space left on device (os error 28)"))
    assert not _is_disk_full(PermissionError(errno.EACCES, "no")) and not _is_disk_full(None)


# ---------------------------------------------------------------- keys and seeds


@dataclasses.dataclass
class Config:
    size: int = 3
    path: Path = Path("a/b")
    nested: tuple = (1, (2, "x"))


def test_canonical_json_of_dataclasses_paths_and_tuples():
    assert canonical_json(Config()) == '{"nested":[1,[2,"x"]],"path":"a/b","size":3}'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(json_values)
def test_canonical_json_is_json_and_does_not_depend_on_order(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    text.encode("ascii")
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {1, 2}, object(), b"x", Config])
def test_values_without_an_exact_form_are_refused(value):
    with pytest.raises(ValueError, match="configuration"):
        canonical_json({"value": [value]})


def test_keys_depend_on_kind_config_and_inputs_in_order(home):
    a = home.build("a", {"n": 1}, write_text("a"))
    b = home.build("b", {"n": 1}, write_text("b"))
    keys = [
        home.key("c", {}),
        home.key("d", {}),
        home.key("c", {"x": 1}),
        home.key("c", {"x": 1.5}),
        home.key("c", {}, [a]),
        home.key("c", {}, [a, b]),
        home.key("c", {}, [b, a]),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == home.key("c", {}) and all(len(key) == 64 for key in keys)
    assert home.key("c", Config()) == home.key("c", {}) != home.key("c", Config(size=4)) == home.key("c", {"size": 4})
    assert home.key("c", {"x": Config(nested=(1,))}) == home.key("c", {"x": {"nested": [1]}})
    assert len({home.key("c", {}, version=version) for version in (1, 2, 3)}) == 3 and home.key("c", {}, version=1) == keys[0]


@dataclasses.dataclass
class Grown(Config):
    """`Config` after the book has grown by two settings."""

    added: int = 7
    shown_every: int = dataclasses.field(default=10, metadata={"keyed": False})


def test_a_new_setting_keeps_old_keys_and_the_manifest_states_it(home):
    old = home.build("c", Config(size=4), write_text("x"))
    assert home.build("c", Grown(size=4), fails) == old == home.find("c", Grown(size=4, shown_every=1))
    assert home.find("c", Grown(size=4, added=8)) is None and home.find("c", Grown(size=4), version=2) is None
    new = home.build("c", Grown(size=5, shown_every=1), write_text("y"), version=2)
    assert new.manifest["config"] == {"size": 5, "path": "a/b", "nested": [1, [2, "x"]], "added": 7, "shown_every": 1}
    assert (new.manifest["version"], old.manifest["version"]) == (2, 1)


@pytest.mark.parametrize("kind", ["", "Corpus", "../x", "a/b", "building", "damaged", "1a", "a b"])
def test_a_kind_is_a_plain_word(home, kind):
    with pytest.raises(ValueError, match="kind"):
        home.build(kind, {}, write_text("x"))


@settings(deadline=None)
@given(st.integers(0, 2**70), st.lists(st.text() | st.integers(), max_size=3))
def test_seeds_are_in_range_and_repeatable(seed, names):
    value = derive_seed(seed, *names)
    assert 0 <= value < 2**63 and value == derive_seed(seed, *names)


def test_seeds_of_neighbours_differ():
    assert derive_seed(0, "a", 1) != derive_seed(1, "a", 0) != derive_seed(0, "a1")
    assert len({derive_seed(seed, stream) for seed in range(100) for stream in range(100)}) == 10_000
    assert derive_seed(0, "batches") == 4272069234668517869, "a change here changes every run of the book"


# ---------------------------------------------------------------- building and reading


def test_build_once_then_read(home):
    first = home.build("corpus", {"n": 1}, write_text("hello"))
    assert isinstance(first, Artifact) and first == home.build("corpus", {"n": 1}, fails)
    assert first == home.find("corpus", {"n": 1}) == home.load("corpus")
    assert home.find("corpus", {"n": 2}) is None
    assert first.path == home.root / "corpus" / first.key[:16]
    assert first.manifest["files"] == {"text.txt": {"bytes": 5, "sha256": file_sha256(first.file("text.txt"))}}
    assert os.listdir(home.root / "building") in ([], [f"corpus-{first.key[:16]}.lock"])


def test_files_in_folders_are_listed_and_verified(home):
    def builder(folder):
        (folder / "deep" / "er").mkdir(parents=True)
        write_atomic(folder / "deep" / "er" / "x.bin", b"\x00" * 10)

    artifact = home.build("tree", {}, builder)
    assert artifact.file("deep/er/x.bin").stat().st_size == 10
    artifact.file("deep/er/x.bin").write_bytes(b"\x01" * 10)
    with pytest.raises(ArtifactDamaged, match="deep/er/x.bin"):
        verify_artifact(artifact)


def test_an_unknown_file_is_named_with_those_that_there_are(home):
    with pytest.raises(WorkspaceError, match=r"'words'.*text\.txt"):
        home.build("corpus", {}, write_text("x")).file("words")


def test_load_says_what_there_is(home):
    with pytest.raises(WorkspaceError, match="nothing yet.*llmbook pretrain"):
        home.load("corpus")
    a = home.build("corpus", {"n": 1}, write_text("a"))
    b = home.build("corpus", {"n": 2}, write_text("b"))
    assert home.artifacts() == home.artifacts("corpus") == [b, a] and home.artifacts("shards") == []
    assert home.load("corpus") == b and home.load("corpus", a.key[:6]) == a
    with pytest.raises(WorkspaceError, match=f"no tokenizer in .*corpus {b.key[:16]}"):
        home.load("tokenizer")
    with pytest.raises(WorkspaceError, match="no corpus zzz"):
        home.load("corpus", "zzz")


def test_an_ambiguous_prefix_is_refused(home):
    keys = [home.build("corpus", {"n": n}, write_text("x")).key for n in range(20)]
    prefix = next(a[0] for i, a in enumerate(keys) if any(a[0] == b[0] for b in keys[:i]))
    with pytest.raises(WorkspaceError, match="fits several"):
        home.load("corpus", prefix)


def test_a_builder_that_writes_nothing_is_an_error(home):
    with pytest.raises(WorkspaceError, match="wrote no file"):
        home.build("corpus", {}, lambda folder: None)
    assert visible(home) == []


def test_an_error_of_the_builder_passes_and_leaves_the_rest_intact(home):
    before = home.build("corpus", {"n": 1}, write_text("good"))

    def builder(folder):
        write_atomic(folder / "text.txt", "half")
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        home.build("corpus", {"n": 2}, builder)
    assert visible(home) == [f"corpus/{before.path.name}"] and home.load("corpus") == before
    assert home.build("corpus", {"n": 2}, write_text("whole")).file("text.txt").read_text() == "whole"


def test_a_builder_finds_its_partial_files_again(home):
    def stops(folder):
        write_atomic(folder / "part", "1")
        raise KeyboardInterrupt

    def resumes(folder):
        assert (folder / "part").read_text() == "1"
        write_atomic(folder / "part", "12")

    with pytest.raises(KeyboardInterrupt):
        home.build("run", {}, stops)
    assert home.build("run", {}, resumes).file("part").read_text() == "12"


def test_remains_of_killed_atomic_writes_do_not_enter_the_artifact(home):
    def builder(folder):
        (folder / ".0123456789abcdef.partial").write_text("half")
        write_atomic(folder / "text.txt", "whole")

    assert list(home.build("corpus", {}, builder).manifest["files"]) == ["text.txt"]


# ---------------------------------------------------------------- damage


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "a flipped bit": (lambda folder: flip_bit(folder / "text.txt"), "text.txt has changed"),
    "a truncated file": (lambda folder: (folder / "text.txt").write_text("hel"), "3 bytes instead of 5"),
    "a missing file": (lambda folder: (folder / "text.txt").unlink(), "text.txt is missing"),
    "a flipped bit in the manifest": (lambda folder: flip_bit(folder / "manifest.json"), "manifest.json"),
    "an empty manifest": (lambda folder: (folder / "manifest.json").write_bytes(b""), "manifest.json cannot be read"),
    "a missing manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json cannot be read"),
    "a manifest of another type": (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest.json"),
    "a folder in place of the file": (
        lambda folder: ((folder / "text.txt").unlink(), (folder / "text.txt").mkdir()),
        "text.txt",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_named_and_repaired(home, caplog, damage):
    do, message = DAMAGES[damage]
    other = home.build("corpus", {"n": 2}, write_text("other"))
    artifact = home.build("corpus", {"n": 1}, write_text("hello"))
    do(artifact.path)
    with pytest.raises(ArtifactDamaged, match=message) as caught:
        home.find("corpus", {"n": 1})
    assert "\n" not in str(caught.value) and artifact.path.name in str(caught.value)
    if "manifest" not in damage:
        with pytest.raises(ArtifactDamaged, match=message):
            home.load("corpus")
    with caplog.at_level(logging.WARNING):
        repaired = home.build("corpus", {"n": 1}, write_text("hello"))
    warnings = [record.getMessage() for record in caplog.records if "building it again" in record.getMessage()]
    assert len(warnings) == 1 and "\n" not in warnings[0]
    assert repaired == artifact and repaired.file("text.txt").read_text() == "hello"
    assert home.load("corpus") == repaired and home.find("corpus", {"n": 2}) == other
    assert os.listdir(home.root / "damaged") == []


def test_any_changed_character_of_a_manifest_is_found(home):
    artifact = home.build("corpus", {"n": 1}, write_text("hello"))
    path = artifact.path / "manifest.json"
    original = path.read_bytes()
    for position in range(len(original)):
        if chr(original[position]).isspace():
            continue
        changed = bytearray(original)
        changed[position] = ord("7") if changed[position] != ord("7") else ord("8")
        path.write_bytes(changed)
        with pytest.raises(ArtifactDamaged):
            home.find("corpus", {"n": 1})


def test_a_damaged_artifact_stays_to_be_looked_at_when_rebuilding_fails(home):
    artifact = home.build("corpus", {}, write_text("hello"))
    flip_bit(artifact.file("text.txt"))

    def builder(folder):
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        home.build("corpus", {}, builder)
    assert home.find("corpus", {}) is None
    assert (home.root / "damaged" / f"corpus-{artifact.path.name}" / "text.txt").exists()


def test_artifacts_leaves_out_a_broken_manifest_with_a_warning(home, caplog):
    good = home.build("corpus", {"n": 1}, write_text("a"))
    bad = home.build("corpus", {"n": 2}, write_text("b"))
    (bad.path / "manifest.json").write_text("{")
    assert home.artifacts() == [good] and "left out" in caplog.text
    assert home.load("corpus") == good


def test_an_artifact_in_the_place_of_another_is_refused(home):
    a = home.build("corpus", {"n": 1}, write_text("a"))
    b = home.build("corpus", {"n": 2}, write_text("b"))
    shutil.rmtree(a.path)
    shutil.copytree(b.path, a.path)
    with pytest.raises(ArtifactDamaged, match="belongs to the key"):
        home.find("corpus", {"n": 1})


# ---------------------------------------------------------------- places that cannot be written


def test_a_root_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "below", str(tmp_path / "file")):
        for use in (Workspace, artifacts_command):
            with pytest.raises(WorkspaceError, match="file is not a folder; --workspace and LLMBOOK_HOME") as caught:
                use(root)
            assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "x"


def test_a_root_without_permission(tmp_path):
    if sys.platform == "win32" or not hasattr(os, "fork"):
        pytest.skip("needs POSIX permissions")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    os.chmod(tmp_path, 0o755)
    code = f"""
        import os
        from llmbook.preliminaries.workspace import Workspace, WorkspaceError
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            Workspace({str(locked)!r}).build("corpus", {{}}, lambda folder: None)
        except WorkspaceError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=Path(module.__file__).parents[2],
    )
    assert "cannot write in" in done.stdout and "Permission denied" in done.stdout, done.stderr


def test_a_finished_artifact_is_read_where_nothing_can_be_written(home, monkeypatch):
    artifact = home.build("corpus", {}, write_text("x"))

    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    assert home.build("corpus", {}, fails) == artifact == home.load("corpus")
    with pytest.raises(WorkspaceError, match="Read-only file system"):
        home.build("corpus", {"n": 2}, write_text("x"))


# ---------------------------------------------------------------- full disks


@pytest.mark.parametrize("wrap", [False, True])
def test_a_builder_that_fills_the_disk_gives_workspace_full(home, wrap):
    before = home.build("corpus", {"n": 1}, write_text("good"))

    def builder(folder):
        (folder / "half").write_text("half")
        if wrap:
            raise RuntimeError("the library failed") from NO_SPACE
        raise NO_SPACE

    with pytest.raises(WorkspaceFull, match="no space left"):
        home.build("corpus", {"n": 2}, builder)
    assert visible(home) == [f"corpus/{before.path.name}"] and home.load("corpus") == before


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_disk_that_fills_while_sealing(home, monkeypatch, call):
    before = home.build("corpus", {"n": 1}, write_text("good"))

    def full(*_):
        raise NO_SPACE

    with monkeypatch.context() as patch, pytest.raises(WorkspaceFull):
        patch.setattr(call, full)
        home.build("corpus", {"n": 2}, lambda folder: (folder / "text.txt").write_text("x") and None)
    assert visible(home) == [f"corpus/{before.path.name}"]
    assert home.build("corpus", {"n": 2}, write_text("x")) == home.load("corpus")


FILL_THE_DISK = """
    import os, sys
    from pathlib import Path
    from llmbook.preliminaries.workspace import Workspace, WorkspaceFull, write_atomic
    home = Workspace(sys.argv[1])
    before = home.build("corpus", {"n": 1}, lambda folder: write_atomic(folder / "a", b"a" * 100_000))
    def large(folder):
        write_atomic(folder / "b", b"b" * 300_000)
        write_atomic(folder / "b", b"c" * 5_000_000)
    for attempt in range(2):
        try:
            home.build("corpus", {"n": 2}, large)
        except WorkspaceFull as error:
            print("FULL", error)
    assert home.load("corpus") == before and len(home.artifacts()) == 1
    assert (home.root / "building" / ("corpus-" + home.key("corpus", {"n": 2})[:16]) / "b").read_bytes() == b"b" * 300_000
    small = home.build("corpus", {"n": 2}, lambda folder: write_atomic(folder / "b", b"d" * 1000))
    assert home.load("corpus") == small
    # not even room for a folder or a lock
    with open(home.root / "fill", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    try:
        home.build("corpus", {"n": 3}, large)
    except WorkspaceFull as error:
        print("FULL", error)
    assert home.load("corpus") == small and len(home.artifacts()) == 2
    print("DONE")
"""


def test_a_disk_that_is_really_full(tmp_path):
    if not shutil.which("unshare"):
        pytest.skip("needs unshare(1) to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    script = tmp_path / "fill.py"
    script.write_text(textwrap.dedent(FILL_THE_DISK))
    flags = "-m" if os.getuid() == 0 else "-rm"
    mount = f"mount -t tmpfs -o size=1m tmpfs {small}"
    if subprocess.run(["unshare", flags, "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this system does not let us mount a small file system")
    command = f"{mount} && exec {sys.executable} {script} {small}"
    environment = os.environ | {"PYTHONPATH": str(Path(module.__file__).parents[2])}
    done = subprocess.run(["unshare", flags, "sh", "-c", command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and done.stdout.count("FULL") == 3 and done.stdout.endswith("DONE\n"), done


# ---------------------------------------------------------------- killed and competing processes


def slow_append(folder: Path, limit: int, pause: float) -> None:
    """Append one digit at a time; go on from what is there."""
    path = folder / "count.txt"
    done = len(path.read_text()) if path.exists() else 0
    for number in range(done, limit):
        with open(path, "a") as file:
            file.write(str(number % 10))
        time.sleep(pause)


def build_slowly(root: str, limit: int, pause: float) -> None:
    Workspace(root).build("count", {"limit": limit}, lambda folder: slow_append(folder, limit, pause))


def test_a_killed_builder_leaves_nothing_visible_and_is_continued(tmp_path):
    root = tmp_path / "home"
    home = Workspace(root)
    before = home.build("corpus", {}, write_text("good"))
    context = multiprocessing.get_context("spawn")
    part = root / "building" / f"count-{home.key('count', {'limit': 300})[:16]}" / "count.txt"
    process = context.Process(target=build_slowly, args=(str(root), 300, 0.02))
    process.start()
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size >= 5) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = part.stat().st_size
    assert 5 <= done < 300
    assert home.find("count", {"limit": 300}) is None and home.artifacts() == [before] and home.load("corpus") == before

    first = []

    def resumes(folder):
        first.append(len((folder / "count.txt").read_text()))
        slow_append(folder, 300, 0)

    text = home.build("count", {"limit": 300}, resumes).file("count.txt").read_text()
    assert first == [done] and text == "0123456789" * 30


def kill_in(root: str, call: str, count: int) -> None:
    """Build, and be killed by SIGKILL at the n-th call of a function of `os`."""
    original, calls = getattr(os, call), []

    def killer(*args, **kwargs):
        calls.append(call)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(os, call, killer)
    Workspace(root).build("corpus", {"n": 1}, write_text("hello"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_each_system_call_of_a_build(tmp_path):
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    killed = 0
    for call in ("replace", "fsync"):
        for count in range(1, 20):
            root = tmp_path / f"{call}{count}"
            process = context.Process(target=kill_in, args=(str(root), call, count))
            process.start()
            process.join()
            home = Workspace(root)
            seen = home.find("corpus", {"n": 1})  # whole or absent, never damaged
            assert seen is None or seen.file("text.txt").read_text() == "hello"
            after = home.build("corpus", {"n": 1}, write_text("hello"))
            assert list(after.manifest["files"]) == ["text.txt"] and home.load("corpus") == after
            if process.exitcode == 0:
                break
            killed += 1
    assert killed >= 6


def test_a_sealed_folder_is_published_without_calling_the_builder_again(home, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_publish_folder", killed)
        home.build("corpus", {}, write_text("x"))
    assert home.find("corpus", {}) is None
    assert home.build("corpus", {}, fails).file("text.txt").read_text() == "x"


def count_builds(root: str, start: float) -> None:
    def builder(folder):
        with open(Path(root) / "calls", "a") as file:
            file.write("x")
        time.sleep(0.5)
        write_atomic(folder / "text.txt", "once")

    time.sleep(max(0.0, start - time.time()))
    assert Workspace(root).build("corpus", {}, builder).file("text.txt").read_text() == "once"


def test_of_several_processes_one_builds_and_the_others_wait(tmp_path):
    context = multiprocessing.get_context("spawn")
    start = time.time() + 1.5
    processes = [context.Process(target=count_builds, args=(str(tmp_path), start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "calls").read_text() == "x"


def test_waiting_is_said_once(home, caplog):
    from threading import Event, Thread

    entered, go_on = Event(), Event()

    def slow(folder):
        entered.set()
        go_on.wait(30)
        write_atomic(folder / "text.txt", "x")

    first = Thread(target=home.build, args=("corpus", {}, slow))
    second = Thread(target=home.build, args=("corpus", {}, fails))
    with caplog.at_level(logging.WARNING):
        first.start()
        entered.wait(30)
        second.start()
        time.sleep(0.3)
        go_on.set()
        first.join(30)
        second.join(30)
    assert [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()] == [
        f"waiting for another process that is building corpus-{home.key('corpus', {})[:16]}"
    ]


def test_a_builder_may_build_another_artifact(home):
    def outer(folder):
        inner = home.build("inner", {}, write_text("inner"))
        write_atomic(folder / "copy", inner.file("text.txt").read_bytes())

    assert home.build("outer", {}, outer).file("copy").read_text() == "inner"


# ---------------------------------------------------------------- trainings: a claim instead of a lock


def hold_claim(root: str, line) -> None:
    """Begin a training, write a part of it, and wait."""
    folder = Workspace(root).begin("base", {"steps": 8})
    write_atomic(folder / "checkpoint", "step 5")
    line.send("ready")
    with contextlib.suppress(EOFError):
        line.recv()


@pytest.fixture
def other_process(home):
    """A process that has begun the training `base`, {"steps": 8}, and ends when its `line` is closed."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=hold_claim, args=(str(home.root), there))
    process.start()
    there.close()
    assert here.poll(60) and here.recv() == "ready"
    process.line = here
    yield process
    here.close()
    process.join(30)


def test_begin_and_finish_make_the_artifact_that_find_finds(home):
    corpus = home.build("corpus", {}, write_text("x"))
    what = "base", Config(size=4), [corpus], 3
    folder = home.begin(*what)
    assert folder.is_dir() and home.find(*what) is None and home.begin(*what) == folder  # the same process may begin again
    write_atomic(folder / "weights", "w")
    artifact = home.finish(*what)
    assert artifact == home.find(*what) == home.load("base") == home.build(what[0], what[1], fails, what[2], what[3])
    assert list(artifact.manifest["files"]) == ["weights"] and artifact.manifest["inputs"] == [corpus.key]
    assert sorted(os.listdir(artifact.path)) == ["manifest.json", "weights"]
    assert not folder.exists() and not list(home.root.glob("building/*.owner.json"))


def test_no_lock_is_held_between_begin_and_finish(home):
    import filelock

    home.begin("base", {})
    for path in (home.root / "building").glob("*.lock"):
        with filelock.FileLock(path, timeout=0):
            pass
    assert home.begin("base", {}, claim=False).is_dir()


def test_a_living_owner_is_named(home, other_process):
    with pytest.raises(WorkspaceBusy, match=f"process {other_process.pid} on .*base-") as caught:
        home.begin("base", {"steps": 8})
    assert "\n" not in str(caught.value) and "delete" not in str(caught.value)
    folder = home.begin("base", {"steps": 8}, claim=False)  # another rank of the same run only asks where
    assert (folder / "checkpoint").read_text() == "step 5"
    with pytest.raises(WorkspaceError, match="has not begun"):
        home.finish("base", {"steps": 8})
    assert home.begin("base", {"steps": 9}) != folder


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_a_killed_owner_hands_its_folder_on(home, other_process, reaped):
    os.kill(other_process.pid, signal.SIGKILL)
    if reaped:
        other_process.join(30)
    else:
        os.waitid(os.P_PID, other_process.pid, os.WEXITED | os.WNOWAIT)  # dead, but its parent has not asked yet
    folder = home.begin("base", {"steps": 8})
    assert (folder / "checkpoint").read_text() == "step 5"
    write_atomic(folder / "weights", "step 8")
    assert set(home.finish("base", {"steps": 8}).manifest["files"]) == {"checkpoint", "weights"}


def test_an_owner_that_ended_well_without_finishing_hands_its_folder_on(home, other_process):
    other_process.line.close()
    other_process.join(30)
    assert (home.begin("base", {"steps": 8}) / "checkpoint").read_text() == "step 5"


def claim_of(home) -> Path:
    (claim,) = home.root.glob("building/*.owner.json")
    return claim


@pytest.mark.parametrize(
    "change, free",
    [
        ({"started": "another boot 1"}, True),  # the number is used again
        ({"pid": 2**22 + 1}, True),  # no such process
        ({"host": "elsewhere"}, False),  # nobody here can know
        ({"space": "pid:[1]"}, False),
    ],
)
def test_a_claim_is_believed_unless_its_process_is_known_to_have_ended(home, change, free):
    home.begin("base", {})
    claim = claim_of(home)
    claim.write_text(json.dumps(json.loads(claim.read_text()) | change))
    if free:
        home.begin("base", {})
        assert json.loads(claim.read_text())["pid"] == os.getpid()
    else:
        with pytest.raises(WorkspaceBusy, match="if it has ended, delete .*owner.json"):
            home.begin("base", {})
        claim.unlink()
        home.begin("base", {})


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"host": 1}', '{"host": "x"}'])
def test_an_unreadable_claim_is_no_claim(home, text):
    home.begin("base", {})
    claim_of(home).write_text(text)
    home.begin("base", {})
    assert json.loads(claim_of(home).read_text())["pid"] == os.getpid()


def test_finish_needs_begin_and_files(home):
    with pytest.raises(WorkspaceError, match="has not begun base-"):
        home.finish("base", {})
    home.begin("base", {}, claim=False)
    with pytest.raises(WorkspaceError, match="has not begun base-"):
        home.finish("base", {})
    home.begin("base", {})
    with pytest.raises(WorkspaceError, match="wrote no file"):
        home.finish("base", {})
    assert visible(home) == []


def test_finish_after_another_was_faster_keeps_the_first(home):
    folder = home.begin("base", {})
    write_atomic(folder / "weights", "mine")
    first = home.root / "base" / home.key("base", {})[:16]
    shutil.copytree(folder, first)
    seal_folder(first, "base", {}, [])
    assert home.finish("base", {}).path == first and not folder.exists()


def test_a_damaged_result_is_set_aside_and_made_again(home):
    def train(text):
        write_atomic(home.begin("base", {}) / "weights", text)
        return home.finish("base", {})

    flip_bit(train("hello").file("weights"))
    with pytest.raises(ArtifactDamaged):
        home.find("base", {})
    folder = home.begin("base", {})
    assert home.find("base", {}) is None and len(os.listdir(home.root / "damaged")) == 1
    assert os.listdir(folder) == []
    assert train("hello").file("weights").read_text() == "hello" and os.listdir(home.root / "damaged") == []


def test_begin_where_nothing_can_be_written_and_on_a_full_disk(home, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch, pytest.raises(WorkspaceError, match="cannot write in .*Read-only"):
        patch.setattr(Path, "mkdir", read_only)
        home.begin("base", {})
    folder = home.begin("base", {})
    (folder / "weights").write_text("x")

    def full(*_):
        raise NO_SPACE

    with monkeypatch.context() as patch, pytest.raises(WorkspaceFull):
        patch.setattr("os.fsync", full)
        home.finish("base", {})
    assert home.finish("base", {}).file("weights").read_text() == "x"


def kill_in_finish(root: str, call: str, count: int) -> None:
    """Train, and be killed by SIGKILL at the n-th call of a function of `os`."""
    original, calls = getattr(os, call), []

    def killer(*args, **kwargs):
        calls.append(call)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    home = Workspace(root)
    setattr(os, call, killer)
    write_atomic(home.begin("base", {}) / "weights", "hello")
    home.finish("base", {})


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_each_system_call_of_a_training(tmp_path):
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    killed = 0
    for call in ("replace", "fsync"):
        for count in range(1, 20):
            root = tmp_path / f"{call}{count}"
            process = context.Process(target=kill_in_finish, args=(str(root), call, count))
            process.start()
            process.join()
            home = Workspace(root)
            seen = home.find("base", {})  # whole or absent, never damaged
            assert seen is None or seen.file("weights").read_text() == "hello"
            if seen is None:
                write_atomic(home.begin("base", {}) / "weights", "hello")
                home.finish("base", {})
            assert list(home.load("base").manifest["files"]) == ["weights"]
            if process.exitcode == 0:
                break
            killed += 1
    assert killed >= 6


# ---------------------------------------------------------------- opening and listing


def test_an_artifact_is_opened_wherever_it_lies(home, tmp_path):
    artifact = home.build("corpus", {"n": 1}, write_text("hello"))
    assert open_artifact(artifact.path) == open_artifact(str(artifact.path)) == artifact
    copy = shutil.copytree(artifact.path, tmp_path / "elsewhere")
    assert open_artifact(copy).key == artifact.key
    flip_bit(copy / "text.txt")
    with pytest.raises(ArtifactDamaged, match="elsewhere: text.txt"):
        open_artifact(copy)
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ArtifactDamaged, match="manifest.json cannot be read"):
            open_artifact(path)


def test_the_command_lists_newest_first(home, capsys):
    a = home.build("corpus", {"n": 1}, write_text("a" * 1_200_000))
    b = home.build("base", {"n": 2}, write_text("b"))
    home.begin("base", {"n": 3})
    artifacts_command(home.root)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["base", b.key[:16]], ["corpus", a.key[:16]]]
    assert lines[1].endswith(" 1.2 MB") and lines[2:] == [str(home.root)]


# ---------------------------------------------------------------- where it is


def test_the_default_root(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMBOOK_HOME", str(tmp_path / "mine"))
    assert _default_root() == tmp_path / "mine" == Workspace().root
    monkeypatch.setenv("LLMBOOK_HOME", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module.sys, "platform", "linux")
    assert _default_root() == tmp_path / "cache" / "llmbook"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _default_root() == Path.home() / ".cache" / "llmbook"
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert _default_root() == Path.home() / "Library" / "Caches" / "llmbook"
    monkeypatch.setattr(module.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert _default_root() == tmp_path / "local" / "llmbook"
