"""Running Chalk's programs from Python, and saying what agreed: shared by the check_*.py scripts of this folder."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(os.environ.get("CHALK_BIN", ROOT / "build" / "bin"))
DATA = Path(os.environ.get("CHALK_DATA", ROOT / "data"))
failures = []


def run(program, **flags):
    """run("train", model="llama", kv_heads=2) -> the JSON object of `build/bin/train --model llama --kv-heads 2 --json`."""
    command = [str(PROGRAMS / program), "--json", "--quiet"]
    for name, value in flags.items():
        flag = "--" + name.replace("_", "-")
        command.append(f"{flag}={str(value).lower()}" if isinstance(value, bool) else flag)
        if not isinstance(value, bool):
            command.append(str(value))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def logits(folder, model, text, **flags):
    """(ids - 1, V): row t predicts id t + 1 of the text, which fits in one window."""
    text_file, array_file = Path(folder) / "text.txt", Path(folder) / "logits.npy"
    text_file.write_text(text, encoding="utf-8")
    run("perplexity", model=model, text=text_file, logits=array_file, **flags)
    return np.load(array_file)


def prompt_ids(model, text, **flags):
    """Ids with BOS in front where the model wants it; special tokens in the text are recognised."""
    return run("generate", model=model, prompt=text, max_new_tokens=0, window="slide", **flags)["prompt_ids"]


def report(name, good, detail=""):
    print(f"{'ok  ' if good else 'FAIL'}  {name}  {detail}", flush=True)
    if not good:
        failures.append(name)


def compare(name, got, expected, tolerance):
    """Largest difference as a share of the largest expected number: both sides add in float32, in another order."""
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if got.shape != expected.shape:
        return report(name, False, f"shapes {got.shape} and {expected.shape}")
    error = np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-30)
    report(name, error <= tolerance, f"largest error {error:.1e} of {np.abs(expected).max():.3g}")


def finish():
    print(f"{len(failures)} failed" if failures else "everything agrees")
    sys.exit(1 if failures else 0)
