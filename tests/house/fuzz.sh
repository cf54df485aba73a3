#!/usr/bin/env bash
# Runs libFuzzer programs two at a time. Usage: fuzz.sh SECONDS PROGRAM...   Ends with "N passed, N failed, N skipped".
# A program tests/fuzz/NAME.cpp starts from the files in tests/fuzz/corpus/NAME/, if there are any.
# A finding is kept as build/fuzz/findings/NAME-*; run the program with that file to see it again.
set -u
seconds=$1 findings=build/fuzz/findings
shift
mkdir -p $findings
if [ $# -eq 0 ]; then echo "0 passed, 0 failed, 0 skipped"; exit 0; fi

fuzz_one() {
  program=$1 seconds=$2 findings=$3 name=$(basename "$1")
  corpus=build/fuzz/corpus/$name seeds=tests/fuzz/corpus/$name
  mkdir -p "$corpus"
  # The 512 MB limits turn "allocated what the file claimed" into a finding.
  if "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=512 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="$findings/$name-" "$corpus" $([ -d "$seeds" ] && echo "$seeds") \
    </dev/null >"$findings/$name.log" 2>&1; then
    echo "ok    $name: $(grep -o 'number_of_executed_units:.*' "$findings/$name.log" | tr -s ' ') in $seconds s"
  else
    tail -n 40 "$findings/$name.log"
    echo "FAIL  $name: see $findings/"
  fi
}
export -f fuzz_one
log=$findings/summary.txt
printf '%s\n' "$@" | xargs -P 2 -I{} bash -c 'fuzz_one "$@"' - {} "$seconds" $findings | tee $log
failed=$(grep -c '^FAIL ' $log)
echo "$(grep -c '^ok ' $log) passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
