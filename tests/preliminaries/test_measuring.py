"""Timers against a clock whose truth is known, memory against arithmetic, and records found from any folder."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from llmbook.preliminaries import measuring
from llmbook.preliminaries.measuring import call_seconds, compare_calls, peak_memory, read_record


class Clock:
    """A clock that only work moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(measuring.time, "perf_counter", clock)
    return clock


# ---------------------------------------------------------------- one call


def test_the_least_of_the_repeats_and_no_warmup(clock):
    times = iter([1, 100, 7, 5, 9])  # the least is the call that warms up
    assert call_seconds(lambda: clock.work(next(times)), repeats=4) == 5
    times = iter([100, 7, 5, 9])
    assert call_seconds(lambda: clock.work(next(times)), repeats=3, summary=statistics.median) == 7
    times = iter([3])
    assert call_seconds(lambda: clock.work(next(times)), repeats=1, warmup=0) == 3


def test_arguments_are_handed_on(clock):
    assert call_seconds(clock.work, 2.5) == pytest.approx(2.5)


def test_only_one_result_is_alive_at_a_time():
    alive = []

    class Result:
        def __init__(self):
            alive.append(self)
            assert len(alive) == 1
            alive.clear()
            counts["now"] += 1
            counts["most"] = max(counts["most"], counts["now"])

        def __del__(self):
            counts["now"] -= 1

    counts = {"now": 0, "most": 0}
    call_seconds(Result, repeats=5)
    assert counts["most"] == 1


def test_real_time():
    assert 0.02 <= call_seconds(time.sleep, 0.02, repeats=3) < 0.2


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"repeats": -1}, {"warmup": -1}])
def test_no_repeat_is_refused(wrong):
    with pytest.raises(ValueError, match="at least 1 and 0"):
        call_seconds(time.sleep, 0, **wrong)


def test_errors_of_the_function_come_through():
    with pytest.raises(ZeroDivisionError):
        call_seconds(lambda: 1 / 0)


# ---------------------------------------------------------------- devices


def fake_torch(cuda: bool, initialized: bool, mps: bool, waits: list) -> SimpleNamespace:
    return SimpleNamespace(
        cuda=SimpleNamespace(
            is_available=lambda: cuda, is_initialized=lambda: initialized, synchronize=lambda: waits.append("cuda")
        ),
        mps=SimpleNamespace(synchronize=lambda: waits.append("mps")),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )


@pytest.mark.parametrize(
    "cuda, initialized, mps, expected",
    [(True, True, False, "cuda"), (True, False, False, None), (False, False, True, "mps"), (False, False, False, None)],
)
def test_a_gpu_in_use_is_waited_for_on_both_sides(monkeypatch, cuda, initialized, mps, expected):
    events = []
    monkeypatch.setitem(sys.modules, "torch", fake_torch(cuda, initialized, mps, events))
    call_seconds(lambda: events.append("call"), repeats=2, warmup=0)
    assert events == ([expected, "call", expected] * 2 if expected else ["call"] * 2)


def test_a_gpu_is_really_waited_for():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    a = torch.randn(4096, 4096, device="cuda")
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(10):
        a @ a
    end.record()
    torch.cuda.synchronize()
    one = start.elapsed_time(end) / 10 / 1000
    assert 0.5 < call_seconds(torch.matmul, a, a, repeats=10) / one < 3


def test_importing_and_timing_do_not_import_torch():
    code = (
        "import sys; from llmbook.preliminaries.measuring import call_seconds, compare_calls, peak_memory\n"
        "call_seconds(int); compare_calls(int, int); peak_memory(int)\n"
        "print(sorted({'torch', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# ---------------------------------------------------------------- two calls


def test_pairs_alternate_and_take_ratios_within_the_round(clock):
    calls = []

    def ours():
        calls.append("ours")
        clock.work(2 * (len(calls) + 1) // 2)

    def peer():
        calls.append("peer")
        clock.work(1)

    found = compare_calls(ours, peer, rounds=4, warmup=1)
    assert calls == ["ours", "peer", "peer", "ours"] * 2 + ["ours", "peer"]
    mine = [2 * (n + 1) // 2 for n, name in enumerate(calls, 1) if name == "ours"][1:]
    assert found.ours_seconds == statistics.median(mine) and found.peer_seconds == 1
    assert found.quartiles == tuple(np.quantile(mine, [0.25, 0.5, 0.75])) and found.ratio == found.quartiles[1]


def test_drift_does_not_change_the_ratio(clock):
    speed = [1.0]

    def work(seconds):
        clock.work(seconds * speed[0])
        speed[0] *= 1.05

    found = compare_calls(lambda: work(3), lambda: work(2), rounds=20)
    assert found.ratio == pytest.approx(1.5, rel=0.06)  # the machine's drift within one pair


def test_both_get_the_arguments(clock):
    found = compare_calls(lambda t: clock.work(t), lambda t: clock.work(2 * t), 3.0)
    assert (found.ours_seconds, found.peer_seconds, found.ratio) == pytest.approx((3, 6, 0.5))


@pytest.mark.parametrize("wrong", [{"rounds": 1}, {"rounds": 0}, {"warmup": -1}])
def test_too_few_rounds_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 2 and 0"):
        compare_calls(int, int, **wrong)


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("megabytes", [1, 10])
def test_peak_memory_is_what_was_alive_at_once(megabytes):
    size = megabytes * 1_000_000
    assert peak_memory(bytearray, size) == pytest.approx(size, rel=0.01)
    assert peak_memory(np.zeros, size // 8) == pytest.approx(size, rel=0.01)

    def one_after_the_other():
        for _ in range(3):
            bytearray(size)

    def together():
        return [bytearray(size) for _ in range(3)]

    assert peak_memory(one_after_the_other) == pytest.approx(size, rel=0.01)
    assert peak_memory(together) == pytest.approx(3 * size, rel=0.01)


def test_peak_memory_inside_a_trace_and_after_an_error():
    tracemalloc.start()
    try:
        kept = bytearray(5_000_000)
        assert peak_memory(bytearray, 1_000_000) == pytest.approx(1_000_000, rel=0.01)
        assert tracemalloc.is_tracing() and kept is not None
    finally:
        tracemalloc.stop()
    with pytest.raises(ZeroDivisionError):
        peak_memory(lambda: 1 / 0)
    assert not tracemalloc.is_tracing()


# ---------------------------------------------------------------- records


def test_a_record_is_found_from_any_folder_below(tmp_path, monkeypatch):
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    for name in ("speed-cpu", "speed-some-gpu"):
        (results / f"{name}.json").write_text(json.dumps({"of": name}), encoding="utf-8")
    below = tmp_path / "chapters" / "01_x"
    below.mkdir(parents=True)
    for place in (tmp_path, below, results):
        monkeypatch.chdir(place)
        assert read_record("speed") == {"of": "speed-cpu"}
        assert read_record("speed", "some-gpu") == {"of": "speed-some-gpu"}
        with pytest.raises(FileNotFoundError, match="no record size-cpu; there are: speed-cpu, speed-some-gpu"):
            read_record("size")


def test_without_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no benchmarks/results"):
        read_record("speed")
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="there are: none"):
        read_record("speed")
