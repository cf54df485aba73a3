#!/usr/bin/env bash
# Runs programs that check what they claim, with their default flags. Usage: claims.sh PROGRAM...
# Status 0 of a program: the claim holds; 77: skipped. Ends with "N passed, N failed, N skipped".
set -u
passed=0 failed=0 skipped=0 log=$(mktemp)
trap 'rm -f "$log"' EXIT
for program in "$@"; do
  start=$SECONDS
  "$program" </dev/null >"$log" 2>&1
  status=$?
  case $status in
    0) passed=$((passed + 1)) verdict="claim holds" ;;
    77) skipped=$((skipped + 1)) verdict="skipped: $(tail -n 1 "$log")" ;;
    5) failed=$((failed + 1)) verdict="CLAIM FAILED" ;;
    *) failed=$((failed + 1)) verdict="ENDED WITH STATUS $status" ;;
  esac
  printf '%-36s %s  (%d s)\n' "${program##*/}" "$verdict" $((SECONDS - start))
  case $status in 0 | 77) ;; *) tail -n 40 "$log" ;; esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
