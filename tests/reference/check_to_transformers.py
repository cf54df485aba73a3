#!/usr/bin/env python3
"""Do transformers and tokenizers read what `train` writes? Logits and ids must agree, and every tensor must find its place.

Trains gpt2 and llama (grouped queries, tied and not) for a few steps with word, character and BPE tokenizers. See README.md.
"""
import tempfile
from pathlib import Path

import torch
import transformers

import chalk

TOLERANCE = 2e-5  # float32 on both sides, sums of at most a few hundred terms in another order

WORLD_TEXT = "<bos> <user> what color is the blick ? <eot> <bot> the blick is red . <eot>"
RUNS = {
    "gpt2, world, word": dict(model="gpt2", corpus="world", tokenizer="word"),
    "llama, world, word": dict(model="llama", corpus="world", tokenizer="word", kv_heads=2),
    "llama, world, bpe:300": dict(model="llama", corpus="world", tokenizer="bpe:300", kv_heads=2, context=256),
    "gpt2, world, char": dict(model="gpt2", corpus="world", tokenizer="char", context=320),
    "gpt2, file, char": dict(model="gpt2", corpus="FILE", tokenizer="char"),
    "llama, file, char, untied": dict(model="llama", corpus="FILE", tokenizer="char", kv_heads=2, tie=False),
    "gpt2, file, bpe:300, untied": dict(model="gpt2", corpus="FILE", tokenizer="bpe:300", tie=False),
    "llama, file, bpe:300, one kv head": dict(model="llama", corpus="FILE", tokenizer="bpe:300", kv_heads=1),
    "llama, file, word": dict(model="llama", corpus="FILE", tokenizer="word", kv_heads=2),
}
# Ordinary prose, repeated so that a short file holds enough words for training.
PROSE = """The quick brown fox, it is said, jumped over 12 lazy dogs; "why?", asked nobody.
Na\u00efve caf\u00e9s don't serve 3,14 \u03c0\u2026  Two  spaces, a tab\there.

It's what they'd call an odd text -- and so it is!
"""


def check(name, flags, folder):
    corpus = folder / "corpus.txt"
    corpus.write_text(PROSE * 40, encoding="utf-8")
    if flags["corpus"] == "FILE":
        flags = dict(flags, corpus=corpus)
    run_folder = folder / "run"
    flags = dict(dict(layers=2, heads=4, width=32, context=64), **flags)
    chalk.run("train", steps=3, batch=2, documents=200, eval_every=3, out=run_folder, **flags)
    checkpoint = sorted((run_folder / "checkpoints").iterdir())[-1]

    model, info = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, output_loading_info=True)
    model.generation_config.eos_token_id = None  # greedy text of a fixed length
    bad = {key: value for key, value in info.items() if value}
    chalk.report(f"{name}: every tensor has its place", not bad, str(bad or type(model).__name__))

    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    world = flags["corpus"] == "world"
    text = WORLD_TEXT if world else PROSE[:150] if flags["tokenizer"] != "word" else PROSE.split("Two")[0]
    theirs = tokenizer(text.removeprefix("<bos> ") if world and flags["tokenizer"] == "word" else text)["input_ids"]
    if world and flags["tokenizer"] != "word":
        theirs = theirs[1:]  # the template adds a second BOS to one that is written out
    ours = chalk.prompt_ids(run_folder, text)
    chalk.report(f"{name}: ids", ours == theirs, f"{len(ours)} ids" if ours == theirs else f"{ours} {theirs}")
    back = tokenizer.decode(theirs)
    expected = " ".join(text.split()) if flags["tokenizer"] == "word" else text
    chalk.report(f"{name}: decoding", back == expected, "" if back == expected else repr(back))

    plain = text.replace("<bos> ", "").replace("<user> ", "").replace("<eot> ", "").replace("<bot> ", "").replace(" <eot>", "")
    plain = plain[:60] if flags["tokenizer"] != "word" else plain
    ids = tokenizer(plain)["input_ids"]
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0, :-1].numpy()
    chalk.compare(f"{name}: logits", chalk.logits(folder, run_folder, plain), expected, TOLERANCE)

    prompt = ids[:10]
    with torch.no_grad():
        written = model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False, pad_token_id=0)
    got = chalk.prompt_ids(run_folder, plain)
    chalk.report(f"{name}: plain ids", got == ids, f"{len(ids)} ids" if got == ids else f"{got} {ids}")
    start = tokenizer.decode(prompt, skip_special_tokens=True)
    if chalk.prompt_ids(run_folder, start) == prompt:
        fresh = chalk.run("generate", model=run_folder, prompt=start, max_new_tokens=20, temperature=0, ignore_stop=True)["ids"]
        chalk.report(f"{name}: greedy text", fresh == written[0, len(prompt):].tolist(), f"{len(fresh)} ids")


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name, flags in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            check(name, flags, Path(folder))
    chalk.finish()


if __name__ == "__main__":
    main()
