#!/usr/bin/env bash
# Runs GoogleTest binaries one after another and ends with one line: "N passed, N failed, N skipped".
# Usage: tests/run.sh [--gtest_filter=...] BINARY...      A crash counts as one failed test.
set -u
flags=() passed=0 failed=0 skipped=0 begin=$SECONDS log=$(mktemp)
trap 'rm -f "$log"' EXIT
for arg in "$@"; do
  case $arg in
    --*) flags+=("$arg"); continue ;;
  esac
  name=${arg#*/bin/tests/}
  start=$SECONDS
  timeout 1200 "$arg" --gtest_brief=0 ${flags[@]+"${flags[@]}"} </dev/null >"$log" 2>&1
  status=$?
  p=$(grep -c '^\[       OK \]' "$log"); f=$(grep -c '^\[  FAILED  \].*ms)$' "$log"); s=$(grep -c '^\[  SKIPPED \].*ms)$' "$log")
  if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then f=1; echo "--- $name ended with status $status"; fi
  passed=$((passed + p)); failed=$((failed + f)); skipped=$((skipped + s))
  if [ $((p + f + s)) -eq 0 ]; then continue; fi  # the filter left nothing
  printf '%-44s %4d passed %3d failed %3d skipped  %3d s\n' "$name" "$p" "$f" "$s" $((SECONDS - start))
  if [ "$f" -gt 0 ]; then cat "$log"; fi
  if [ "$s" -gt 0 ]; then grep -B1 -A4 'Skipped' "$log" | grep -v '^\[' | sort -u | sed 's/^/    skipped: /' | head -n 12; fi
done
echo "($((SECONDS - begin)) seconds)"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + failed)) -gt 0 ]
