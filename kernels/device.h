#pragma once
// The three backends. Every kernel exists once per backend with the same signature; an op picks one and calls it.

#include <stdexcept>

namespace chalk {

enum class Device {
  Plain,  // scalar loops: made for the debugger, and the oracle for the others
  CPU,    // Google Highway + OpenMP
  CUDA,   // hand-written .cu kernels
};

inline const char* device_name(Device device) {
  switch (device) {
    case Device::Plain:
      return "plain";
    case Device::CPU:
      return "cpu";
    default:
      return "cuda";
  }
}

// Chooses the kernel of one backend: `auto* kernel = pick(x.device(), plain::f<float>, cpu::f, cuda::f); kernel(...);`
// In gdb, `p kernel` prints the function that is about to run, and `step` enters it.
template <class Kernel>
Kernel* pick(Device device, Kernel* plain, Kernel* cpu, Kernel* cuda) {
  switch (device) {
    case Device::Plain:
      return plain;
    case Device::CPU:
      return cpu;
    default:
      return cuda;
  }
}

// The same for an op that the parity matrix calls n/a or missing on cuda.
template <class Kernel>
Kernel* pick(Device device, Kernel* plain, Kernel* cpu) {
  if (device == Device::CUDA)
    throw std::runtime_error("this op has no CUDA kernel (the parity matrix says why); use --device cpu");
  return pick(device, plain, cpu, cpu);
}

}  // namespace chalk
