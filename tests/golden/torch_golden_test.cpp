// Tiny models against numbers that PyTorch computed in double precision: CHALK_GOLDEN/torch/SET/NAME_*, every set and
// every model that is there. The bar is 4x the stored distance of PyTorch's own float32 run from those numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "autograd/ops.h"
#include "models/io/huggingface.h"
#include "models/io/safetensors.h"
#include "models/load.h"
#include "nn/adamw.h"
#include "tests/expect.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string set;   // ".../torch/setA"
  std::string name;  // "gpt2": the prefix of its files
  Device device;

  std::string file(const std::string& suffix) const { return set + "/" + name + suffix; }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.set << " " << c.name << " on " << device_name(c.device);
}

std::vector<Case> find_cases() {
  std::vector<Case> cases;
  std::error_code none;
  for (const auto& set : fs::directory_iterator(golden_folder() + "/torch", none)) {
    for (const auto& entry : fs::directory_iterator(set.path(), none)) {
      const std::string file = entry.path().filename().string(), ending = "_config.json";
      if (!file.ends_with(ending)) continue;
      const std::string name = file.substr(0, file.size() - ending.size());
      for (Device device : {Device::Plain, Device::CPU, Device::CUDA})
        cases.push_back({set.path().string(), name, device});
    }
  }
  std::sort(cases.begin(), cases.end(), [](const Case& a, const Case& b) {
    return std::tie(a.set, a.name, a.device) < std::tie(b.set, b.name, b.device);
  });
  return cases;
}

// One .safetensors file of a case under the model's own names and layouts: read as if it were a Hugging Face folder.
std::map<std::string, Tensor> read_parameters(const Case& c, const std::string& suffix,
                                              Checkpoint* config = nullptr) {
  const TemporaryFolder folder;
  fs::copy_file(c.file("_config.json"), folder.file("config.json"));
  fs::copy_file(c.file(suffix), folder.file("model.safetensors"));
  const Checkpoint checkpoint = read_hf_folder(folder.path);
  if (config) *config = checkpoint;
  std::map<std::string, Tensor> tensors;
  for (const NamedArray& w : checkpoint.weights) tensors[w.name] = Tensor::from(w.shape, w.data, c.device);
  return tensors;
}

class TorchGolden : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& c = GetParam();
    Checkpoint checkpoint;
    read_parameters(c, "_model.safetensors", &checkpoint);
    model = make_model(std::move(checkpoint), c.device);

    io = read_safetensors(c.file("_io.safetensors"));
    const ArrayView& input_ids = io.at("input_ids");
    ids.shape = input_ids.shape;
    for (int64_t id : to_int64s(input_ids)) ids.values.push_back(int32_t(id));
    for (int64_t id : to_int64s(io.at("labels"))) labels.push_back(int32_t(id));

    std::ifstream stream(c.file("_expected.json"));
    expected = nlohmann::json::parse(stream);
  }

  Tensor stored(const std::string& name) const {
    return Tensor::from(io.at(name).shape, to_floats(io.at(name)), GetParam().device);
  }
  double tolerance(const char* what) const {
    return 4 *
           expected.at("max_abs_difference_of_a_plain_float32_run_from_these_values").at(what).get<double>();
  }

  // A loss is one number, so the stored distance may be small by luck; no bar below one step of a float near it.
  double loss_bar() const {
    const float loss = expected.at("loss").get<float>();
    // The kernels of device cuda compute in float alone: log_sum, the target's distance from the maximum and their difference
    // are each rounded to half a step, the logits before them by more than that. Worst case, since a mean of rows can
    // err as much as its rows: four steps. (Plain and cpu add in double; measured here: up to 1.6 steps on cuda.)
    const double steps = GetParam().device == Device::CUDA ? 4 : 1;
    return std::max(tolerance("loss"), steps * (double(std::nextafter(loss, INFINITY)) - double(loss)));
  }
  // The mean in double: a float near 6 is up to 2.4e-7 from any loss, which is half of the bar already.
  static double mean_of(const Tensor& rows) {
    double total = 0;
    for (float loss : rows.to_vector()) total += double(loss);
    return total / double(rows.numel());
  }
  // Three AdamW steps on the same batch; every loss, every gradient norm, then the parameters.
  void check_steps(const char* section, double max_norm, const std::string& suffix);
  void check_parameters(const std::string& suffix, const AdamW::Options& options,
                        const std::vector<std::vector<Tensor>>& gradients,
                        const std::vector<double>& factors);

  std::unique_ptr<LanguageModel> model;
  Safetensors io;
  IntTensor ids;
  std::vector<int32_t> labels;
  nlohmann::json expected;
};

