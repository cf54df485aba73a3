#!/usr/bin/env bash
# Is there a compiler with libFuzzer? Usage: has_fuzzer.sh CXX. Says so if not, with status 1.
object=$(mktemp)
trap 'rm -f "$object"' EXIT
echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
  "$1" -x c++ -fsanitize=fuzzer,address,undefined - -o "$object" 2>/dev/null && exit 0
echo "fuzz: skipped, $1 or its fuzzer runtime is not installed (make deps-all)"
exit 1
