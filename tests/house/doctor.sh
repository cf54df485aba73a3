#!/usr/bin/env bash
# `make doctor`: what this machine has, one sentence each. Status 0, or 4 when something needed is missing.
set -u
CXX=${CXX:-g++} ARCH=${ARCH:-native} status=0
good() { printf 'ok    %-10s %s\n' "$1" "$2"; }
note() { printf '      %-10s %s\n' "$1" "$2"; }
bad() { printf 'BAD   %-10s %s\n' "$1" "$2"; status=4; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Compiles stdin, links with "$@", and prints what the program prints.
probe() {
  cat >"$folder/probe.cpp"
  # shellcheck disable=SC2086  # CXX and ARCH may hold several words
  $CXX -std=c++20 -O1 -march=$ARCH -DHWY_COMPILE_ONLY_STATIC "$folder/probe.cpp" -o "$folder/probe" "$@" \
    >"$folder/log" 2>&1 && "$folder/probe"
}

if echo 'int main() { return sizeof(requires { 1; }) == 0; }' | probe; then
  good compiler "$($CXX --version | head -n 1)"
else
  bad compiler "'$CXX -std=c++20 -march=$ARCH' does not compile a C++20 program: g++ 12 or newer, or clang++ 14 or newer, is needed"
fi

simd=$(probe -lhwy <<'CPP'
#include <hwy/highway.h>
#include <cstdio>
int main() {
  namespace hn = hwy::HWY_NAMESPACE;
  std::printf("Highway %d.%d compiles for %s, %zu floats at a time", HWY_MAJOR, HWY_MINOR, hwy::TargetName(HWY_TARGET),
              hn::Lanes(hn::ScalableTag<float>()));
}
CPP
) && good simd "$simd" || bad simd "Highway does not compile with -march=$ARCH (package libhwy-dev): $(grep -m1 error "$folder/log")"
case $simd in *" 1 floats"*) note "" "one float at a time is slow: give ARCH=native, or ARCH=\"x86-64-v3 -maes -mpclmul\"" ;; esac

threads=$(probe -fopenmp <<'CPP'
#include <omp.h>
#include <cstdio>
int main() {
  int threads = 0;
#pragma omp parallel reduction(+ : threads)
  threads += 1;
  std::printf("%d thread(s) by default on %d core(s)", threads, omp_get_num_procs());
}
CPP
) && good openmp "$threads" || bad openmp "$CXX -fopenmp does not link: OpenMP's runtime is missing"

if "$(dirname "$0")/deps.sh" tell needed 2>"$folder/deps" >/dev/null </dev/null; then
  good packages "everything that Chalk builds with is installed"
else
  bad packages "$(cat "$folder/deps")"
fi

font=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
if [ -e $font ]; then good font "$font, for the labels of plots"; else bad font "no $font (package fonts-dejavu-core)"; fi

memory=$(awk '/^MemAvailable/ { printf "%.1f", $2 / 1048576 }' /proc/meminfo 2>/dev/null)
if [ -n "$memory" ] && awk "BEGIN { exit !($memory < 2) }"; then
  note memory "$memory GiB free: too little for a parallel build; use make -j1"
else
  good memory "${memory:-unknown} GiB free; the demo needs less than 1"
fi

if "$(dirname "$0")/has_fuzzer.sh" clang++ >/dev/null; then
  good clang "clang++ with its fuzzer: make fuzz works"
else
  note clang "no clang++ with a fuzzer runtime: make fuzz and make tsan are not available (make deps-all)"
fi
if [ -z "$("$(dirname "$0")/mpi_flags.sh" "$CXX")" ]; then
  note mpi "not found, or a program with mpi.h does not link: one process only (make deps-all; docs/data_parallel.md)"
elif ! command -v mpirun >/dev/null; then
  note mpi "programs link with it, but there is no mpirun to start them (make deps-all)"
else
  good mpi "$(mpirun --version 2>/dev/null | head -n 1): mpirun -np 2 build/bin/train --data-parallel"
fi
if command -v gdb >/dev/null; then
  good gdb "$(gdb --version | head -n 1): docs/debugging.md is the walk"
else
  note gdb "not installed: docs/debugging.md needs it (make deps-all)"
fi
folder_of_data=${CHALK_DATA:-data}
if [ -d "$folder_of_data" ]; then
  good data "$folder_of_data holds real texts and checkpoints"
else
  note data "no folder $folder_of_data: tests on real files are skipped; make data downloads them"
fi

# CUDA is optional: without it the same kernels run on cusim, on the CPU.
nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null)
gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
if [ -z "$nvcc" ]; then
  note nvcc "not installed: --device cuda runs on cusim, on the CPU; README says how to get CUDA"
else
  release=$("$nvcc" --version | sed -n "s/.*release \([^,]*\),.*/\1/p")
  host=${CXX##* }
  echo '#include <cublas_v2.h>
int main() { cublasHandle_t h; return cublasCreate(&h) == CUBLAS_STATUS_SUCCESS ? 0 : 0; }' >"$folder/cuda.cu"
  if "$nvcc" -std=c++20 -ccbin "$host" -c "$folder/cuda.cu" -o "$folder/cuda.o" 2>"$folder/nvcc.txt"; then
    if "$nvcc" -ccbin "$host" "$folder/cuda.o" -lcublas -o "$folder/cuda" 2>"$folder/nvcc.txt"; then
      good nvcc "CUDA $release at $nvcc with cuBLAS: make CUDA=1 works"
    else
      note nvcc "CUDA $release at $nvcc, but cuBLAS does not link: install libcublas-dev of the same release"
    fi
  elif grep -q 'unsupported GNU version\|unsupported clang version' "$folder/nvcc.txt"; then
    note nvcc "CUDA $release does not accept $($host --version | head -n 1): make CUDA=1 CXX=g++-12, or a newer CUDA"
  elif grep -q cublas_v2.h "$folder/nvcc.txt"; then
    note nvcc "CUDA $release at $nvcc, but cublas_v2.h is missing: install libcublas-dev of the same release"
  else
    note nvcc "CUDA $release at $nvcc does not compile with $host: $(grep -m1 error "$folder/nvcc.txt")"
  fi
fi
if [ -n "$nvcc" ]; then
  if [ -n "$("$(dirname "$0")/nccl_flags.sh" "$CXX" "${nvcc%/bin/nvcc}")" ]; then
    good nccl "nccl.h is there and links: with MPI, make CUDA=1 adds up gradients from GPU to GPU"
  else
    note nccl "not found: gradients of several GPUs go through the host (package libnccl-dev)"
  fi
fi
if [ -n "$gpu" ]; then
  good gpu "$gpu: build with make CUDA=1"
elif ls /dev/nvidia0 >/dev/null 2>&1; then
  note gpu "/dev/nvidia0 is there but nvidia-smi answers nothing: the driver is not running, or not mapped into this container"
else
  note gpu "none found; every program runs on the CPU"
fi
exit $status
