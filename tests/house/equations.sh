#!/usr/bin/env bash
# The index of equations: which line of a paper's header computes equation (n), and which test proves it.
#
# A header opens with one line per equation; its code carries the same tag at the line that computes it:
#   //   Eq. (3)  H ← H - ...                                 test: Gptq.RankOneDowndate
#   inverse -= outer(column, column) / pivot;  // Eq. (3)
# Tags: "Eq. (n)" (numbers of the paper), "E12", "I3" (labels of notes). Several tests: "test: A.B, C.D".
# Fails on a tag without a line, a line without an entry, an entry without a test, a test that does not exist.
set -eu
cd "$(dirname "$0")/../.."
headers=${*:-$(git ls-files 'papers/*.h')}
[ -n "$headers" ] || { echo "no papers"; exit 0; }

# "Suite.Name" of every test; a suite run with parameters counts under its own name.
git ls-files -co --exclude-standard 'tests/*.cpp' | xargs sed -nE 's/^(TYPED_)?TEST(_F|_P)?\(([A-Za-z0-9_]+), *([A-Za-z0-9_]+)\).*/\3.\4/p' | sort -u |
awk '
  function next_tag(text) {  # the first tag in text -> tag, rest; 0 when there is none
    if (!match(text, /Eq\. \([0-9A-Za-z.]+\)|(^|[^A-Za-z0-9_.])[EI][0-9]+[a-z]?([^A-Za-z0-9_]|$)/)) return 0
    tag = substr(text, RSTART, RLENGTH); rest = substr(text, RSTART + RLENGTH)
    gsub(/^[^EI]+/, "", tag); if (tag !~ /^Eq/) gsub(/[^A-Za-z0-9]+$/, "", tag)
    return 1
  }
  function complain(where, fault) { printf "%s: %s\n", where, fault; bad = 1 }
  FILENAME == "-" { known[$0] = 1; next }
  FNR == 1 { code = 0; files[++nfiles] = FILENAME }
  /^#include/ { code = 1 }
  /^ *\/\/.* test: / {
    split($0, half, / test: /)
    if (!next_tag(half[1])) { complain(FILENAME ":" FNR, "an entry without a tag"); next }
    key = FILENAME SUBSEP tag
    text = rest; gsub(/^[ :]+|[ .]+$/, "", text)
    order[++n] = key; what[key] = text; proof[key] = half[2]; entry[key] = FNR; label[key] = tag; file[key] = FILENAME
    gsub(/[ .]+$/, "", proof[key])
    m = split(proof[key], tests, /, */)
    for (i = 1; i <= m; ++i) if (!(tests[i] in known)) complain(FILENAME ":" FNR, "no such test: " tests[i])
    next
  }
  code && match($0, /\/\//) {
    comment = substr($0, RSTART)
    while (next_tag(comment)) { key = FILENAME SUBSEP tag; comment = rest; if (!(key in line)) line[key] = FNR; label[key] = tag; file[key] = FILENAME }
  }
  END {
    for (i = 1; i <= n; ++i) {
      key = order[i]
      if (!(key in line)) complain(file[key] ":" entry[key], label[key] " is listed but no line computes it")
      else if (file[key] != shown) { shown = file[key]; printf "\n%s\n", shown }
      if (key in line) printf "  %-9s %-62s %s\n%12s%s\n", label[key], file[key] ":" line[key], proof[key], "", what[key]
    }
    for (key in line) if (!(key in entry)) complain(file[key] ":" line[key], label[key] " has no entry with a test")
    if (!bad) printf "\n%d equations in %d headers, each with its line and its test\n", n, nfiles
    exit bad
  }' - $headers
