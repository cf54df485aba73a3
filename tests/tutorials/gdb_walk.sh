#!/usr/bin/env bash
# Is docs/debugging.md true? Runs its (gdb) lines in gdb and looks for its printed lines in what gdb prints.
# Numbers, addresses and spacing may differ. Status: 0 true, 1 not, 77 skipped.
set -u
cd "$(dirname "$0")/../.." || exit 1
page=docs/debugging.md program=build/debug/bin/train folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ! command -v gdb >/dev/null; then echo "gdb is not installed"; exit 77; fi

unset MAKEFLAGS MAKELEVEL MFLAGS  # a make of its own, also when make started us
make BUILD=build/debug DEBUG=1 $program >"$folder/build" 2>&1 || { tail -n 20 "$folder/build"; exit 1; }

# Expected: what stands under a (gdb) line, up to the end of its code block.
awk '/^```/ { block = !block; walk = 0; next }
     block && /^\(gdb\) / { walk = 1; print substr($0, 7) > commands; next }
     block && walk { print > expected }' commands="$folder/commands" expected="$folder/expected" $page
# The command line of the page, joined, without its line breaks.
arguments=$(awk '/^gdb -x docs\/gdbinit --args/ { on = 1 } on { print } on && !/\\$/ { exit }' $page |
  tr -d '\\\n' | sed "s#.*$program##; s#--out [^ ]*#--out $folder/run#")

# shellcheck disable=SC2086  # the arguments are words
timeout 300 gdb -q -batch -x docs/gdbinit -x "$folder/commands" --args $program $arguments </dev/null >"$folder/output" 2>&1

blur() { sed -E 's/0x[0-9a-f]+/N/g; s/-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?/N/g; s/[[:space:]]+/ /g; s/^ //; s/ $//' "$1"; }
blur "$folder/output" >"$folder/got"
missing=0
while read -r line; do
  grep -qF -- "$line" "$folder/got" && continue
  echo "$page says, and gdb does not: $line"
  missing=$((missing + 1))
done < <(blur "$folder/expected")
if [ $missing -gt 0 ] || ! [ -s "$folder/expected" ]; then
  echo "--- what gdb printed"
  tail -n 80 "$folder/output"
  exit 1
fi
echo "$(wc -l <"$folder/commands") commands, $(wc -l <"$folder/expected") printed lines as the page says"
