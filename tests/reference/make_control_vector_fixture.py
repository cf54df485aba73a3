#!/usr/bin/env python3
"""A control vector as llama.cpp's own Python package writes it: tests/fixtures/io/control_vector.gguf. With a path as argument:
does that package read the file (which Chalk wrote) as a control vector? See README.md.
"""
import sys
from pathlib import Path

import gguf
import numpy as np

DIRECTIONS = {1: [0.5, -1.25, 3, 0, 1e-3, -7, 8, 0.0625], 2: [1, 2, 3, 4, 5, 6, 7, 8]}


def write(path):
    writer = gguf.GGUFWriter(path, "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", len(DIRECTIONS))
    for block, values in DIRECTIONS.items():
        writer.add_tensor(f"direction.{block}", np.array(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path):
    reader = gguf.GGUFReader(path)
    architecture = bytes(reader.fields["general.architecture"].parts[-1]).decode()
    assert architecture == "controlvector", architecture
    for tensor in reader.tensors:
        assert tensor.name.startswith("direction.") and tensor.tensor_type == gguf.GGMLQuantizationType.F32, tensor.name
        print(f"{tensor.name}: {tensor.data.size} numbers, length {np.linalg.norm(tensor.data):.4f}")


if len(sys.argv) > 1:
    read(sys.argv[1])
else:
    write(Path(__file__).resolve().parents[1] / "fixtures" / "io" / "control_vector.gguf")
