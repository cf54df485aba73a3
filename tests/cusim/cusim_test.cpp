// cusim itself: indices, shared memory, warp functions, atomics, 16-bit floats, copies, streams, modes, refusals.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_portable.h"
#include "kernels/cuda/sim/block.h"

namespace {

// ---- kernels ----

__global__ void write_index(int* y) {
  const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const int i = block * int(blockDim.x * blockDim.y * blockDim.z) + thread;
  y[i] = i;
}

__global__ void rotate(float* y, const float* x) {
  DYN_SHARED(float, row);
  const int t = threadIdx.x, n = blockDim.x;
  row[t] = x[blockIdx.x * n + t];
  __syncthreads();
  y[blockIdx.x * n + t] = row[(t + 1) % n];
}

__global__ void warp_functions(int* y) {
  const int lane = threadIdx.x % 32;
  const unsigned all = 0xffffffffu;
  int sum = lane;
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(all, sum, offset);
  int down = __shfl_down_sync(all, lane, 3), up = __shfl_up_sync(all, lane, 3, 8);
  const unsigned odd = __ballot_sync(all, lane % 2);
  const int checks[] = {sum == 496,
                        down == (lane + 3 < 32 ? lane + 3 : lane),
                        up == (lane % 8 >= 3 ? lane - 3 : lane),
                        __shfl_sync(all, lane, 5, 16) == lane / 16 * 16 + 5,
                        odd == 0xaaaaaaaau,
                        __any_sync(all, lane == 7) == 1,
                        __all_sync(all, lane < 31) == 0,
                        __reduce_add_sync(all, unsigned(lane)) == 496,
                        __reduce_min_sync(all, lane - 9) == -9,
                        __reduce_max_sync(all, lane) == 31,
                        __syncthreads_count(lane == 4) == int(blockDim.x / 32),
                        __syncthreads_or(lane == 4) == 1,
                        __syncthreads_and(lane == 4) == 0};
  int failed = 0;
  for (int i = 0; i < int(sizeof checks / sizeof checks[0]); ++i) failed |= !checks[i] << i;
  y[threadIdx.x] = failed;
}

__global__ void half_warp(int* y) {
  if (threadIdx.x < 16) {
    y[threadIdx.x] = __reduce_add_sync(0x0000ffffu, 1);
    __syncwarp(0x0000ffffu);
  }
}

__global__ void count_up(int* counter, float* sum) {
  atomicAdd(counter, 1);
  atomicMax(counter + 1, int(threadIdx.x));
  atomicAdd(sum, 1.0f);
}

__global__ void say(int number) {
  printf("%d: block %d thread %d\n", number, int(blockIdx.x), int(threadIdx.x));
}

__global__ void copy_kernel(float* y, const float* x, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i];
}

__global__ void big_static() {
  SHARED_ARRAY(float, big, 13000);
  big[threadIdx.x] = 0;
}

// ---- helpers ----

template <class T>
struct Memory {
  explicit Memory(size_t count) : count(count) { cudaMalloc(&data, count * sizeof(T)); }
  ~Memory() { cudaFree(data); }
  std::vector<T> read() const {
    std::vector<T> host(count);
    cudaMemcpy(host.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost);
    return host;
  }
  void write(const std::vector<T>& host) {
    cudaMemcpy(data, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice);
  }
  T* data = nullptr;
  size_t count;
};

std::string fault_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const cusim::Fault& fault) {
    return fault.what();
  }
  return "";
}

void expect_words(const std::string& text, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    EXPECT_NE(text.find(word), std::string::npos) << "no \"" << word << "\" in: " << text;
  }
}

std::string here(int line) {
  return "cusim_test.cpp:" + std::to_string(line);
}

// Sets variables for a scope and makes cusim read them.
struct Environment {
  Environment(const char* name, const char* value) : name(name) {
    setenv(name, value, 1);
    cusim::read_settings();
  }
  ~Environment() {
    unsetenv(name);
    cusim::read_settings();
  }
  const char* name;
};

// ---- execution ----

