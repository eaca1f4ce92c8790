from __future__ import annotations

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from senumpy.errors import InputError
from senumpy.storage import load_tensors, save_tensors

DTYPES = st.one_of(
    hnp.floating_dtypes(), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.boolean_dtypes()
).filter(lambda dtype: dtype.itemsize <= 8)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


def bits(array):
    return array.astype(array.dtype.newbyteorder("="), order="C").tobytes()


def test_equal_content_is_equal_bytes(tmp_path):
    # safetensors writes metadata in the order of a hash map, another one each time.
    metadata = {f"key {i}": "ä" * i for i in range(8)}
    for i in range(4):
        metadata = dict(reversed(metadata.items()))
        save_tensors(tmp_path / f"{i}.safetensors", {"a": np.arange(3.0), "é": np.ones(2)}, metadata)
    files = [(tmp_path / f"{i}.safetensors").read_bytes() for i in range(4)]
    assert files == files[:1] * 4
    assert (8 + int.from_bytes(files[0][:8], "little")) % 8 == 0  # numbers are aligned
    assert load_tensors(tmp_path / "0.safetensors")[1] == metadata


@given(
    arrays=st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__"), ARRAYS, max_size=4
    ),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_round_trip_is_bit_for_bit(tmp_path_factory, arrays, metadata):
    path = tmp_path_factory.mktemp("tensors") / "a.safetensors"
    save_tensors(path, arrays, metadata)
    loaded, loaded_metadata = load_tensors(path)
    assert loaded_metadata == metadata
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        assert loaded[name].tobytes() == bits(array)


def test_memory_order_does_not_matter(tmp_path, rng):
    x = rng.standard_normal((4, 3, 5))
    views = {
        "t": x.T,
        "f": np.asfortranarray(x),
        "s": x[::2, :, ::-2],
        "b": np.broadcast_to(x[:, :1], (4, 7, 5)),
    }
    save_tensors(tmp_path / "a", views, {})
    for name, array in load_tensors(tmp_path / "a")[0].items():
        np.testing.assert_array_equal(array, views[name])
        assert array.flags.writeable
        assert array.flags.c_contiguous


def test_not_a_number_and_signed_zero_survive(tmp_path):
    x = np.array([np.nan, -0.0, np.inf, -np.inf, 5e-324])
    save_tensors(tmp_path / "a", {"x": x})
    assert load_tensors(tmp_path / "a")[0]["x"].tobytes() == x.tobytes()


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([object()]), np.array([1j]), np.array([1], "M8[s]")]
)
def test_refuses_what_the_format_has_no_place_for(tmp_path, array):
    with pytest.raises(TypeError, match="tensor 'w' has dtype"):
        save_tensors(tmp_path / "a", {"w": array})
    with pytest.raises(TypeError, match="metadata 'epoch': got int"):
        save_tensors(tmp_path / "a", {}, {"epoch": 3})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(tmp_path, rng):
    path = tmp_path / "checkpoint.safetensors"
    tensors = {"conv.weight": rng.standard_normal((8, 3, 3, 3)), "fc.bias": rng.standard_normal(10)}
    save_tensors(path, tensors, {"epoch": "3"})
    return path


def test_every_cut_is_refused(saved):
    whole = saved.read_bytes()
    for size in [*range(0, len(whole), 64), 1, 7, 8, 9, len(whole) - 1]:
        saved.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"checkpoint\.safetensors: (holds|cut short).*want") as error:
            load_tensors(saved)
        assert "\n" not in str(error.value)


def test_bytes_after_the_end_are_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(InputError, match="too long"):
        load_tensors(saved)


@given(data=st.data())
def test_a_damaged_header_is_never_another_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "a"
    save_tensors(path, {"w": np.arange(6.0).reshape(2, 3), "b": np.ones(2, np.float32)}, {"epoch": "3"})
    raw = bytearray(path.read_bytes())
    header = struct.unpack("<Q", raw[:8])[0]
    position = data.draw(st.integers(0, 8 + header - 1))
    raw[position] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    with contextlib.suppress(InputError):
        load_tensors(path)


def with_header(header: object, numbers: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


F32 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + b"\xff" * 60, "not a safetensors file: bytes 0 to 7 give a header of"),
        (with_header(b"{]"), "the header at byte 8 is not JSON"),
        (with_header(b"\xff\xfe"), "the header at byte 8 is not JSON"),
        (with_header(b"[" * 100_000), "the header at byte 8 is not JSON"),
        (with_header([1]), "JSON, but not an object"),
        (with_header({"__metadata__": {"a": 1}}), "field __metadata__"),
        (
            with_header(
                b'{"w":' + json.dumps(F32).encode() + b',"w":' + json.dumps(F32).encode() + b"}", b"1234"
            ),
            "'w' stands twice",
        ),
        (with_header({"w": 3}), "tensor 'w' in the header: wanted fields"),
        (with_header({"w": F32 | {"dtype": "F8_E4M3"}}, b"1234"), "dtype 'F8_E4M3', wanted one of BOOL"),
        (with_header({"w": F32 | {"shape": [-1]}}, b"1234"), r"shape \[-1\]"),
        (with_header({"w": F32 | {"shape": [True]}}, b"1234"), r"shape \[True\]"),
        (with_header({"w": F32 | {"shape": [2]}}, b"1234"), "has 4 bytes, wanted 8"),
        (with_header({"w": F32 | {"data_offsets": [0]}}, b"1234"), "data_offsets"),
        (with_header({"w": F32, "v": F32}, b"1234"), "starts at data byte 0, wanted 4"),
        (with_header({"w": F32 | {"data_offsets": [4, 8]}}, b"12345678"), "starts at data byte 4, wanted 0"),
        (with_header({"w": F32}, b"123"), "cut short: holds 3 bytes of numbers, its header wants 4"),
    ],
)
def test_a_wrong_header_names_the_field(tmp_path, content, message):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load_tensors(path)
    assert str(error.value).startswith(str(path))


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*No such file"):
        load_tensors(tmp_path / "none")
