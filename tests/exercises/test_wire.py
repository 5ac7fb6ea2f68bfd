"""Messages between grader and submission: what goes in comes out, and what is forged is refused."""

import collections
import enum
import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exercises.grading.wire import DTYPES, WireError, change, may_change, pack, unpack

SMALL = st.text(max_size=20) | st.binary(max_size=20) | st.sets(st.integers(), max_size=3) | st.frozensets(st.text(), max_size=3)
KEYS = st.text(max_size=5) | st.integers() | st.tuples(st.binary(max_size=3), st.none())
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False) | SMALL,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=4),
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
    assert there_and_back([object(), lambda: None, {object(): 2}]) == [{"number": 7}] * 3
    assert str(there_and_back(float("nan"))) == "nan" and there_and_back(torch.ones(2, requires_grad=True)).requires_grad


X = torch.arange(24.0).view(2, 3, 4)
LAYOUTS = {
    "transposed": X.transpose(0, 2),
    "permuted": X.permute(2, 0, 1),
    "every second": X[:, :, ::2],
    "a column": X[:, 1],
    "behind an offset": X.view(-1)[5:],
    "expanded": torch.arange(3.0)[:, None].expand(3, 5),
    "expanded to a million": torch.ones(1, 1).expand(1000, 1000),
    "expanded and transposed": X[:, :1].expand(2, 7, 4).transpose(0, 1),
    "channels last": torch.arange(48.0).view(2, 3, 2, 4).to(memory_format=torch.channels_last),
    "a diagonal": torch.arange(16.0).view(4, 4).diagonal(),
    "of one element": X[1:2, 2:3, 3:4].transpose(0, 2),
    "of no dimension": X[1, 2, 3],
    "of bool": (X > 3).transpose(0, 1),
    "that learns": torch.ones(2, 3, requires_grad=True).transpose(0, 1),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_tensor_keeps_its_strides(name):
    x = LAYOUTS[name]
    y = there_and_back([x])[0]
    assert torch.equal(x, y) and y.stride() == x.stride() and y.storage_offset() == x.storage_offset()
    assert y.is_contiguous() == x.is_contiguous() and y.requires_grad == x.requires_grad


def test_a_layout_costs_little_and_tells_nothing():
    secret = torch.arange(1000.0)
    seen = there_and_back(secret[::2]).untyped_storage()
    assert not torch.frombuffer(bytearray(bytes(seen)), dtype=torch.float32)[1::2].any()  # what lies between stays here
    far = torch.zeros(1 << 26, dtype=torch.uint8)[:: 1 << 25]
    assert there_and_back(far).untyped_storage().nbytes() < 1 << 20
    assert len(pack(torch.ones(1).expand(1 << 30), lambda thing: {})) < 500
    windows = torch.arange(8.0).unfold(0, 4, 1)  # which share their numbers
    assert torch.equal(there_and_back(windows), windows)
    with pytest.raises(WireError):  # an answer may not grow when it is read
        unpack(pack(torch.ones(1).expand(1 << 30), lambda thing: {}), lambda content: content, layouts=False)


class Level(enum.IntEnum):
    LOW = 1


class Name(str):
    pass


class Half(float):
    pass


Pair = collections.namedtuple("Pair", "left right")
RELATIVES = {
    "a named tuple": (Pair(1, [2]), (1, [2])),
    "a torch.Size": (torch.Size([2, 3]), (2, 3)),
    "an OrderedDict": (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "a defaultdict": (collections.defaultdict(list, {(1, 2): [3]}), {(1, 2): [3]}),
    "a Counter": (collections.Counter("abba"), {"a": 2, "b": 2}),
    "a number of an enum": (Level.LOW, 1),
    "a string of a class": (Name("x"), "x"),
    "a float of a class": (Half(0.5), 0.5),
    "np.float64": (np.float64(0.25), 0.25),
    "np.float32": (np.float32(0.25), 0.25),
    "np.int64": (np.int64(7), 7),
    "np.bool_": (np.bool_(True), True),
    "np.str_": (np.str_("x"), "x"),
    "a large integer": (-(10**5000), -(10**5000)),
    "bytes": ([b"\xff", bytearray(b"a")], [b"\xff", bytearray(b"a")]),
}


@pytest.mark.parametrize("name", RELATIVES)
def test_what_derives_from_a_plain_type_travels_as_that_type(name):
    value, plain = RELATIVES[name]
    found = there_and_back(value)
    assert found == plain and type(found) is type(plain)


def test_arrays_travel():
    x = np.arange(12.0).reshape(3, 4)
    for each in (x, x.T, x[:, ::2], x[::-1], x > 3, np.float32(x), np.zeros((0, 2)), np.ones(3, np.uint16)):
        found = there_and_back(each)
        assert np.array_equal(found, each) and found.dtype == each.dtype and found.shape == each.shape
    assert there_and_back(x.T).strides == x.T.strides and there_and_back(np.array([object()])) == {"number": 7}


CHANGES = {
    "a tensor's number": (lambda: torch.zeros(3), lambda x: x.add_(1), ""),
    "a tensor's shape": (lambda: torch.zeros(3), lambda x: x.unsqueeze_(0), ""),
    "whether a tensor learns": (lambda: torch.zeros(3), lambda x: x.requires_grad_(), ""),
    "a NaN": (lambda: torch.tensor([float("nan"), 1.0]), lambda x: x.nan_to_num_(), ""),
    "an expanded tensor": (lambda: torch.zeros(1).expand(4), lambda x: x[:1].fill_(1), ""),
    "an array": (lambda: np.zeros(3), lambda x: x.sort() or x.fill(1), ""),
    "a list's order": (lambda: [3, 1], lambda x: x.sort(), "[0]"),
    "a list's length": (lambda: [3], lambda x: x.append(1), ""),
    "a list in a tuple": (lambda: ([1], [2]), lambda x: x[1].pop(), "[1]"),
    "a dictionary": (lambda: {"a": 1}, lambda x: x.pop("a"), ""),
    "a list in a dictionary": (lambda: {"a": [1]}, lambda x: x["a"].append(2), "['a']"),
    "a set": (lambda: {1, 2}, lambda x: x.discard(1), ""),
    "a bytearray": (lambda: bytearray(b"ab"), lambda x: x.reverse(), ""),
    "an integer's type": (lambda: [1], lambda x: x.__setitem__(0, True), "[0]"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_in_place_is_seen(name):
    make, alter, place = CHANGES[name]
    before, after = make(), make()
    assert may_change(after) and change(before, after) is None
    alter(after)
    assert change(before, after) == place


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
        message({"value": {"int": 5}, "blobs": []}),
        message({"value": {"tensor": "float32", "shape": [1], "grad": False}, "blobs": [-4]}, b"1234"),
        message({"value": {"tensor": "float32", "shape": [1 << 40], "grad": False, "layout": [0, 0]}, "blobs": [8]}, b"12345678"),
        message({"value": {"tensor": "float32", "shape": [1], "grad": False, "layout": [-9, 1]}, "blobs": [4]}, b"1234"),
        message({"value": {"tensor": "float32", "shape": [0] * 70, "grad": False}, "blobs": [0]}),
        message({"value": {"tensor": "float32", "shape": [1 << 70, 0], "grad": False}, "blobs": [0]}),
        message({"value": {"array": {"tensor": "bfloat16", "shape": [1], "grad": False}}, "blobs": [2]}, b"12"),
        message({"value": {"map": [[{"list": []}, 1]]}, "blobs": []}),
        message({"value": {"map": [[1, 2, 3]]}, "blobs": []}),
        message({"value": {"set": [{"dict": {}}]}, "blobs": []}),
        message({"value": {"complex": [1]}, "blobs": []}),
        message({"value": {"bytes": None}, "blobs": [1 << 40]}, b"1"),
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
)
def test_forged_messages_are_refused(forged):
    with pytest.raises(WireError):
        unpack(forged, lambda content: content)
