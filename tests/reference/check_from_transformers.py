#!/usr/bin/env python3
"""Does Chalk read what transformers saves? Random small models of every kind that Chalk knows, saved whole, in shards, and in half
precision: logits and greedy text must agree. See README.md.
"""
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers import MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

import chalk

TOLERANCE = 2e-5  # float32 on both sides, sums of at most a few hundred terms in another order
LETTERS = [chr(c) for c in range(48, 112)]  # one character, one id: the text is the list of ids
SMALL = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=96, bos_token_id=None, eos_token_id=None)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)


def rope(theta, **scaling):
    """Both spellings: transformers 4 reads rope_theta and rope_scaling, 5 rope_parameters."""
    if int(transformers.__version__.split(".")[0]) >= 5:
        return dict(rope_parameters=dict(dict(rope_type="default"), **scaling, rope_theta=theta))
    return dict(rope_theta=theta, rope_scaling=scaling or None)


def gpt2(**changes):
    return GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=96, n_embd=32, n_layer=3, n_head=4, bos_token_id=None,
                                      eos_token_id=None, **changes))


MODELS = {
    "GPT-2": lambda: gpt2(),
    "GPT-2, untied, n_inner 40, erf GELU": lambda: gpt2(tie_word_embeddings=False, n_inner=40, activation_function="gelu"),
    "LLaMA, every head its own key": lambda: LlamaForCausalLM(LlamaConfig(**{**SMALL, "num_key_value_heads": 4})),
    "LLaMA, grouped, tied": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=True)),
    "LLaMA, grouped, llama3 scaling": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, **rope(500000.0, **LLAMA3))),
    "LLaMA, linear scaling, head_dim 12": lambda: LlamaForCausalLM(
        LlamaConfig(**SMALL, head_dim=12, **rope(10000.0, rope_type="linear", factor=4.0))),
    "Mistral, window 7": lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=7)),
    "Mistral, no window": lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=None)),
    "Qwen2, biases, tied": lambda: Qwen2ForCausalLM(Qwen2Config(**SMALL, tie_word_embeddings=True, **rope(1e6))),
    "Qwen2, window 9 on all layers": lambda: Qwen2ForCausalLM(
        Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=9, max_window_layers=0)),
}
SAVES = {
    "float32": dict(dtype=torch.float32),
    "shards": dict(dtype=torch.float32, max_shard_size="20KB"),
    "float16": dict(dtype=torch.float16),
    "bfloat16": dict(dtype=torch.bfloat16),
}


def check(name, model, saving, folder):
    dtype = saving.pop("dtype")
    model.to(dtype).save_pretrained(folder / "hf", **saving)
    # Read again: .to(float16) has rounded the rotary frequencies too, which are not stored.
    model = type(model).from_pretrained(folder / "hf", dtype=torch.float32).eval()
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}))
    ids = np.random.default_rng(5).integers(0, len(LETTERS), 80)
    text = "".join(LETTERS[i] for i in ids)
    with torch.no_grad():
        expected = model(torch.tensor(ids)[None]).logits[0, :-1].numpy()
    flags = dict(tokenizer=folder / "vocab.json")
    chalk.compare(f"{name}: logits", chalk.logits(folder, folder / "hf", text, **flags), expected, TOLERANCE)

    with torch.no_grad():
        written = model.generate(torch.tensor(ids[:30])[None], attention_mask=torch.ones(1, 30, dtype=torch.long),
                                 max_new_tokens=40, do_sample=False, pad_token_id=0)[0, 30:].tolist()
    fresh = chalk.run("generate", model=folder / "hf", prompt=text[:30], max_new_tokens=40, temperature=0, ignore_stop=True,
                      **flags)["ids"]
    chalk.report(f"{name}: greedy text", fresh == written, f"{len(fresh)} ids")


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for number, (name, make) in enumerate(MODELS.items()):
        for saved, saving in SAVES.items():
            torch.manual_seed(number)
            model = make().eval()
            for parameter in model.parameters():  # the usual 0.02 gives logits too flat to tell two models apart
                torch.nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.15)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    check(f"{name}, {saved}", model, dict(saving), Path(folder))
                except RuntimeError as problem:
                    chalk.report(f"{name}, {saved}", False, str(problem))
    chalk.finish()


if __name__ == "__main__":
    main()
