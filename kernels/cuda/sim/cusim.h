#pragma once
// cusim: CUDA kernels on the host. Blocks run one after another (CUSIM_BLOCKS=par: several, on OpenMP threads); the threads
// of a block are fibers that are switched at barriers and warp functions, so a kernel without those runs as a plain loop.
// docs/cusim.md is the manual. What each file does: fiber.* stacks; executor.* blocks, barriers, warps, errors; memory.*
// cudaMalloc and its registry; runtime.h streams and events; types.h float4, half, bf16; device.h what a kernel may call;
// watch.* counts accesses and finds reads of what was never written.
//
// Modes, by environment variable:
//   CUSIM_MODE=fast        the default
//   CUSIM_MODE=check       every launch runs with its threads in four orders; all device memory must agree bit for bit
//   CUSIM_ORDER=reverse    or forward, or shuffle:7 — the order in which threads run between barriers
//   CUSIM_STRICT=1         device memory cannot be touched by host code (as on a GPU), and released memory is poisoned
//   CUSIM_FOCUS=5,33       printf from thread 33 of block 5 only       CUSIM_TRAP=5,33    stop the debugger there
// and by build: AddressSanitizer, ThreadSanitizer (each GPU thread is one of its threads), watch (-DCUSIM_WATCH).
//
// What it cannot do: time means nothing; streams run at once, in program order; no PTX, tensor cores, cp.async, textures,
// dynamic parallelism, grid-wide sync (compile errors); no weak memory model. Math differs from a GPU's in the last bits.

#include <tuple>
#include <utility>

#include "kernels/cuda/sim/device.h"
#include "kernels/cuda/sim/executor.h"
#include "kernels/cuda/sim/memory.h"
#include "kernels/cuda/sim/runtime.h"
#include "kernels/cuda/sim/types.h"

namespace cusim {

// <<<grid, block, shared_bytes, stream>>>: runs the kernel to its end. Throws Fault, naming the sites, for everything that
// is undefined on a GPU and visible here.
template <class... P, class... A>
void launch(Site site, const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t, A... arguments) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
  };
  const Call call{kernel, {static_cast<P>(arguments)...}};
  const auto run = [](const void* c) {
    const Call& call = *static_cast<const Call*>(c);
    [&]<size_t... i>(std::index_sequence<i...>) {
      call.kernel(std::get<i>(call.arguments)...);
    }
    (std::index_sequence_for<P...>());
  };
  int index = 0;
  std::apply([&](const auto&... argument) { (check_argument(site, name, ++index, argument), ...); },
             call.arguments);
  run_grid({site, name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, run, &call,
            sizeof(call)});
}

}  // namespace cusim