TEST_P(TorchGolden, LogitsAndLoss) {
  const NoGrad no_grad;
  EXPECT_TRUE(all_near(model->forward(ids), stored("logits"), tolerance("logits")));
  const Tensor loss = cross_entropy(model->forward(ids), labels);
  EXPECT_NEAR(loss.item(), expected.at("loss").get<double>(), loss_bar());
}

TEST_P(TorchGolden, EveryGradient) {
  const Tensor logits = model->forward(ids);
  logits.retain_grad();
  cross_entropy(logits, labels).backward();
  EXPECT_TRUE(all_near(logits.grad(), stored("grad_logits"), tolerance("grads")));

  const std::map<std::string, Tensor> gradients = read_parameters(GetParam(), "_grads.safetensors");
  const std::vector<NamedTensor> parameters = model->parameters();
  ASSERT_EQ(parameters.size(), gradients.size());
  for (const NamedTensor& p : parameters) {
    EXPECT_TRUE(all_near(p.tensor.grad(), gradients.at(p.name), tolerance("grads"))) << p.name;
  }
}

// GPT-2's key bias adds the same number to every score of a query, which softmax ignores: its gradient is exactly zero,
// what arithmetic leaves is rounding noise, and AdamW turns noise of any size into steps of up to lr. Left out.
bool is_key_bias(const std::string& name, int64_t i, int64_t count) {
  return name.ends_with("attn.c_attn.bias") && i >= count / 3 && i < 2 * count / 3;
}

// How far AdamW moves one parameter when its gradients, one per step, are off by at most `error`:
// Σ_t |u(g_t + error) − u(g_t − error)| / 2 with u = Σ_t lr · m̂_t / (√v̂_t + eps).
double step_slack(const AdamW::Options& o, std::vector<double> g, double error) {
  auto total_update = [&] {
    double u = 0, m = 0, v = 0;
    for (size_t t = 0; t < g.size(); ++t) {
      m = double(o.beta1) * m + (1 - double(o.beta1)) * g[t];
      v = double(o.beta2) * v + (1 - double(o.beta2)) * g[t] * g[t];
      const double m_hat = m / (1 - std::pow(double(o.beta1), double(t + 1)));
      const double v_hat = v / (1 - std::pow(double(o.beta2), double(t + 1)));
      u += double(o.lr) * m_hat / (std::sqrt(v_hat) + double(o.eps));
    }
    return u;
  };
  double slack = 0;
  for (double& g_t : g) {
    const double middle = g_t;
    g_t = middle + error;
    const double above = total_update();
    g_t = middle - error;
    slack += std::abs(above - total_update()) / 2;
    g_t = middle;
  }
  return slack;
}

