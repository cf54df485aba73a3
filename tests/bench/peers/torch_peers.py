#!/usr/bin/env python3
"""PyTorch on the workloads of tests/bench/gpu_bench.cpp, eager and under torch.compile, for `make gpu-report`.

    python3 tests/bench/peers/torch_peers.py --out peers.json           on a GPU
    python3 tests/bench/peers/torch_peers.py --out peers.json --tiny    toy sizes on the CPU: tries the script

Same sizes, same counts of bytes and operations, medians of seven runs. Precisions: fp32 (tf32 off), tf32, bf16 (autocast, weights in
fp32, as in Chalk). Status 4 when PyTorch is missing or sees no GPU.
"""
import argparse
import json
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("torch_peers: PyTorch is not installed (pip install torch)", file=sys.stderr)
    sys.exit(4)


class Block(torch.nn.Module):
    """One transformer block of GPT-2."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.attn, self.proj = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x, cache=None, at=0):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.attn(self.ln_1(x)).split(C, dim=2))
        if cache is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:  # one token: its key and value join the cache
            cache[0][:, :, at], cache[1][:, :, at] = k[:, :, 0], v[:, :, 0]
            y = F.scaled_dot_product_attention(q, cache[0][:, :, : at + 1], cache[1][:, :, : at + 1])
        x = x + self.proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT2(torch.nn.Module):
    def __init__(self, vocabulary, context, width, layers, heads):
        super().__init__()
        self.wte, self.wpe = torch.nn.Embedding(vocabulary, width), torch.nn.Embedding(context, width)
        self.blocks = torch.nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = torch.nn.LayerNorm(width)

    def forward(self, ids, caches=None, at=0):
        x = self.wte(ids) + self.wpe(torch.arange(at, at + ids.shape[1], device=ids.device))
        for i, block in enumerate(self.blocks):
            x = block(x, caches[i] if caches else None, at)
        return F.linear(self.ln_f(x), self.wte.weight)


class Bench:
    def __init__(self, device, tiny):
        self.device, self.tiny, self.figures = device, tiny, {}

    def seconds(self, f):
        def run(times):
            self.wait()
            start = time.perf_counter()
            for _ in range(times):
                f()
            self.wait()
            return (time.perf_counter() - start) / times

        once = min(run(1), run(1), run(1))
        times = 1 if self.tiny else min(1000, max(1, int(0.02 / once)))
        return statistics.median(run(times) for _ in range(1 if self.tiny else 7))

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def add(self, name, amount, f, compiled=None):
        """amount per second: of f, and of torch.compile(f) or what was compiled already."""
        row = {}
        for kind, function in (("eager", f), ("compile", compiled or torch.compile(f))):
            try:
                row[kind] = amount / self.seconds(function)
            except Exception as error:  # a kernel that this PyTorch cannot compile must not end the report
                print(f"torch_peers: {name} ({kind}): {error}", file=sys.stderr)
        self.figures[name] = row
        print(f"{name}: {row}", file=sys.stderr)


def memory_bound(bench):
    N, C = (8, 64) if bench.tiny else (32768, 1024)
    a, b, dy = (torch.randn(N, C, device=bench.device) for _ in range(3))
    gain, bias = torch.ones(C, device=bench.device), torch.zeros(C, device=bench.device)
    target = torch.full((N,), 3, device=bench.device)
    one = 4e-9 * N * C  # GB of one array
    bench.add("copy", 2 * one, lambda: a.copy_(b))
    bench.add("residual/forward", 3 * one, lambda: a + b)
    bench.add("layernorm/forward", 2 * one, lambda: F.layer_norm(a, (C,), gain, bias))
    if hasattr(F, "rms_norm"):
        bench.add("rmsnorm/forward", 2 * one, lambda: F.rms_norm(a, (C,), gain))
    bench.add("softmax/forward", 2 * one, lambda: F.softmax(a, dim=-1))
    bench.add("gelu_tanh/forward", 2 * one, lambda: F.gelu(a, approximate="tanh"))
    bench.add("swiglu/forward", 3 * one, lambda: F.silu(a) * b)
    bench.add("dropout/forward", 2 * one, lambda: F.dropout(a, 0.1))
    bench.add("cross_entropy/forward", one, lambda: F.cross_entropy(a, target))
    weight = torch.nn.Parameter(torch.randn(N, C, device=bench.device))
    weight.grad = dy.clone()
    step = torch.optim.AdamW([weight], lr=1e-9, fused=bench.device == "cuda").step
    bench.add("adamw", 7 * one, step, step)


def set_precision(precision):
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def products(bench):
    n = 64 if bench.tiny else 8192
    for precision in ("fp32", "tf32", "bf16"):
        set_precision(precision)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(n, n, device=bench.device, dtype=dtype) for _ in range(2))
        bench.add(f"matmul/{precision}", 2e-12 * n**3, lambda: a @ b.T)


def attention(bench):
    for D in (64, 128):
        B, T, H = (1, 32, 1) if bench.tiny else (4, 4096, 1024 // D)
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            set_precision("fp32")
            q, k, v = (torch.randn(B, H, T, D, device=bench.device, dtype=dtype, requires_grad=True) for _ in range(3))
            dy = torch.randn(B, H, T, D, device=bench.device, dtype=dtype)
            work = 2e-12 * T * (T + 1) / 2 * D * B * H
            sdpa = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
            bench.add(f"attention/forward/D{D}/{precision}", 2 * work, sdpa)
            y = sdpa()
            backward = lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True)
            bench.add(f"attention/backward/D{D}/{precision}", 5 * work, backward, backward)


def training(bench):
    sizes = (40, 16, 16, 1, 2) if bench.tiny else (50257, 1024, 768, 12, 12)
    B, T = (1, 16) if bench.tiny else (8, 1024)
    ids = torch.randint(sizes[0], (B, T), device=bench.device)
    targets = torch.randint(sizes[0], (B, T), device=bench.device)
    for precision in ("fp32", "tf32", "bf16"):
        set_precision(precision)

        def step_of(model):
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=bench.device == "cuda")

            def step():
                with torch.autocast(bench.device, dtype=torch.bfloat16, enabled=precision == "bf16"):
                    loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

            return step

        model = GPT2(*sizes).to(bench.device)
        bench.add(f"train/gpt2_124m/{precision}", B * T, step_of(model), step_of(torch.compile(model)))


def decoding(bench):
    sizes = (40, 16, 16, 1, 2) if bench.tiny else (50257, 1024, 768, 12, 12)
    count = 4 if bench.tiny else 128
    set_precision("fp32")
    model = GPT2(*sizes).to(bench.device).eval()
    shape = (1, sizes[4], count, sizes[2] // sizes[4])
    caches = [[torch.zeros(shape, device=bench.device) for _ in range(2)] for _ in range(sizes[3])]

    def generator(forward):
        @torch.no_grad()
        def run():
            token = torch.ones(1, 1, dtype=torch.long, device=bench.device)
            for at in range(count):
                token = forward(token, caches, at)[:, -1:].argmax(-1)

        return run

    bench.add("decode/gpt2_124m/fp32", count, generator(model), generator(torch.compile(model, dynamic=True)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.tiny:
        print("torch_peers: this PyTorch sees no GPU", file=sys.stderr)
        sys.exit(4)
    bench = Bench("cuda" if torch.cuda.is_available() else "cpu", options.tiny)
    for part in (memory_bound, products, attention, training, decoding):
        part(bench)
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump({"version": f"PyTorch {torch.__version__}", "figures": bench.figures}, file, indent=2)


if __name__ == "__main__":
    main()
