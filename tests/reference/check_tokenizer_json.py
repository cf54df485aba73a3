#!/usr/bin/env python3
"""Checks that Hugging Face's `tokenizers` reads the tokenizer.json files that Chalk writes and gives the same ids.

    python3 -m venv venv && venv/bin/pip install tokenizers
    venv/bin/python tests/reference/check_tokenizer_json.py build/bin/tokenize SOURCE...

A SOURCE is a tokenizer file or folder, or KIND=TEXT to learn one from a text file: bpe:512=data/text/tinyshakespeare.txt,
char=..., word=... . The texts that are compared: the strings below and the text file. Compared are the ids without BOS,
the ids with BOS where the tokenizer wants one, and what the ids decode to.
"""
import json
import os
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

STRINGS = [
    "", " ", "  ", "Hello world", " Hello world", "Hello, world! It's 12345 o'clock.\n\n  Tab\there ", "aaaaaaaaaaaaa",
    "naïve café Zoë", "日本語 テキスト", "😀 emoji \U0001F469\u200D\U0001F680", "I'VE don't", "a\u00a0b\u3000c\u180ed",
    "under_score (brackets); x = 3.14", "\r\n mixed \n\n\n lines \t", "the   three   spaces", "▁literal ▁", "<0x41> <unk>",
]


def run(command):
    return subprocess.run(command, check=True, capture_output=True).stdout


def encode(tokenize, folder, text):
    """Ids by Chalk, or None if it says that it cannot (exit code 2: a word or character outside the vocabulary)."""
    result = subprocess.run([tokenize, "--tokenizer", folder, "--json", "--quiet", "--string=" + text], capture_output=True)
    if result.returncode == 2:
        return None
    return json.loads(result.stdout.splitlines()[-1])["ids"]


def decode(tokenize, folder, ids, scratch):
    path = os.path.join(scratch, "ids.txt")
    with open(path, "w") as file:
        file.write(" ".join(map(str, ids)))
    out = run([tokenize, "--tokenizer", folder, "--json", "--quiet", "--decode", "--text", path])
    return json.loads(out.splitlines()[-1])["text"]


def check_source(tokenize, source, scratch):
    # Two tokenizers: `given` as the source says, `saved` as Chalk wrote it.
    saved = os.path.join(scratch, "saved")
    kind, _, text_path = source.partition("=")
    how = ["--tokenizer", kind, "--text", text_path] if text_path else ["--tokenizer", source]
    run([tokenize, *how, "--save", saved, "--quiet"])
    given = saved if text_path else source
    theirs = Tokenizer.from_file(os.path.join(saved, "tokenizer.json"))
    with open(os.path.join(saved, "tokenizer_config.json"), encoding="utf-8") as file:
        config = json.load(file)
    bos = [theirs.token_to_id(config["bos_token"])] if config["add_bos_token"] else []
    texts = list(STRINGS)
    if text_path:
        with open(text_path, encoding="utf-8", newline="") as file:
            book = file.read()
        texts += [book[i : i + 3000] for i in range(0, min(len(book), 60000), 3000)]
    wrong = 0
    for text in texts:
        ours = encode(tokenize, given, text)
        try:
            got, with_bos = theirs.encode(text, add_special_tokens=False).ids, theirs.encode(text).ids
        except Exception:  # no [UNK]: how `tokenizers` reports a word outside the vocabulary
            got = with_bos = None
        agrees = got == ours
        if ours is not None and agrees:
            decoded = decode(tokenize, given, ours, scratch)
            agrees = with_bos == bos + ours and theirs.decode(ours, skip_special_tokens=False) == decoded
        if not agrees:
            wrong += 1
            print(f"  {text[:60]!r}\n    chalk {ours and ours[:24]}\n    hf    {got and got[:24]}")
    print(f"{source}: {len(texts) - wrong} of {len(texts)} texts agree")
    return wrong == 0


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    ok = True
    for source in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as scratch:
            ok = check_source(sys.argv[1], source, scratch) and ok
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
