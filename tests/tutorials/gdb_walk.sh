#!/usr/bin/env bash
# Is docs/debugging.md true? Each `gdb ... --args PROGRAM ...` line there begins a walk: its (gdb) lines are run in gdb, and the
# lines printed under them are looked for in what gdb prints. Numbers, addresses and spacing may differ.
# Status: 0 true, 1 not, 77 skipped.
set -u
cd "$(dirname "$0")/../.." || exit 1
page=docs/debugging.md folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ! command -v gdb >/dev/null; then echo "gdb is not installed"; exit 77; fi
if ! gdb -q -batch -ex run /bin/true </dev/null 2>/dev/null | grep -q 'exited normally'; then
  echo "gdb may not start programs here (a container without ptrace?)"; exit 77
fi

# walk1/line, walk1/commands, walk1/expected, walk2/...: the --args line (joined), the (gdb) lines, what stands under them.
awk -v folder="$folder" '
  /^```/ { block = !block; under = joining = 0; next }
  block && /^(\$ )?gdb .*--args/ { where = folder "/walk" ++walks; system("mkdir " where); joining = 1 }
  joining { line = $0; joining = sub(/\\$/, "", line); printf "%s", line > (where "/line"); next }
  block && /^\(gdb\) / { under = 1; print substr($0, 7) > (where "/commands"); next }
  block && under { print > (where "/expected") }' $page

blur() { sed -E 's/0x[0-9a-f]+/N/g; s/-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?/N/g; s/[[:space:]]+/ /g; s/^ //; s/ $//' "$1"; }

unset MAKEFLAGS MAKELEVEL MFLAGS  # a make of its own, also when make started us
for walk in "$folder"/walk*; do
  # shellcheck disable=SC2046  # the arguments are words
  set -- $(sed -E "s#.*--args ##; s#--out [^ ]*#--out $walk/run#" "$walk/line")
  make BUILD=build/debug DEBUG=1 "$1" >"$folder/build" 2>&1 || { tail -n 20 "$folder/build"; exit 1; }
  timeout 300 gdb -q -batch -x docs/gdbinit -x "$walk/commands" --args "$@" </dev/null >"$walk/output" 2>&1
  blur "$walk/output" >"$walk/got"
  missing=0
  while read -r line; do
    grep -qF -- "$line" "$walk/got" && continue
    echo "$page says, and gdb does not: $line"
    missing=$((missing + 1))
  done < <(blur "$walk/expected")
  if [ $missing -gt 0 ] || ! [ -s "$walk/expected" ]; then
    echo "--- what gdb printed in $1"
    tail -n 80 "$walk/output"
    exit 1
  fi
  echo "$1: $(wc -l <"$walk/commands") commands, $(wc -l <"$walk/expected") printed lines as the page says"
done
