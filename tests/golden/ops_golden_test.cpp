// Every case of CHALK_GOLDEN/ops through the autograd ops on each backend: y and all gradients against stored
// double precision results. Which op a case is for is told by its file name, its constants by its note, its
// sizes by its arrays, so another set of cases can be dropped in. The format is described in the README of
// the golden folder.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "autograd/check.h"
#include "autograd/ops.h"
#include "models/io/json.h"
#include "models/io/safetensors.h"

namespace chalk {
namespace {

std::string golden_folder() {
  if (const char* golden = std::getenv("CHALK_GOLDEN")) return golden;
  const char* data = std::getenv("CHALK_DATA");
  return std::string(data ? data : "data") + "/golden";
}

struct Case {
  std::string name, note;
  std::map<std::string, Tensor> inputs;            // float arrays: leaves that want a gradient
  std::map<std::string, std::vector<float>> want;  // "y" and "d_<input>"
  std::map<std::string, IntTensor> ids;            // whole numbers
  Tensor dy;
  int64_t heads = 0, kv_heads = 0;                         // of the arrays stored as (B, heads, T, D)
  std::map<std::string, double> plain_float32_difference;  // by name in `want`

  const Tensor& operator[](const std::string& input) const {
    const auto found = inputs.find(input);
    check(found != inputs.end(), "golden case {} has no array \"{}\"", name, input);
    return found->second;
  }
  bool has(const std::string& input) const { return inputs.count(input) > 0; }
  const IntTensor& integers(const std::string& input) const {
    const auto found = ids.find(input);
    check(found != ids.end(), "golden case {} has no integer array \"{}\"", name, input);
    return found->second;
  }
};

// The number behind a word of the note ("theta 500000"), or the fallback.
double number_in_note(const std::string& note, const std::string& word, double fallback) {
  const size_t at = note.find(word + " ");
  if (at == std::string::npos) return fallback;
  const char* text = note.c_str() + at + word.size() + 1;
  char* end;
  const double number = std::strtod(text, &end);
  return end == text ? fallback : number;
}

Tensor run_cross_entropy(const Case& c) {
  const std::vector<int32_t>& targets = c.integers("targets").values;
  const bool sum = c.name.find("sum") != std::string::npos;
  if (sum) return cross_entropy(c["logits"], targets, std::vector<float>(targets.size(), 1), 1);
  return cross_entropy(c["logits"], targets);
}

Tensor run_attention(const Case& c) {
  const bool causal = c.note.find("non-causal") == std::string::npos;
  const int64_t window = int64_t(number_in_note(c.note, "window", 0));
  return attention(c["q"], c["k"], c["v"],
                   {.heads = c.heads, .kv_heads = c.kv_heads, .causal = causal, .window = window});
}

Tensor run_rope(const Case& c, bool interleaved) {
  const double theta = number_in_note(c.note, "theta", 10000);
  const Tensor& x = c["x"];
  const RopeTable table = make_rope_table(c.integers("positions").values, x.dim(-1) / c.heads, theta, {},
                                          interleaved, x.device());
  return rope(x, table, c.heads);
}

struct Runner {
  std::string prefix;  // of the file name
  std::function<Tensor(const Case&)> run;
};

float eps(const Case& c) {
  return float(number_in_note(c.note, "eps", 1e-5));
}

// A longer prefix comes before a shorter one that it begins with.
const Runner runners[] = {
    {"softmax", [](const Case& c) { return softmax(c["x"]); }},
    {"log_softmax", [](const Case& c) { return log_softmax(c["x"]); }},
    {"layernorm", [](const Case& c) { return layernorm(c["x"], c["weight"], c["bias"], eps(c)); }},
    {"rmsnorm", [](const Case& c) { return rmsnorm(c["x"], c["weight"], eps(c)); }},
    {"gelu_tanh", [](const Case& c) { return gelu_tanh(c["x"]); }},
    {"gelu_erf", [](const Case& c) { return gelu_erf(c["x"]); }},
    {"silu", [](const Case& c) { return silu(c["x"]); }},
    {"relu", [](const Case& c) { return relu(c["x"]); }},
    {"swiglu", [](const Case& c) { return swiglu(c["gate"], c["up"]); }},
    {"linear",
     [](const Case& c) { return linear(c["x"], c["weight"], c.has("bias") ? c["bias"] : Tensor()); }},
    {"matmul", [](const Case& c) { return matmul(c["a"], c["b"]); }},
    {"add_broadcast", [](const Case& c) { return mul(add(c["a"], c["b"]), c["c"]); }},
    {"cross_entropy", run_cross_entropy},
    {"embedding", [](const Case& c) { return embedding(c["weight"], c.integers("ids")); }},
    {"attention", run_attention},
    {"rope_half", [](const Case& c) { return run_rope(c, false); }},
    {"rope_interleaved", [](const Case& c) { return run_rope(c, true); }},
};

const Runner& runner_of(const std::string& file) {
  for (const Runner& runner : runners) {
    if (file.rfind(runner.prefix, 0) == 0) return runner;
  }
  throw Error("golden ops: no op is known for the case " + file +
              "; add its prefix to `runners` in this test");
}

// (B, heads, T, D) as stored to (B, T, heads·D) as Chalk's ops take it.
std::vector<float> heads_beside(const std::vector<float>& x, const std::vector<int64_t>& shape) {
  const int64_t B = shape[0], H = shape[1], T = shape[2], D = shape[3];
  std::vector<float> y(x.size());
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t t = 0; t < T; ++t) {
        std::copy_n(&x[((b * H + h) * T + t) * D], D, &y[((b * T + t) * H + h) * D]);
      }
    }
  }
  return y;
}