// The bar holds for every parameter whose step is determined by gradients as exact as PyTorch's float32 ones. A few
// gradients in a thousand are so small that this distance is a good part of them; AdamW divides by their size, so their
// steps are not reproducible (as with the key bias, less extreme), and the stored distance there is one draw of a
// distribution without a mean. Those may be as far off as such gradients allow, and must be fewer than one in a hundred.
void TorchGolden::check_parameters(const std::string& suffix, const AdamW::Options& options,
                                   const std::vector<std::vector<Tensor>>& gradients,
                                   const std::vector<double>& factors) {
  const std::map<std::string, Tensor> after = read_parameters(GetParam(), suffix);
  const std::vector<NamedTensor> parameters = model->parameters();
  const double bar = tolerance("params_after_3_adamw_steps");
  int64_t undetermined = 0;
  for (size_t p = 0; p < parameters.size(); ++p) {
    const Tensor& got = parameters[p].tensor;
    const Tensor& wanted = after.at(parameters[p].name);
    ASSERT_EQ(got.shape, wanted.shape);
    for (int64_t i = 0; i < got.numel(); ++i) {
      if (is_key_bias(parameters[p].name, i, got.numel())) continue;
      const double difference = std::abs(double(got.data()[i]) - double(wanted.data()[i]));
      std::vector<double> g;
      for (size_t t = 0; t < factors.size(); ++t) g.push_back(factors[t] * double(gradients[t][p].data()[i]));
      const bool untouched =
          std::all_of(g.begin(), g.end(), [](double g_t) { return g_t == 0; });  // an unused token
      const double slack = untouched ? 0 : step_slack(options, g, tolerance("grads") / 4 * factors[0]);
      undetermined += slack > bar;
      EXPECT_LE(difference, std::max(bar, slack)) << parameters[p].name << " at " << i;
    }
  }
  EXPECT_LT(undetermined, model->parameter_count() / 100);
}

void TorchGolden::check_steps(const char* section, double max_norm, const std::string& suffix) {
  const nlohmann::json& adamw = expected.at("adamw");
  const AdamW::Options options{.lr = adamw.at("lr").get<float>(),
                               .beta1 = adamw.at("beta1").get<float>(),
                               .beta2 = adamw.at("beta2").get<float>(),
                               .eps = adamw.at("eps").get<float>(),
                               .weight_decay = adamw.at("weight_decay_on_2d_params").get<float>(),
                               .vector_weight_decay = adamw.at("weight_decay_on_1d_params").get<float>()};
  const std::vector<NamedTensor> parameters = model->parameters();
  AdamW optimizer(parameters, options);
  std::vector<std::vector<Tensor>> gradients;  // of each step, unclipped
  std::vector<double> factors;
  // The norm moves by at most the norm of the gradients' errors: their bar times √count.
  const double norm_tolerance = tolerance("grads") * std::sqrt(double(model->parameter_count()));

  for (const nlohmann::json& step : expected.at(section).at("steps")) {
    const Tensor rows = cross_entropy_rows(model->forward(ids), labels);
    EXPECT_NEAR(mean_of(rows), step.at("loss_before").get<double>(), loss_bar()) << step;
    mean(rows).backward();
    const double norm = gradient_norm(parameters), factor = clip_coefficient(norm, max_norm);
    EXPECT_NEAR(norm, step.at("grad_norm_before_clip").get<double>(), norm_tolerance) << step;
    EXPECT_NEAR(factor, step.at("clip_coef").get<double>(), norm_tolerance) << step;
    gradients.emplace_back();
    for (const NamedTensor& p : parameters) gradients.back().push_back(p.tensor.grad());
    factors.push_back(factor);
    optimizer.step(1, factor);
    optimizer.zero_grad();
  }
  const Tensor rows = cross_entropy_rows(model->forward(ids), labels);
  EXPECT_NEAR(mean_of(rows), expected.at(section).at("loss_after_3_steps").get<double>(), loss_bar());
  check_parameters(suffix, options, gradients, factors);
}

TEST_P(TorchGolden, ThreeAdamWSteps) {
  check_steps("no_clip", 0, "_after3_adamw.safetensors");
}

TEST_P(TorchGolden, ThreeAdamWStepsClipped) {
  check_steps("clip_global_norm_1", 1, "_after3_adamw_clip1.safetensors");
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TorchGolden);
INSTANTIATE_TEST_SUITE_P(Sets, TorchGolden, testing::ValuesIn(find_cases()), [](const auto& info) {
  const Case& c = info.param;
  std::string name = fs::path(c.set).filename().string() + "_" + c.name + "_" + device_name(c.device);
  std::replace_if(
      name.begin(), name.end(), [](char ch) { return !std::isalnum(static_cast<unsigned char>(ch)); }, '_');
  return name;
});

TEST(TorchGoldenData, IsThere) {
  if (find_cases().empty()) GTEST_SKIP() << "no sets in " << golden_folder() << "/torch (set CHALK_GOLDEN)";
}

}  // namespace
}  // namespace chalk
