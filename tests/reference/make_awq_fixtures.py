#!/usr/bin/env python3
"""Regenerates tests/fixtures/awq/packing.safetensors: one matrix packed by AutoAWQ's own code, in both layouts.

    python3 -m venv venv && venv/bin/pip install torch numpy safetensors accelerate && venv/bin/pip install --no-deps autoawq==0.2.9
    venv/bin/python tests/reference/make_awq_fixtures.py

    venv/bin/python tests/reference/make_awq_fixtures.py --check AWQ_FOLDER FLOAT_FOLDER

The second form reads a LLaMA that Chalk wrote (`awq --export AWQ_FOLDER`) with AutoAWQ's dequantize_gemm, and compares every
weight with what Chalk makes of it (`convert --model AWQ_FOLDER --out FLOAT_FOLDER`).

Without a GPU: packing is plain PyTorch. AutoAWQ's __init__ files import model code that newer versions of transformers no
longer support; empty packages stand in for them here, and the modules that pack are the package's own.

The weights are code * scale - zero * scale with scales that are powers of two: every product is exact in fp16, so the packed
codes must be the ones we drew. That is checked before anything is written.
"""
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "awq"
ROWS, COLUMNS, GROUP = 32, 128, 32  # AutoAWQ packs outputs in 32s only


def autoawq_modules():
    root = Path(importlib.util.find_spec("awq").submodule_search_locations[0])
    for name in ["awq", "awq.modules", "awq.modules.linear", "awq.utils"]:
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.modules.linear.gemv_fast import WQLinear_GEMVFast

    return WQLinear_GEMM, WQLinear_GEMVFast


def check(awq_folder, float_folder):
    autoawq_modules()
    from awq.utils.packing_utils import dequantize_gemm

    group = json.loads((Path(awq_folder) / "config.json").read_text())["quantization_config"]["group_size"]
    packed = safetensors.torch.load_file(Path(awq_folder) / "model.safetensors")
    floats = safetensors.torch.load_file(Path(float_folder) / "model.safetensors")
    worst, layers = 0.0, 0
    for name in (key.removesuffix(".qweight") for key in packed if key.endswith(".qweight")):
        qweight, qzeros, scales = (packed[f"{name}.{part}"] for part in ("qweight", "qzeros", "scales"))
        theirs = dequantize_gemm(qweight, qzeros, scales.float(), 4, qweight.shape[0] if group < 0 else group).T
        worst = max(worst, (theirs - floats[f"{name}.weight"]).abs().max().item())
        layers += 1
    print(f"{layers} layers, largest difference {worst}")
    return 0 if layers > 0 and worst == 0 else 1


def main():
    gemm_class, fast_class = autoawq_modules()
    random = np.random.default_rng(7)
    codes = random.integers(0, 16, (ROWS, COLUMNS))
    zeros = random.integers(0, 16, (ROWS, COLUMNS // GROUP))
    scales = np.exp2(random.integers(-6, 1, (ROWS, COLUMNS // GROUP))).astype(np.float32)
    weight = (codes - np.repeat(zeros, GROUP, axis=1)) * np.repeat(scales, GROUP, axis=1)

    linear = torch.nn.Linear(COLUMNS, ROWS, bias=False)
    linear.weight.data = torch.tensor(weight, dtype=torch.float32)
    arguments = dict(w_bit=4, group_size=GROUP)
    # AutoAWQ hands scales and zeros to the first as (groups, out), to the second as (out, groups).
    scales_t, zeros_t = torch.tensor(scales.T.copy()), torch.tensor(zeros.T.astype(np.float32).copy())
    gemm = gemm_class.from_linear(linear, scales=scales_t, zeros=zeros_t, **arguments)
    scales_o, zeros_o = torch.tensor(scales), torch.tensor(zeros.astype(np.float32))
    fast = fast_class.from_linear(linear, scales=scales_o, zeros=zeros_o, **arguments)

    order = [0, 4, 1, 5, 2, 6, 3, 7]
    packed = gemm.qweight.cpu().numpy().astype(np.int64) & 0xFFFFFFFF
    unpacked = np.stack([packed[:, o // 8] >> 4 * order[o % 8] & 15 for o in range(ROWS)])
    assert (unpacked == codes).all(), "AutoAWQ did not pack the codes that were drawn"

    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {
        "codes": codes.astype(np.uint8),
        "zeros": zeros.astype(np.uint8),
        "scales": scales,
        "gemm.qweight": gemm.qweight.cpu().numpy(),
        "gemm.qzeros": gemm.qzeros.cpu().numpy(),
        "gemm.scales": gemm.scales.cpu().numpy(),
        "v2.qweight": fast.qweight.cpu().numpy(),
        "v2.scales": fast.scales.cpu().numpy(),
        "v2.scaled_zeros": fast.qzeros.cpu().numpy(),
    }
    safetensors.numpy.save_file(tensors, OUT / "packing.safetensors", metadata={"made_by": "autoawq 0.2.9"})
    for name, array in tensors.items():
        print(f"{name:16} {array.dtype} {array.shape}")


if __name__ == "__main__":
    sys.exit(check(*sys.argv[2:]) if sys.argv[1:2] == ["--check"] else main())
