"""Messages between grader and submission: what goes in comes out, and what is forged is refused."""

import json
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exercises.grading.wire import DTYPES, WireError, pack, unpack

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def there_and_back(value):
    return unpack(pack(value, lambda thing: {"number": 7}), lambda content: content)


@given(PLAIN)
def test_plain_data_comes_back(value):
    assert there_and_back(value) == value


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_tensors_come_back(dtype, shape):
    x = (torch.randn(*shape, dtype=torch.float64) * 3).to(dtype).transpose(0, -1) if shape else torch.ones((), dtype=dtype)
    y, name = there_and_back((x, dtype))
    assert torch.equal(x, y) and y.dtype == dtype and name == dtype and y.shape == x.shape


def test_what_is_neither_data_nor_tensor_stays_behind():
    assert there_and_back([object(), lambda: None, {1: 2}]) == [{"number": 7}] * 3
    assert str(there_and_back(float("nan"))) == "nan" and there_and_back(torch.ones(2, requires_grad=True)).requires_grad


def message(header, blobs=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + blobs


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"x",
        struct.pack("<Q", 1 << 60),
        message([]),
        message({"value": 1}),
        message({"value": [1], "blobs": []}),
        message({"value": {"tensor": "float32", "shape": [4], "grad": False}, "blobs": [4]}, b"1234"),
        message({"value": {"tensor": "float32", "shape": [1 << 40], "grad": False}, "blobs": [4]}, b"1234"),
        message({"value": {"tensor": "float32", "shape": [-1, -1], "grad": False}, "blobs": [4]}, b"1234"),
        message({"value": {"tensor": "pickle", "shape": [1], "grad": False}, "blobs": [4]}, b"1234"),
        message({"value": {"eval": "1"}, "blobs": []}),
        message({"value": {"list": [], "dict": {}}, "blobs": []}),
        message({"value": {"int": "1e9"}, "blobs": []}),
    ],
)
def test_forged_messages_are_refused(forged):
    with pytest.raises(WireError):
        unpack(forged, lambda content: content)