bool stored_by_heads(const Case& c) {
  return c.name.rfind("attention", 0) == 0 || c.name.rfind("rope", 0) == 0;
}

void add_float_array(Case& c, const std::string& name, const ArrayView& array, Device device) {
  std::vector<float> values = to_floats(array);
  Shape shape = array.shape;
  if (stored_by_heads(c) && shape.size() == 4) {
    values = heads_beside(values, shape);
    if (name == "q" || name == "x") c.heads = shape[1];
    if (name == "k") c.kv_heads = shape[1];
    shape = {shape[0], shape[2], shape[1] * shape[3]};
  }
  if (name == "y" || name.rfind("d_", 0) == 0) {
    c.want[name] = values;
  } else if (name == "dy") {
    c.dy = Tensor::from(shape, values, device);
  } else {
    c.inputs[name] = Tensor::from(shape, values, device);
    c.inputs[name].set_requires_grad();
  }
}

Case read_case(const std::string& folder, const nlohmann::json& entry, Device device) {
  Case c;
  const std::string file = entry.at("file");
  c.name = std::filesystem::path(file).stem().string();
  c.note = entry.value("note", "");
  c.plain_float32_difference =
      entry.at("max_abs_difference_of_a_plain_float32_run").get<std::map<std::string, double>>();
  const Safetensors arrays = read_safetensors(folder + "/" + file);
  for (const auto& [name, array] : arrays.tensors) {
    if (array.dtype == DType::I64) {
      const std::vector<int64_t> values = to_int64s(array);
      c.ids[name] = {array.shape, std::vector<int32_t>(values.begin(), values.end())};
    } else {
      add_float_array(c, name, array, device);
    }
  }
  return c;
}

double max_abs(const std::vector<float>& x) {
  double max = 0;
  for (float v : x) max = std::max(max, std::abs(double(v)));
  return max;
}

// Four times the distance of a plain float32 run, but at least one unit in the last place of the largest
// stored value: a run that came closer was lucky. Where the run was exact, the allowance is four roundings
// (2⁻²⁴ each) of the largest product of one number per array: what cancels to zero is made of terms of that
// size.
double tolerance(const Case& c, const std::string& name) {
  const auto found = c.plain_float32_difference.find(name);
  check(found != c.plain_float32_difference.end(), "golden case {} states no float32 difference for {}",
        c.name, name);
  if (found->second > 0) return std::max(4 * found->second, 0x1p-23 * max_abs(c.want.at(name)));
  double largest = std::max(1.0, max_abs(c.dy.to_vector()));
  for (const auto& [input, x] : c.inputs) largest *= std::max(1.0, max_abs(x.to_vector()));
  return 4 * 0x1p-24 * largest;
}

void expect_close(const Case& c, const std::string& name, const std::vector<float>& got,
                  const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size()) << name;
  size_t worst = 0;
  double distance = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double d = std::abs(double(got[i]) - double(want[i]));
    if (!(d <= distance)) distance = d, worst = i;  // NaN counts as worst
  }
  if (got.empty()) return;
  EXPECT_LE(distance, tolerance(c, name))
      << name << "[" << worst << "]: got " << got[worst] << ", want " << want[worst];
}

class OpsGolden : public testing::TestWithParam<Device> {};

TEST_P(OpsGolden, EveryCaseAgrees) {
  const std::string folder = golden_folder() + "/ops";
  if (!std::filesystem::exists(folder + "/index.json")) {
    GTEST_SKIP() << "no golden ops at " << folder << " (set CHALK_GOLDEN or CHALK_DATA)";
  }
  const nlohmann::json index = read_json(folder + "/index.json");
  ASSERT_FALSE(index.at("cases").empty());
  for (const nlohmann::json& entry : index.at("cases")) {
    const Case c = read_case(folder, entry, GetParam());
    SCOPED_TRACE(c.name + " (" + c.note + ")");
    const Tensor y = runner_of(c.name).run(c);
    ASSERT_TRUE(c.want.count("y"));
    expect_close(c, "y", y.to_vector(), c.want.at("y"));
    run_backward(y, c.dy);
    for (const auto& [input, x] : c.inputs) {
      ASSERT_TRUE(c.want.count("d_" + input)) << "no gradient stored for " << input;
      expect_close(c, "d_" + input, x.grad().to_vector(), c.want.at("d_" + input));
    }
  }
}

TEST(OpsGolden, AnUnknownCaseIsNamed) {
  try {
    runner_of("wavelet_small");
    FAIL() << "an unknown case was accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("wavelet_small"), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, OpsGolden, testing::Values(Device::Plain, Device::CPU, Device::CUDA),
                         [](const auto& info) { return std::string(device_name(info.param)); });

}  // namespace
}  // namespace chalk
