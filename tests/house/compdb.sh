#!/usr/bin/env bash
# Prints a compile_commands.json. Usage: compdb.sh COMMAND SOURCE...
command=$1 comma=
shift
command=${command//\\/\\\\} command=${command//\"/\\\"}
echo "["
for source in "$@"; do
  printf '%s{"directory": "%s", "file": "%s", "command": "%s -c %s"}' "$comma" "$PWD" "$source" "$command" "$source"
  comma=$',\n'
done
printf '\n]\n'
