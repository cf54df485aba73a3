#!/usr/bin/env python3
"""Regenerates tests/fixtures/peft: tiny models with LoRA adapters saved by PEFT, and a matrix in NF4 by bitsandbytes.

    python3 -m venv venv && venv/bin/pip install torch transformers==5.23.0 peft==0.21.2 bitsandbytes==0.50.2
    venv/bin/python tests/reference/make_peft_fixtures.py

With --check FOLDER it does the opposite: puts the adapters that tests/models/io/peft_test.cpp writes when
CHALK_PEFT_DUMP=FOLDER is set on the same models with PEFT, and compares the logits, unmerged and merged.
"""
import os
import shutil
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np
import peft
import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent.parent / "fixtures" / "peft"
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7]])
CASES = {
    "llama": dict(r=3, lora_alpha=6, target_modules="all-linear", lora_dropout=0.05),
    "gpt2": dict(r=2, lora_alpha=5, target_modules="all-linear", use_rslora=True),
    "llama_qv": dict(r=4, lora_alpha=4, target_modules=["q_proj", "v_proj"]),
}


def base_model(kind):
    torch.manual_seed(7)
    if kind.startswith("llama"):
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=29, hidden_size=8, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=4, max_position_embeddings=12, tie_word_embeddings=True,
            bos_token_id=1, eos_token_id=2))
    else:
        model = GPT2LMHeadModel(GPT2Config(vocab_size=29, n_positions=12, n_embd=8, n_layer=2, n_head=2,
                                           bos_token_id=1, eos_token_id=2))
    for parameter in model.parameters():  # large enough that every product counts
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def logits(model):
    with torch.no_grad():
        return model(IDS).logits.numpy()


def make():
    shutil.rmtree(HERE, ignore_errors=True)
    for kind, settings in CASES.items():
        folder = HERE / kind
        model = base_model(kind)
        model.save_pretrained(folder)
        np.save(folder / "base_logits.npy", logits(model))
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.2)
        np.save(folder / "adapted_logits.npy", logits(adapted))
        adapted.save_pretrained(folder)
        for extra in ("README.md", "generation_config.json"):
            (folder / extra).unlink(missing_ok=True)
    make_nf4()


def make_nf4():
    import bitsandbytes.functional as bnb
    torch.manual_seed(3)
    weight = torch.randn(40, 72) * torch.linspace(0.1, 2, 40)[:, None]  # 45 blocks of 64 that cross rows, unequal scales
    tensors = {"weight": weight}
    for kind in ("nf4", "fp4"):
        packed, state = bnb.quantize_4bit(weight, blocksize=64, quant_type=kind, compress_statistics=False)
        tensors[kind + ".codes"] = packed.flatten()
        tensors[kind + ".absmax"] = state.absmax
        tensors[kind + ".dequantized"] = bnb.dequantize_4bit(packed, state)
    packed, state = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=True)
    tensors["double.absmax_codes"] = state.absmax
    tensors["double.absmax_scales"] = state.state2.absmax
    tensors["double.mean"] = state.offset.reshape(1)
    tensors["double.map"] = state.state2.code
    tensors["double.dequantized"] = bnb.dequantize_4bit(packed, state)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, HERE / "nf4.safetensors")


def check(folder):
    failed = 0
    for kind in sorted(path.name for path in folder.iterdir()):  # "gpt2_parts" is GPT-2 with its q and v alone
        model = base_model(kind)
        adapted = peft.PeftModel.from_pretrained(model, folder / kind).eval()
        expected = np.load(folder / kind / "logits.npy")
        unmerged = np.abs(logits(adapted) - expected).max()
        merged = np.abs(logits(adapted.merge_and_unload()) - expected).max()
        good = max(unmerged, merged) < 1e-4 * np.abs(expected).max()
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'}  {kind}: Chalk's adapter in PEFT {peft.__version__}: "
              f"unmerged {unmerged:.1e}, merged {merged:.1e} of {np.abs(expected).max():.3g}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        check(Path(sys.argv[2]))
    make()
    for file in sorted(HERE.rglob("*")):
        if file.is_file():
            print(file.relative_to(HERE), file.stat().st_size)