TEST(Cusim, EveryThreadOfEveryBlockRunsOnce) {
  for (const char* blocks : {"serial", "par"}) {
    Environment environment("CUSIM_BLOCKS", blocks);
    Memory<int> y(2 * 3 * 4 * 5 * 2 * 3);
    LAUNCH(write_index, dim3(2, 3, 4), dim3(5, 2, 3), 0, 0, y.data);
    const std::vector<int> got = y.read();
    for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], int(i));
  }
}

TEST(Cusim, DynamicSharedMemoryAndBarriers) {
  for (const char* order : {"forward", "reverse", "shuffle:5"}) {
    Environment environment("CUSIM_ORDER", order);
    for (int n : {1, 31, 32, 33, 100, 1024}) {
      const int blocks = 3;
      std::vector<float> host(size_t(blocks * n));
      for (size_t i = 0; i < host.size(); ++i) host[i] = float(i);
      Memory<float> x(host.size()), y(host.size());
      x.write(host);
      LAUNCH(rotate, blocks, n, size_t(n) * 4, 0, y.data, x.data);
      const std::vector<float> got = y.read();
      for (int b = 0; b < blocks; ++b) {
        for (int t = 0; t < n; ++t) ASSERT_EQ(got[size_t(b * n + t)], float(b * n + (t + 1) % n));
      }
    }
  }
}

TEST(Cusim, WarpFunctions) {
  for (const char* order : {"forward", "reverse", "shuffle:1", "shuffle:2"}) {
    Environment environment("CUSIM_ORDER", order);
    Memory<int> y(96);
    LAUNCH(warp_functions, 1, 96, 0, 0, y.data);
    for (int failed : y.read()) ASSERT_EQ(failed, 0) << "bits of the checks that failed";
    Memory<int> z(16);
    LAUNCH(half_warp, 1, 32, 0, 0, z.data);
    for (int sum : z.read()) ASSERT_EQ(sum, 16);
  }
}

TEST(Cusim, Atomics) {
  for (const char* blocks : {"serial", "par"}) {
    Environment environment("CUSIM_BLOCKS", blocks);
    Memory<int> counter(2);
    Memory<float> sum(1);
    cudaMemset(counter.data, 0, 8);
    cudaMemset(sum.data, 0, 4);
    LAUNCH(count_up, 40, 100, 0, 0, counter.data, sum.data);
    EXPECT_EQ(counter.read(), (std::vector<int>{4000, 99}));
    EXPECT_EQ(sum.read()[0], 4000.0f);
  }
}

TEST(Cusim, CheckModeLeavesTheRightResult) {
  Environment environment("CUSIM_MODE", "check");
  Memory<int> counter(2);
  Memory<float> sum(1);
  cudaMemset(counter.data, 0, 8);
  cudaMemset(sum.data, 0, 4);
  LAUNCH(count_up, 4, 100, 0, 0, counter.data, sum.data);  // four orders, but counted once
  EXPECT_EQ(counter.read()[0], 400);
}

TEST(Cusim, FocusPrintsFromOneThread) {
  Environment environment("CUSIM_FOCUS", "1,2");
  testing::internal::CaptureStdout();
  LAUNCH(say, 3, 4, 0, 0, 7);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "7: block 1 thread 2\n");
}

TEST(CusimDeathTest, TrapStopsOneThread) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        Environment environment("CUSIM_TRAP", "1,2");
        LAUNCH(say, 3, 4, 0, 0, 7);
      },
      testing::KilledBySignal(SIGTRAP), "");
}

TEST(Cusim, WrongSettingsAreNamed) {
  setenv("CUSIM_ORDER", "sideways", 1);
  expect_words(fault_of([] { cusim::read_settings(); }), {"CUSIM_ORDER=sideways", "forward"});
  unsetenv("CUSIM_ORDER");
  cusim::read_settings();
}

// ---- launches that a GPU would refuse or get wrong ----

