#!/usr/bin/env bash
# The GPU generations to compile for: this machine's GPU, else 80, 90 and the newest that nvcc knows. Usage: cuda_arch.sh NVCC
own=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d . | sort -u | tr '\n' ' ')
if [ -n "$own" ]; then
  echo "$own"
else
  newest=$("$1" --list-gpu-arch 2>/dev/null | sed 's/compute_//' | sort -n | tail -n 1)
  echo 80 90 "$newest"
fi
