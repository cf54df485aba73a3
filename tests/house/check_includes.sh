#!/usr/bin/env bash
# `make check-includes`: the rules of the house that a grep can check. Prints every breach; status 1 if there is one.
#   1. Includes run downward: tutorials -> papers -> models -> nn -> autograd -> kernels. A layer may skip levels.
#   2. A paper never includes another paper. Nothing below includes tutorials or tests.
#   3. Quoted includes are spelled from the repository root.
#   4. No other top-level folder holds code.
#   5. A test that reads the reference numbers has "Golden" in its name, so that `make test-golden` finds it.
set -u
cd "$(dirname "$0")/../.." || exit 1

sources() { find kernels autograd nn models papers tutorials tests -type f 2>/dev/null | grep -E '\.(h|cpp|cu|cuh)$'; }

breaches=$(
  sources | xargs grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' /dev/null | awk -F: '
    BEGIN {
      rank["kernels"] = 1; rank["autograd"] = 2; rank["nn"] = 3; rank["models"] = 4; rank["papers"] = 5
      rank["tutorials"] = 6; rank["tests"] = 7
    }
    {
      from = $1; split($3, quoted, "\""); to = quoted[2]
      from_layer = from; sub(/\/.*/, "", from_layer)
      to_layer = to; sub(/\/.*/, "", to_layer)
      where = from ":" $2 ": "
      if (!(to_layer in rank)) { print where "\"" to "\" is not spelled from the repository root"; next }
      if (rank[to_layer] > rank[from_layer]) print where from_layer " must not include " to_layer " (" to ")"
      if (from_layer == "papers" && to_layer == "papers") {
        stem = from; sub(/\.[a-z]+$/, "", stem); other = to; sub(/\.[a-z]+$/, "", other)
        if (stem != other) print where "a paper includes another paper (" to "); move what they share to nn/ or kernels/"
      }
    }'
  find . -mindepth 2 -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) |
    awk -F/ '$2 !~ /^(kernels|autograd|nn|models|papers|tutorials|tests|build.*|data|runs|\..*)$/ {
      print $0 ": code lives in kernels autograd nn models papers tutorials tests, not in " $2 "/" }'
  find tests -name '*_test.cpp' -print0 | xargs -0 grep -lE 'golden_folder\(|CHALK_GOLDEN' | while read -r test; do
    grep -qE '^(TEST|INSTANTIATE).*Golden' "$test" || echo "$test: reads reference numbers, but no test in it is named Golden"
  done
)
if [ -n "$breaches" ]; then
  echo "$breaches" >&2
  echo "check-includes: $(echo "$breaches" | wc -l) breach(es)" >&2
  exit 1
fi
echo "check-includes: $(sources | wc -l) files, every include runs downward"
