#!/usr/bin/env python3
"""Regenerates tests/fixtures/gptq with AutoGPTQ, an implementation that shares no line with Chalk.

    python3 -m venv venv && venv/bin/pip install torch transformers numpy safetensors
    venv/bin/pip install --no-deps auto-gptq==0.7.1      # its CUDA extensions are not used
    venv/bin/python tests/reference/make_gptq_fixtures.py

packed_N.safetensors: codes of N bits that AutoGPTQ packed (version 1), and what its own layer multiplies with.
layer.safetensors: one layer quantized by AutoGPTQ's GPTQ class with several settings.
Only two modules of the package are loaded, by path: the package as a whole asks for a GPU.
"""
import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

HERE = Path(__file__).resolve().parent.parent / "fixtures" / "gptq"
PACKAGE = next(Path(p) / "auto_gptq" for p in sys.path if (Path(p) / "auto_gptq").is_dir())


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, PACKAGE / path, submodule_search_locations=[])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def make_packed(QuantLinear, bits):
    """64 inputs in groups of 32, 32 outputs; the groups of the inputs are shuffled for 4 bits, as act-order leaves them."""
    rng = np.random.default_rng(bits)
    inputs, outputs, group_size = 64, 32, 32
    codes = rng.integers(0, 2**bits, size=(outputs, inputs))
    zeros = rng.integers(1, 2**bits, size=(outputs, 2))
    scales = (rng.uniform(0.5, 2, size=(outputs, 2)) / 64).astype(np.float16).astype(np.float32)
    g_idx = np.arange(inputs) // group_size
    if bits == 4:
        g_idx = rng.permutation(g_idx)
    weight = scales[:, g_idx] * (codes - zeros[:, g_idx])
    linear = torch.nn.Linear(inputs, outputs, bias=False)
    linear.weight.data = torch.tensor(weight, dtype=torch.float32)
    layer = QuantLinear(bits, group_size, inputs, outputs, bias=False, weight_dtype=torch.float32)
    layer.pack(linear, torch.tensor(scales), torch.tensor(zeros, dtype=torch.float32),
               torch.tensor(g_idx, dtype=torch.int32))
    multiplied = layer(torch.eye(inputs)).T.contiguous()
    assert torch.allclose(multiplied, linear.weight.data, atol=1e-6), bits
    save_file({
        "qweight": layer.qweight.numpy(), "qzeros": layer.qzeros.numpy(),
        "scales": layer.scales.numpy().astype(np.float16), "g_idx": layer.g_idx.numpy(),
        "codes": codes.astype(np.uint8), "zeros": zeros.astype(np.uint8),
        "weight": multiplied.detach().numpy(),
    }, HERE / f"packed_{bits}.safetensors")


SETTINGS = {  # name: (quantizer, fasterquant)
    "rows3": (dict(bits=3, sym=False), dict()),
    "rows3_sym": (dict(bits=3, sym=True), dict()),
    "rows2_mse": (dict(bits=2, sym=False, mse=True), dict()),
    "groups": (dict(bits=3, sym=False), dict(group_size=8, blocksize=16)),
    "act_order": (dict(bits=3, sym=False), dict(group_size=8, blocksize=16, actorder=True)),
    "static": (dict(bits=3, sym=False), dict(group_size=8, blocksize=16, actorder=True, static_groups=True)),
}


def make_layer(GPTQ):
    rows, columns, sequences, length = 24, 48, 3, 80
    rng = np.random.default_rng(0)
    x = np.empty((sequences, length, columns), dtype=np.float32)
    x[..., 0] = rng.normal(size=(sequences, length))
    for i in range(1, columns):  # AR(1) along the inputs
        x[..., i] = 0.9 * x[..., i - 1] + np.sqrt(1 - 0.81) * rng.normal(size=(sequences, length))
    x *= np.linspace(0.5, 2, columns)[rng.permutation(columns)]
    x[..., 5] = 0  # a dead column
    w = rng.normal(size=(rows, columns)).astype(np.float32)
    tensors = {"w": w, "x": x.astype(np.float32)}
    for name, (quantizer, options) in SETTINGS.items():
        linear = torch.nn.Linear(columns, rows, bias=False)
        linear.weight.data = torch.tensor(w)
        gptq = GPTQ(linear)
        gptq.quantizer.configure(perchannel=True, **quantizer)
        for sequence in tensors["x"]:
            gptq.add_batch(torch.tensor(sequence), None)
        if "h" not in tensors:
            tensors["h"] = gptq.H.numpy().copy()
        scale, zero, g_idx = gptq.fasterquant(percdamp=0.01, **options)
        tensors[name + ".q"] = linear.weight.data.numpy().copy()
        tensors[name + ".scales"] = scale.numpy().copy()
        tensors[name + ".zeros"] = zero.numpy().astype(np.uint8)
        tensors[name + ".g_idx"] = g_idx.numpy().copy()
    save_file(tensors, HERE / "layer.safetensors")


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    torch.cuda.synchronize = lambda: None  # called for its timing
    layers = load("auto_gptq_qlinear", "nn_modules/qlinear/qlinear_cuda.py")
    for bits in (2, 3, 4, 8):
        make_packed(layers.QuantLinear, bits)
    load("auto_gptq_quantization", "quantization/quantizer.py")
    sys.modules["auto_gptq_quantization.quantizer"] = sys.modules["auto_gptq_quantization"]
    make_layer(load("auto_gptq_quantization.gptq", "quantization/gptq.py").GPTQ)
    for path in sorted(HERE.glob("*.safetensors")):
        print(path.name, path.stat().st_size, "bytes")
