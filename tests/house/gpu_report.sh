#!/usr/bin/env bash
# `make gpu-report`: every figure that needs a GPU, from one run on one machine, into OUT (default runs/gpu_report):
#   sanitizer.json   the CUDA tests under compute-sanitizer (memcheck, and racecheck for the kernels)
#   peers.json       PyTorch, eager and compiled, on the same workloads (absent without PyTorch)
#   report.json, report.md   Chalk's figures beside both
# Status 4 when no GPU answers or nvcc is missing; 1 when a test fails.
set -u
cd "$(dirname "$0")/../.." || exit 1
out=${1:-runs/gpu_report} build=${CUDA_BUILD:-build/cuda}
if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "gpu-report: no GPU answers here (nvidia-smi -L), so there is nothing to measure; docs/performance.md lists what is owed" >&2
  exit 4
fi
nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null)
if [ -z "$nvcc" ]; then
  echo "gpu-report: there is a GPU, but no nvcc; README says how to get CUDA" >&2
  exit 4
fi
mkdir -p "$out"
nvidia-smi -L
tests=(kernels/precision_test)
for source in tests/*/cuda_*_test.cpp; do source=${source#tests/}; tests+=("${source%.cpp}"); done
make CUDA=1 BUILD="$build" "${tests[@]/#/$build/bin/tests/}" "$build/bin/bench/gpu_bench" || exit 1

status=0 rows=()
sanitizer=$(command -v compute-sanitizer || ls "$(dirname "$nvcc")/compute-sanitizer" 2>/dev/null)
# check TOOL TEST: one line of sanitizer.json
check() {
  local log="$out/$1_$(basename "$2").txt" result=passed
  if ! timeout 1800 "$sanitizer" --tool "$1" --error-exitcode 9 "$build/bin/tests/$2" >"$log" 2>&1; then
    result="FAILED: $log"; status=1
  fi
  echo "$1 $2: $result"
  rows+=("\"$1 $2\": \"$result\"")
}
if [ -z "$sanitizer" ]; then
  rows+=("\"compute-sanitizer\": \"not installed, so the tests ran without it\"")
  for test in "${tests[@]}"; do "$build/bin/tests/$test" --gtest_brief=1 || status=1; done
else
  for test in "${tests[@]}"; do check memcheck "$test"; done
  for test in "${tests[@]}"; do case $test in kernels/*) check racecheck "$test" ;; esac; done
fi
(IFS=,; echo "{${rows[*]}}") >"$out/sanitizer.json"

peers=()
rm -f "$out/peers.json"
if python3 tests/bench/peers/torch_peers.py --out "$out/peers.json"; then peers=(--peers "$out/peers.json"); fi
"$build/bin/bench/gpu_bench" --out "$out" --sanitizer "$out/sanitizer.json" ${peers[@]+"${peers[@]}"} || status=1
echo "gpu-report: $out/report.md and report.json"
exit $status