TEST(Cusim, LaunchShapes) {
  Memory<int> y(8);
  expect_words(fault_of([&] { LAUNCH(write_index, 1, 1025, 0, 0, y.data); }),
               {"1025 threads per block", "write_index launched at", "cusim_test.cpp"});
  expect_words(fault_of([&] { LAUNCH(write_index, 0, 32, 0, 0, y.data); }), {"without threads"});
  expect_words(fault_of([&] { LAUNCH(write_index, dim3(1, 70000), 1, 0, 0, y.data); }), {"65535"});
  Memory<float> x(32);
  expect_words(fault_of([&] { LAUNCH(rotate, 1, 32, 60000, 0, x.data, x.data); }),
               {"60000 bytes of dynamic shared"});
  cudaFuncSetAttribute(rotate, cudaFuncAttributeMaxDynamicSharedMemorySize, 100000);
  x.write(std::vector<float>(32, 1));
  LAUNCH(rotate, 1, 32, 60000, 0, x.data, x.data);
  expect_words(fault_of([&] { LAUNCH(big_static, 1, 32, 0, 0); }),
               {"52000 bytes of static shared memory", "big at"});
}

TEST(Cusim, HostPointersAreRefused) {
  Memory<float> y(4);
  float x[4] = {};
  expect_words(fault_of([&] { LAUNCH(copy_kernel, 1, 4, 0, 0, y.data, x, 4); }),
               {"argument 2 of copy_kernel", here(__LINE__ - 1), "host pointer"});
  LAUNCH(copy_kernel, 1, 4, 0, 0, y.data, static_cast<const float*>(nullptr),
         0);  // null is allowed: "not wanted"
}

TEST(Cusim, UseAfterFreeNamesThreeSites) {
  float *x = nullptr, *y = nullptr;
  cudaMalloc(&y, 64);
  cudaMalloc(&x, 64);
  const std::string allocated = here(__LINE__ - 1);
  cudaFree(x);
  const std::string freed = here(__LINE__ - 1);
  const std::string launch = fault_of([&] { LAUNCH(copy_kernel, 1, 4, 0, 0, y, x, 4); });
  expect_words(launch, {"argument 2", allocated, freed, here(__LINE__ - 1)});
  const std::string twice = fault_of([&] { cudaFree(x); });
  expect_words(twice, {allocated, freed, here(__LINE__ - 1)});
  cudaFree(y);
}

// ---- memory ----

TEST(Cusim, CopiesCheckTheirDirectionAndSize) {
  Memory<float> x(4);
  const int allocated = __LINE__ - 1;
  float host[8] = {1, 2, 3, 4};
  (void)allocated;
  expect_words(fault_of([&] { cudaMemcpy(x.data, host, 16, cudaMemcpyDeviceToHost); }),
               {"target is host memory", "device memory from"});
  expect_words(fault_of([&] { cudaMemcpy(x.data, host, 16, cudaMemcpyDeviceToDevice); }),
               {"source is device memory", "ordinary host"});
  expect_words(fault_of([&] { cudaMemcpy(x.data, host, 20, cudaMemcpyHostToDevice); }),
               {"20 bytes at offset 0", "16 bytes of device"});
  cudaMemcpy(x.data, host, 16, cudaMemcpyDefault);
  EXPECT_EQ(x.read(), (std::vector<float>{1, 2, 3, 4}));
}

TEST(Cusim, NewMemoryIsNaN) {
  Memory<float> x(100);
  for (float v : x.read()) ASSERT_TRUE(std::isnan(v));
}

TEST(Cusim, StreamsAndEventsRunAtOnce) {
  cudaStream_t stream;
  cudaEvent_t event;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
  float* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, 16), cudaSuccess);
  for (int i = 0; i < 4; ++i) pinned[i] = float(i);  // pinned memory is the host's own
  Memory<float> x(4);
  cudaMemcpyAsync(x.data, pinned, 16, cudaMemcpyHostToDevice, stream);
  cudaEventRecord(event, stream);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(x.read()[3], 3.0f);
  float milliseconds;
  expect_words(fault_of([&] { cudaEventElapsedTime(&milliseconds, event, event); }),
               {"no notion of a GPU's time"});
  expect_words(fault_of([&] { cudaFree(pinned); }), {"mixed up"});
  cudaFreeHost(pinned);
  cudaEventDestroy(event);
  cudaStreamDestroy(stream);
}

