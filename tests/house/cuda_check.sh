#!/usr/bin/env bash
# `make cuda-check`: every kernel compiled by nvcc for sm_80, sm_90 and the newest generation it knows, warnings as errors;
# a test linked against cuBLAS. On a machine without a GPU the program must then say so and end with status 4.
# Without nvcc the step is SKIPPED. Last line: "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/../.." || exit 1
nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null)
if [ -z "$nvcc" ]; then
  echo "SKIPPED: nvcc is not installed (README: how to get CUDA); the same sources run on cusim in make test"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi
newest=$("$nvcc" --list-gpu-arch | sed 's/compute_//' | sort -n | tail -n 1)
build=${CUDA_BUILD:-build/cuda-check}  # not build/cuda: the host code here is not optimized, that halves the time
if ! make --no-print-directory CUDA=1 BUILD="$build" OPT_CODE=-O0 CUDA_ARCH="80 90 $newest" "$build/bin/generate" "$build/bin/ladder" \
  "$build/bin/tests/kernels/cuda_attention_test"; then
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi
if nvidia-smi -L >/dev/null 2>&1; then
  "$build/bin/tests/kernels/cuda_attention_test" || { echo "1 passed, 1 failed, 0 skipped"; exit 1; }
else
  "$build/bin/generate" --device cuda --model none >/dev/null 2>"$build/no_gpu.txt"
  status=$?
  if [ "$status" -ne 4 ]; then
    cat "$build/no_gpu.txt"
    echo "without a GPU, --device cuda ended with status $status instead of 4"
    echo "1 passed, 1 failed, 0 skipped"
    exit 1
  fi
  echo "no GPU here, as the program says: $(tail -n 1 "$build/no_gpu.txt")"
fi
echo "2 passed, 0 failed, 0 skipped"
