#!/usr/bin/env bash
# `make deps`: installs the Debian/Ubuntu packages that are missing. Usage: deps.sh [tell] needed|optional...
# As root it installs; otherwise, or after the word `tell`, it prints the line to run. Status: 0 all there, 4 something is missing.
set -u
needed=(g++ make libhwy-dev libfmt-dev libpcre2-dev nlohmann-json3-dev libcli11-dev libstb-dev zlib1g-dev
        fonts-dejavu-core libgtest-dev libbenchmark-dev libeigen3-dev)
optional=(clang libclang-rt-dev libomp-dev gdb libopenblas-dev curl ca-certificates openmpi-bin libopenmpi-dev)

tell=$([ "$(id -u)" -eq 0 ] || echo yes)
if [ "${1:-}" = tell ]; then tell=yes; shift; fi

packages=()
for group in "$@"; do
  case $group in
    needed) packages+=("${needed[@]}") ;;
    optional) packages+=("${optional[@]}") ;;
    *) echo "deps.sh: unknown group '$group', expected needed or optional" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null; then
  echo "deps: this is not Debian or Ubuntu; install the equivalents of: ${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^.i' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

if [ -n "$tell" ]; then
  echo "deps: ${#missing[@]} package(s) missing. Run this, then the same make again:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
  exit 4
fi

echo "deps: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y --no-install-recommends "${missing[@]}" </dev/null; }
# The package lists may be absent (a fresh container) or old: one update, and only when it is needed.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install >"$log" 2>&1 && ! { apt-get update </dev/null && install; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "deps: apt-get could not install ${missing[*]} (its last words are above)" >&2
  exit 4
fi
