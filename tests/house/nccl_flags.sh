#!/usr/bin/env bash
# What a program needs to use NCCL: prints "-DCHALK_NCCL" and flags when a probe with nccl.h links, or nothing.
# Usage: nccl_flags.sh COMPILER CUDA_HOME
set -u
CXX=$1 home=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo '#include <nccl.h>
int main() { ncclUniqueId id; return ncclGetUniqueId(&id); }' >"$folder/probe.cpp"
flags="-I$home/include -L$home/lib64 -L$home/lib -lnccl -lcudart"
# shellcheck disable=SC2086  # both hold several words
if $CXX "$folder/probe.cpp" -o "$folder/probe" $flags 2>/dev/null; then echo "-DCHALK_NCCL $flags"; fi
