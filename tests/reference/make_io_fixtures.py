#!/usr/bin/env python3
"""Regenerates tests/fixtures/io: small files written by the libraries that own the formats.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 safetensors==0.8.0 gguf==0.19.0
    venv/bin/python tests/reference/make_io_fixtures.py

With --check FOLDER it does the opposite: reads there what tests/models/io/fixtures_test.cpp writes when
CHALK_IO_DUMP=FOLDER is set, and compares every number.
"""
import sys
from pathlib import Path

import gguf
import numpy as np
import safetensors.numpy

HERE = Path(__file__).resolve().parent.parent / "fixtures" / "io"


def numbers(count):
    """1/4 steps around zero: exact in every float type used here."""
    return (np.arange(count, dtype=np.float32) - count // 2) / 4


def make():
    HERE.mkdir(parents=True, exist_ok=True)
    np.save(HERE / "f4.npy", numbers(6).reshape(2, 3))
    np.save(HERE / "i8.npy", np.array([-(2**40), 7], dtype=np.int64))
    np.save(HERE / "scalar_f8.npy", np.float64(0.1))
    np.save(HERE / "fortran.npy", np.asfortranarray(numbers(6).reshape(2, 3)))
    tensors = {
        "weight": numbers(12).reshape(3, 4),
        "half": numbers(5).astype(np.float16),
        "ids": np.array([[1, -2], [3, 4]], dtype=np.int64),
        "flags": np.array([True, False, True]),
        "bytes": np.arange(3, dtype=np.uint8),
        "scalar": np.full((), 2.5, dtype=np.float32),
        "nothing": np.zeros((0, 3), dtype=np.float32),
    }
    safetensors.numpy.save_file(tensors, HERE / "reference.safetensors", metadata={"format": "np", "note": "caf\u00e9"})
    make_gguf()


def make_gguf():
    writer = gguf.GGUFWriter(HERE / "reference.gguf", "llama")
    writer.add_uint8("test.u8", 200)
    writer.add_int8("test.i8", -100)
    writer.add_uint16("test.u16", 60000)
    writer.add_int16("test.i16", -30000)
    writer.add_uint32("test.u32", 4000000000)
    writer.add_int32("test.i32", -2000000000)
    writer.add_uint64("test.u64", 2**63)
    writer.add_int64("test.i64", -(2**62))
    writer.add_float32("test.f32", 1e-5)
    writer.add_float64("test.f64", 1e-300)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "caf\u00e9")
    writer.add_array("test.strings", ["a", "", "ccc"])
    writer.add_array("test.floats", [0.5, -2.0])
    data = numbers(512).reshape(2, 256)
    kinds = gguf.GGMLQuantizationType
    writer.add_tensor("f32", data)
    writer.add_tensor("f16", data.astype(np.float16))
    for kind in (kinds.BF16, kinds.Q8_0, kinds.Q4_0, kinds.Q4_1, kinds.Q5_0, kinds.Q5_1):
        writer.add_tensor(kind.name.lower(), gguf.quants.quantize(data, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check(folder):
    assert np.array_equal(np.load(folder / "f4.npy"), numbers(6).reshape(2, 3))
    assert np.array_equal(np.load(folder / "i8.npy"), [-(2**40), 7])
    with safetensors.safe_open(folder / "chalk.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt", "note": "caf\u00e9"}
        assert np.array_equal(file.get_tensor("weight"), numbers(12).reshape(3, 4))
        assert np.array_equal(file.get_tensor("half"), numbers(5).astype(np.float16))
        assert np.array_equal(file.get_tensor("ids"), [[1, -2], [3, 4]])
    reader = gguf.GGUFReader(folder / "chalk.gguf")
    assert reader.get_field("test.u64").contents() == 2**63
    assert reader.get_field("test.i8").contents() == -100
    assert reader.get_field("test.strings").contents() == ["a", "", "ccc"]
    assert reader.get_field("test.bool").contents() is True
    data = numbers(512).reshape(2, 256)
    for tensor in reader.tensors:
        kind = tensor.tensor_type
        expected = gguf.quants.dequantize(gguf.quants.quantize(data, kind), kind)
        got = gguf.quants.dequantize(tensor.data, kind)
        assert np.array_equal(got.reshape(2, 256), expected), tensor.name
    print("all of Chalk's files read as expected:", len(reader.tensors), "GGUF tensors")


if __name__ == "__main__":
    check(Path(sys.argv[2])) if sys.argv[1:2] == ["--check"] else make()
