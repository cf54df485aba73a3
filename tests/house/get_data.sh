#!/usr/bin/env bash
# `make data`: downloads the files of data.txt (beside this script). Usage: get_data.sh FOLDER [LIST]
# A file that is there with the right SHA-256 is not downloaded again. Status: 0 all there, 3 something is missing.
set -u
folder=$1 list=${2:-$(dirname "$0")/data.txt} present=0 fetched=0 failed=0

if command -v curl >/dev/null; then
  download() { curl -fsSL --retry 2 --connect-timeout 15 -o "$2" "$1"; }
elif command -v wget >/dev/null; then
  download() { wget -q --tries=3 --connect-timeout=15 -O "$2" "$1"; }
else
  echo "data: needs curl or wget (make deps-all installs curl)" >&2
  exit 4
fi
has_sum() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ]; }

while read -r sum path address; do
  case $sum in '#'* | '') continue ;; esac
  if has_sum "$folder/$path" "$sum"; then present=$((present + 1)); continue; fi
  mkdir -p "$(dirname "$folder/$path")" || exit 1
  part=$folder/$path.part  # renamed only when it is whole and right
  echo "data: $path" >&2
  if ! download "$address" "$part"; then
    echo "data: could not download $address" >&2
    failed=$((failed + 1))
  elif ! has_sum "$part" "$sum"; then
    echo "data: $address is not the file that was pinned (SHA-256 $(sha256sum <"$part" | cut -d' ' -f1), expected $sum)" >&2
    failed=$((failed + 1))
  elif mv "$part" "$folder/$path"; then
    fetched=$((fetched + 1))
  else
    failed=$((failed + 1))
  fi
  rm -f "$part"
  if [ $failed -ge 3 ] && [ $((fetched + present)) -eq 0 ]; then
    echo "data: nothing can be reached; are you offline? Training, the demo and most tests need no download." >&2
    exit 3
  fi
done <"$list"

cat <<TEXT
data: $present present, $fetched downloaded, $failed missing in $folder/
Not downloadable, because they were converted or computed: models/stories260K/hf and its .gguf files,
models/slm4096/model.safetensors, config.json and vocab.json, golden/. Tests that need one are skipped and say so.
TEXT
[ $failed -eq 0 ] || exit 3
