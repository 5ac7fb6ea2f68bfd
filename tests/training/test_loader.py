"""Windows by brute force: nothing twice, nothing beyond the end, the same from any starting point."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.training.loader import TokenWindows, _check_loader, reading_batches, window_order


@given(count=st.integers(20, 400), context=st.integers(1, 9), seed=st.integers(0, 50), epoch=st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_windows_tile_without_overlap(count, context, seed, epoch):
    starts = window_order(count, context, seed, epoch)
    assert len(starts) == (count - context) // context
    ordered = np.sort(starts)
    assert ordered[0] < 2 * context and np.all(np.diff(ordered) == context) and ordered[-1] + context + 1 <= count


@given(count=st.integers(20, 80), context=st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_every_token_is_read_in_some_epoch_the_last_ones_too(count, context):
    read = {int(start) + k for epoch in range(300) for start in window_order(count, context, 0, epoch) for k in range(context + 1)}
    assert read == set(range(count))


@given(world=st.sampled_from([1, 2, 4]), step=st.integers(0, 60))
@settings(max_examples=30, deadline=None)
def test_processes_share_a_batch_and_batches_depend_on_the_step_alone(world, step):
    whole = TokenWindows(np.arange(500, dtype=np.uint16), 8, 4, seed=3)
    for earlier in range(step):
        whole.batch(earlier)
    parts = [
        TokenWindows(np.arange(500, dtype=np.uint16), 8, 4, seed=3, data_rank=rank, data_size=world).batch(step)[0]
        for rank in range(world)
    ]
    assert sorted(torch.cat(parts).tolist()) == sorted(whole.batch(step)[0].tolist())


def test_targets_are_inputs_shifted_and_epochs_differ():
    loader = TokenWindows(np.arange(1000, dtype=np.uint32), 16, 5)
    for step in range(2 * len(loader)):
        inputs, targets = loader.batch(step)
        assert inputs.dtype == targets.dtype == torch.int64 and torch.equal(inputs + 1, targets)
    assert not torch.equal(loader.batch(0)[0], loader.batch(len(loader))[0])


def test_seeds_differ():
    starts = [TokenWindows(np.arange(1000), 8, 4, seed=seed).starts(0).tolist() for seed in (0, 1)]
    assert starts[0] != starts[1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((100, 64, 4, 0, 1), "hold fewer than 4 windows of 64: give at least 320 tokens"),
        ((100, 0, 4, 0, 1), "at least 1"),
        ((1000, 8, 4, 2, 2), "rank 2 of 2"),
        ((1000, 8, 4, 0, 3), "divide evenly"),
    ],
)
def test_sizes_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        _check_loader(*arguments)


def test_the_number_of_tokens_that_is_asked_for_suffices():
    assert len(TokenWindows(np.arange(320), 64, 4)) == 1


@given(count=st.integers(1, 200), context=st.integers(1, 12), batch=st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_reading_predicts_every_token_once(count, context, batch):
    inputs, targets = zip(*reading_batches(np.arange(1, count + 1), context, batch, first=0))
    assert torch.equal(torch.cat([t.flatten() for t in targets]), torch.arange(1, count + 1))
    assert all(i.shape[0] <= batch and i.shape[1] <= context for i in inputs)
    assert torch.equal(torch.cat([i.flatten() for i in inputs]), torch.arange(count))
