"""Sinusoidal tables and their shifts against transformers and Python's floats; the guards of every table."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llmbook.attention.positions import (
    check_context,
    check_positions,
    sinusoidal_shift,
    sinusoidal_table,
)


def by_hand(position, D, base=10_000.0):
    """One row, with Python's floats and a loop."""
    row = []
    for i in range(D // 2):
        angle = position * base ** (-2 * i / D)
        row += [math.sin(angle), math.cos(angle)]
    return torch.tensor(row, dtype=torch.float64)


@pytest.mark.parametrize(("D", "base"), [(2, 10_000.0), (6, 100.0), (128, 10_000.0), (64, 500_000.0)])
def test_rows_are_sines_and_cosines(D, base):
    table = sinusoidal_table(300, D, base)
    assert table.shape == (300, D) and table.dtype == torch.float32 and table.is_contiguous()
    for position in (0, 1, 17, 299):
        torch.testing.assert_close(table[position].double(), by_hand(position, D, base), rtol=0, atol=1e-7)


def test_the_last_row_of_a_long_table_is_exact():
    torch.testing.assert_close(sinusoidal_table(131_072, 8)[-1].double(), by_hand(131_071, 8), rtol=0, atol=1e-7)


def test_matches_transformers():
    distilbert = pytest.importorskip("transformers.models.distilbert.modeling_distilbert")
    theirs = nn.Embedding(200, 64)
    distilbert.create_sinusoidal_embeddings(200, 64, theirs.weight)
    torch.testing.assert_close(sinusoidal_table(200, 64), theirs.weight.detach(), rtol=1e-5, atol=1e-5)


def test_one_position_is_all_zeros_and_ones():
    assert sinusoidal_table(1, 6).tolist() == [[0.0, 1.0, 0.0, 1.0, 0.0, 1.0]]


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, 500), distance=st.integers(-500, 499), pairs=st.integers(1, 20), base=st.sampled_from([50.0, 1e4]))
def test_a_shift_moves_every_row(start, distance, pairs, base):
    if not 0 <= start + distance < 1000:
        return
    table, shift = sinusoidal_table(1000, 2 * pairs, base), sinusoidal_shift(distance, 2 * pairs, base)
    torch.testing.assert_close(table[start] @ shift, table[start + distance], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("D", [2, 10])
def test_shifts_are_rotations_that_add_up(D):
    one, many = sinusoidal_shift(1, D), sinusoidal_shift(5, D)
    assert one.shape == (D, D) and one.dtype == torch.float32
    torch.testing.assert_close(torch.linalg.matrix_power(one, 5), many)
    torch.testing.assert_close(many @ sinusoidal_shift(-5, D), torch.eye(D))
    torch.testing.assert_close(many @ many.T, torch.eye(D))
    torch.testing.assert_close(torch.linalg.det(many), torch.tensor(1.0))
    assert torch.equal(sinusoidal_shift(0, D), torch.eye(D))


def test_products_depend_on_the_distance():
    table = sinusoidal_table(400, 32).double()
    exact = torch.outer(torch.arange(400).double(), 10_000.0 ** (-torch.arange(16).double() / 16)).cos().sum(-1)
    products = table @ table.T
    for distance in (0, 1, 50, 399):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, exact[distance].expand_as(diagonal), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sinusoidal_table(0, 8), "context 0: a table needs"),
        (lambda: sinusoidal_table(4, 7), "width 7: sines and cosines come in pairs"),
        (lambda: sinusoidal_table(4, 0), "width 0"),
        (lambda: sinusoidal_table(4, 8, 1.0), "base 1.0: .* above 1"),
        (lambda: sinusoidal_table(4, 8, math.inf), "base inf"),
        (lambda: sinusoidal_table(4, 8, math.nan), "base nan"),
        (lambda: sinusoidal_shift(1, 5), "width 5"),
        (lambda: sinusoidal_shift(1, 8, 0.5), "base 0.5"),
    ],
)
def test_impossible_tables(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_tables_are_made_on_the_cpu_whatever_the_default_device():
    with torch.device("meta"):
        assert torch.equal(sinusoidal_table(5, 8), sinusoidal_table(5, 8))
        assert not sinusoidal_shift(3, 8).is_meta


# ---------------------------------------------------------------- Guards


def test_a_text_as_long_as_the_context_fits():
    check_context(16, 16)
    check_context(0, 16)
    with pytest.raises(ValueError, match="17 tokens exceed the context of 16: shorten the input"):
        check_context(17, 16)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (3, 4)])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_right_positions_pass(shape, dtype):
    check_positions(torch.full(shape, 7, dtype=dtype), 3, 4, 8)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (4, 1), (2, 4), (1, 1, 4), (0, 4)])
def test_positions_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"give int64 \[T\] or \[B, T\], here \[4\] or \[3, 4\]"):
        check_positions(torch.zeros(shape, dtype=torch.int64), 3, 4, 8)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.float32, torch.float64])
def test_positions_that_would_index_otherwise_are_refused(dtype):
    with pytest.raises(ValueError, match=str(dtype)):
        check_positions(torch.zeros(4, dtype=dtype), 1, 4, 4)


@pytest.mark.parametrize(("positions", "wrong"), [([0, 8], 8), ([-1, 0], -1), ([-3, 99], -3)])
def test_positions_outside_are_named(positions, wrong):
    with pytest.raises(ValueError, match=rf"position {wrong} lies outside 0 \.\. 7: build a longer context"):
        check_positions(torch.tensor(positions), 1, 2, 8)


def test_values_on_another_device_and_empty_ones_are_not_looked_at():
    check_positions(torch.full((4,), 99, device="meta"), 1, 4, 8)
    check_positions(torch.zeros(0, dtype=torch.int64), 1, 0, 8)


def test_guards_return_at_once_while_compiling(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    check_context(17, 16)
    check_positions(torch.tensor([99.0]), 1, 2, 8)
