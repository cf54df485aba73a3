#!/usr/bin/env python3
"""Are the GGUF files that `convert` writes what others expect? llama.cpp's own Python package must parse them
and decode the same numbers. Also the round trip llama2.c -> Hugging Face -> GGUF -> llama2.c, which must give the same weights bit for
bit. See README.md.
"""
import tempfile
from pathlib import Path

import gguf
import numpy as np

import chalk

STORIES = chalk.DATA / "models" / "stories260K"
# Largest error of one weight as a share of the largest of its block: half a step of each type (q4_0: a whole one at the far end),
# and the rounding of the float16 scale.
STEP = {"f32": 0, "f16": 2.0**-11, "bf16": 2.0**-8, "q8_0": 0.5 / 127 + 2.0**-11, "q4_0": 1 / 8 + 2.0**-11}


def half_split_to_interleaved(rows, heads):
    """Hugging Face's rotary row order to GGUF's, for the architecture llama."""
    size = rows.shape[0] // heads
    return rows.reshape(heads, 2, size // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def check_tensors(name, path, weights, dtype, heads):
    """`weights`: name in the GGUF -> float32 array."""
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    chalk.report(f"{name}: tensor names", set(tensors) == set(weights), str(set(tensors) ^ set(weights) or len(tensors)))
    for key, expected in weights.items():
        got = gguf.quants.dequantize(tensors[key].data, tensors[key].tensor_type).reshape(expected.shape)
        if key in heads:
            expected = half_split_to_interleaved(expected, heads[key])
        is_matrix = expected.ndim == 2
        width = 32 if dtype.startswith("q") and is_matrix and expected.shape[-1] % 32 == 0 else expected.shape[-1]
        blocks = expected.reshape(-1, width)
        bound = (STEP[dtype] if is_matrix else 0) * np.abs(blocks).max(axis=1, keepdims=True)
        error = np.abs(got.reshape(blocks.shape) - blocks)
        if not (error <= bound + 1e-30).all():
            return chalk.report(f"{name}: {key}", False, f"error {error.max():.2e}")
    chalk.report(f"{name}: numbers", True, f"{len(weights)} tensors")


def read_llama2c(path):
    """The weights of a llama2.c file by GGUF name, query and key rows as they stand there (interleaved, like GGUF's)."""
    header = np.fromfile(path, dtype=np.int32, count=7)
    C, F, L, H, K, V, T = (int(abs(x)) for x in header)
    data, at, weights = np.fromfile(path, dtype=np.float32, offset=28), 0, {}

    def take(key, *shape):
        nonlocal at
        weights[key] = data[at:at + np.prod(shape)].reshape(shape)
        at += int(np.prod(shape))

    def layers(key, *shape):
        for layer in range(L):
            take(f"blk.{layer}.{key}.weight", *shape)

    D = C // H
    take("token_embd.weight", V, C)
    layers("attn_norm", C), layers("attn_q", H * D, C), layers("attn_k", K * D, C), layers("attn_v", K * D, C)
    layers("attn_output", C, H * D), layers("ffn_norm", C), layers("ffn_gate", F, C), layers("ffn_down", C, F)
    layers("ffn_up", F, C), take("output_norm.weight", C)
    return header, weights


def check_stories(folder):
    source, tokenizer = STORIES / "stories260K.bin", STORIES / "tok512.bin"
    chalk.run("convert", model=source, tokenizer=tokenizer, to="hf", out=folder / "hf")
    chalk.run("convert", model=folder / "hf", to="gguf", out=folder / "hf.gguf")
    chalk.run("convert", model=folder / "hf.gguf", to="llama2c", out=folder / "back.bin")
    header, weights = read_llama2c(source)
    header_back, back = read_llama2c(folder / "back.bin")
    same = (header == header_back).all() and all((weights[key].view(np.int32) == back[key].view(np.int32)).all() for key in weights)
    chalk.report("stories260K: llama2.c -> hf -> gguf -> llama2.c", same, "bit for bit")
    for dtype in STEP:
        path = folder / f"{dtype}.gguf"
        chalk.run("convert", model=source, tokenizer=tokenizer, to="gguf", dtype=dtype, out=path)
        check_tensors(f"stories260K {dtype}", path, weights, dtype, heads={})
    text = "Once upon a time, there was a little girl named Lily. She didn't have 2 caf\u00e9s.\nThe end"
    ids = chalk.prompt_ids(source, text, tokenizer=tokenizer)
    for kind, model in {"hf": folder / "hf", "gguf": folder / "f32.gguf", "hf -> gguf": folder / "hf.gguf"}.items():
        chalk.report(f"stories260K {kind}: ids", chalk.prompt_ids(model, text) == ids, f"{len(ids)} ids")


def check_trained(folder, model, **flags):
    """A BPE model of `train` as GGUF, beside its own safetensors."""
    import safetensors.numpy
    corpus = folder / "corpus.txt"
    corpus.write_text("It's said that the quick brown fox jumped over 12 lazy dogs; \"why?\", asked nobody.\n" * 60)
    chalk.run("train", model=model, corpus=corpus, tokenizer="bpe:300", layers=2, heads=4, width=64, context=64, steps=3, batch=2,
              eval_every=3, out=folder / "run", **flags)
    checkpoint = sorted((folder / "run" / "checkpoints").iterdir())[-1]
    stored = safetensors.numpy.load_file(checkpoint / "model.safetensors")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA if model == "llama" else gguf.MODEL_ARCH.GPT2, 2)
    weights, heads = {}, {}
    for key, value in stored.items():
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if model == "gpt2" and key.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            value = value.T
        weights[name] = np.ascontiguousarray(value)
        if name.endswith("attn_q.weight"):
            heads[name] = 4
        if name.endswith("attn_k.weight"):
            heads[name] = flags.get("kv_heads", 4)
    if model == "gpt2":
        weights["output.weight"] = weights["token_embd.weight"]
    path = folder / "f32.gguf"
    chalk.run("convert", model=folder / "run", to="gguf", out=path)
    check_tensors(f"{model} f32", path, weights, "f32", heads if model == "llama" else {})
    text = "It's said that 12 dogs jumped; why not?"
    same = chalk.prompt_ids(path, text) == chalk.prompt_ids(folder / "run", text)
    chalk.report(f"{model}: ids of the file's own tokenizer", same)
    chalk.compare(f"{model}: logits", chalk.logits(folder, path, text), chalk.logits(folder, folder / "run", text), 0)


def main():
    if not STORIES.exists():
        print(f"no {STORIES}: set CHALK_DATA to check stories260K too")
    else:
        with tempfile.TemporaryDirectory() as folder:
            check_stories(Path(folder))
    for model, flags in {"llama": dict(kv_heads=2), "gpt2": {}}.items():
        with tempfile.TemporaryDirectory() as folder:
            check_trained(Path(folder), model, **flags)
    chalk.finish()


if __name__ == "__main__":
    main()