TEST(CusimDeathTest, StrictModeStopsHostCode) {
#ifdef CUSIM_ASAN
  GTEST_SKIP() << "AddressSanitizer builds take device memory from malloc, which cannot be switched off";
#endif
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // the child starts anew and reads the variable
  setenv("CUSIM_STRICT", "1", 1);
  EXPECT_DEATH(
      {
        Memory<float> x(4);
        x.write({1, 2, 3, 4});
        std::printf("%g\n", double(x.data[2]));
      },
      "host code touched device memory, 8 bytes into what .*cusim_test.cpp");
  unsetenv("CUSIM_STRICT");
}

// ---- 16-bit floats ----

// The nearest representable value, ties to even, found by search among all 65536.
template <class T>
uint16_t nearest(float x, float (*to_float)(T)) {
  uint16_t best = 0;
  double best_distance = std::numeric_limits<double>::infinity();
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = to_float(T{uint16_t(bits)});
    if (!std::isfinite(value) || std::signbit(value) != std::signbit(x)) continue;
    const double distance = std::abs(double(value) - double(x));
    if (distance < best_distance || (distance == best_distance && bits % 2 == 0))
      best = uint16_t(bits), best_distance = distance;
  }
  return best;
}

TEST(SixteenBits, EveryHalfSurvivesARoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = __half2float(__half{uint16_t(bits)});
    if (std::isnan(value)) continue;
    ASSERT_EQ(__float2half(value).bits, bits) << value;
    const float b = __bfloat162float(__nv_bfloat16{uint16_t(bits)});
    if (!std::isnan(b)) {
      ASSERT_EQ(__float2bfloat16(b).bits, bits);
    }
  }
}

TEST(SixteenBits, RoundToNearestEven) {
  for (float x : {1.0f, 0.1f, -0.3f, 1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f, 65504.0f, 65519.0f, 6e-8f,
                  -2.9e-8f, 3.1e-5f, 1e-20f, 0x1p-25f, 0x1.8p-24f, 1234.567f}) {
    EXPECT_EQ(__float2half(x).bits, nearest<__half>(x, __half2float)) << x;
    EXPECT_EQ(__float2bfloat16(x).bits, nearest<__nv_bfloat16>(x, __bfloat162float)) << x;
  }
  EXPECT_EQ(__float2half(65520.0f).bits, 0x7c00);  // the tie above the largest half goes to ∞
  EXPECT_TRUE(std::isnan(__half2float(__float2half(NAN))));
  EXPECT_TRUE(std::isnan(__bfloat162float(__float2bfloat16(std::bit_cast<float>(0x7f800001u)))));
}

// ---- what it cannot do is refused by the compiler ----

TEST(Refusals, AreCompileErrorsWithASentence) {
  const char* compiler = std::getenv("CXX") ? std::getenv("CXX") : "g++";
  if (std::system((std::string(compiler) + " --version >/dev/null 2>&1").c_str()) != 0)
    GTEST_SKIP() << "no host compiler here";
  if (!std::ifstream("kernels/cuda/cuda_portable.h")) GTEST_SKIP() << "the sources are not here";
  const std::pair<const char*, std::vector<std::string>> cases[] = {
      {"__global__ void k(long long* t, float* s, float* g) {\n  t[0] = clock64();\n  t[1] = "
       "__activemask();\n"
       "  __pipeline_memcpy_async(s, g, 16);\n}",
       {"it has no clock", "lock step", "cp.async"}},
      {"using namespace nvcuda::wmma;\n__global__ void k() { fragment<accumulator, 16, 16, 16, float> f; }\n"
       "extern __shared__ float x[];",
       {"tensor cores", "refused.cu:4"}},
  };
  for (const auto& [text, words] : cases) {
    const std::string file = testing::TempDir() + "refused.cu", log = testing::TempDir() + "refused.txt";
    std::ofstream(file) << "#include \"kernels/cuda/cuda_portable.h\"\n" << text << "\nint main() {}\n";
    const std::string command =
        std::string(compiler) + " -std=c++20 -I. -x c++ -c " + file + " -o /dev/null >" + log + " 2>&1";
    EXPECT_NE(std::system(command.c_str()), 0) << text << " was compiled";
    std::ifstream in(log);
    expect_words(std::string(std::istreambuf_iterator<char>(in), {}), words);
  }
}

}  // namespace
