#!/usr/bin/env bash
# What a program needs to use MPI: prints "-DCHALK_MPI" and the compiler's and linker's flags, or nothing.
# Usage: mpi_flags.sh COMPILER [CACHE]      MPI is there when a probe with mpi.h links; CACHE keeps the answer until mpicxx changes.
set -u
CXX=$1 cache=${2:-}
mpicxx=$(command -v mpicxx) || exit 0
if [ -n "$cache" ] && [ "$cache" -nt "$mpicxx" ]; then cat "$cache"; exit 0; fi
# Open MPI's spelling, then MPICH's. The old C++ bindings are not wanted.
compile=$(mpicxx --showme:compile 2>/dev/null || mpicxx -compile_info 2>/dev/null | cut -d ' ' -f 2-)
link=$(mpicxx --showme:link 2>/dev/null || mpicxx -link_info 2>/dev/null | cut -d ' ' -f 2-)
flags=$(printf '%s\n' $compile $link | grep -E '^-[ILl]' | grep -v -e '-lmpi_cxx' -e '-lmpicxx' | awk '!seen[$0]++' | tr '\n' ' ')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo '#include <mpi.h>
int main() { int size = 0; return MPI_Init(nullptr, nullptr) + MPI_Comm_size(MPI_COMM_WORLD, &size); }' >"$folder/probe.cpp"
# shellcheck disable=SC2086  # both hold several words
if $CXX -DOMPI_SKIP_MPICXX=1 -DMPICH_SKIP_MPICXX=1 "$folder/probe.cpp" -o "$folder/probe" $flags 2>/dev/null; then
  answer="-DCHALK_MPI $flags"
else
  answer=
fi
if [ -n "$cache" ]; then mkdir -p "$(dirname "$cache")" && echo "$answer" >"$cache"; fi
echo "$answer"
