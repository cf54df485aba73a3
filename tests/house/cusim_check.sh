#!/usr/bin/env bash
# `make cusim-check`: the tests of the library's CUDA kernels on cusim in three more ways. Usage: cusim_check.sh build/bin/tests
#   check   every launch in four orders of its threads, which must agree bit for bit
#   watch   every load and store: out of bounds, or of what nobody has written
#   tsan    every GPU thread is one of ThreadSanitizer's: races within a block and between blocks
# Last line: "N passed, N failed, N skipped".
set -u
passed=0 failed=0
one() {  # one MODE COMMAND...
  local mode=$1 log
  shift
  log=$(mktemp)
  local start=$SECONDS
  if "$@" --gtest_brief=1 >"$log" 2>&1; then
    passed=$((passed + 1))
    echo "$mode: $(grep -o '[0-9]* test[s]* ran' "$log" | head -n 1), nothing found ($((SECONDS - start)) s)"
  else
    failed=$((failed + 1))
    echo "--- $mode: $*"
    cat "$log"
  fi
  rm -f "$log"
}
for test in "$1"/kernels/cuda_{rows,elementwise,attention}_test; do
  CUSIM_MODE=check one "check ${test##*/}" "$test"
done
one watch "$1/cusim/kernels-watch"
# GCC's ThreadSanitizer does not run where the kernel randomises addresses widely; setarch -R switches that off.
one tsan $(command -v setarch >/dev/null && echo setarch -R) "$1/cusim/kernels-tsan"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
