// Lesson 2: training. A small network learns to tell two moons apart.
//
// Two half circles of points, bent into each other: no straight line separates them, so a linear classifier must stay
// wrong about one point in eight, however long it trains. One hidden layer is enough to bend the border. The loop below is
// the loop of every training program, GPT-2's included: forward, loss, backward, step, zero_grad.

#include "autograd/ops.h"
#include "kernels/philox.h"
#include "nn/adamw.h"
#include "nn/init.h"
#include "nn/linear.h"
#include "tutorials/support/plot.h"
#include "tutorials/support/program.h"

using namespace chalk;

constexpr int64_t kPoints = 400, kSteps = 300, kWidth = 32;
const char* const kPlot = "runs/02_train_mlp/loss.png";

struct Points {
  Tensor x;                     // (N, 2)
  std::vector<int32_t> labels;  // which moon
};

// Random number i of a stream is a function of (seed, i): the same points on every machine (kernels/philox.h).
static Points two_moons(int64_t N, uint64_t seed, Device device) {
  Points p{Tensor({N, 2}, device), {}};
  for (int64_t n = 0; n < N; ++n) {
    const int32_t moon = int32_t(n % 2);
    const double angle = 3.14159 * double(random_uniform(seed, uint64_t(n)));
    const double x = moon ? 1 - std::cos(angle) : std::cos(angle),
                 y = moon ? 0.5 - std::sin(angle) : std::sin(angle);
    p.x.data()[2 * n] = float(x - 0.5) + 0.12f * random_normal(seed + 1, uint64_t(2 * n));
    p.x.data()[2 * n + 1] = float(y - 0.25) + 0.12f * random_normal(seed + 1, uint64_t(2 * n + 1));
    p.labels.push_back(moon);
  }
  return p;
}

// A module owns parameters and says their names; forward() is ordinary code. width = 0 leaves the hidden layer out.
struct Classifier : Module {
  std::unique_ptr<Linear> hidden, out;

  Classifier(int64_t width, uint64_t seed, Device device) {
    if (width > 0) hidden = std::make_unique<Linear>(2, width, true, device);
    out = std::make_unique<Linear>(width > 0 ? width : 2, 2, true, device);
    for (const NamedTensor& p : parameters()) {
      if (p.tensor.rank() == 2) init_kaiming(p.tensor, seed, p.name);
    }
  }
  Tensor forward(const Tensor& x) {  // (N, 2) -> two logits per point (N, 2)
    return out->forward(hidden ? relu(hidden->forward(x)) : x);
  }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    if (hidden) hidden->visit_parameters(prefix + "hidden.", visitor);
    out->visit_parameters(prefix + "out.", visitor);
  }
};

static double accuracy(Classifier& model, const Points& points) {
  const NoGrad no_grad;
  const Tensor logits = model.forward(points.x);
  int64_t right = 0;
  for (size_t n = 0; n < points.labels.size(); ++n)
    right += (logits.data()[2 * n + 1] > logits.data()[2 * n]) == (points.labels[n] == 1);
  return double(right) / double(points.labels.size());
}

static Series train(const std::string& name, Classifier& model, Optimizer& optimizer, const Points& points) {
  Series curve{.name = name, .x = {}, .y = {}};
  for (int64_t step = 0; step < kSteps; ++step) {
    const Tensor loss = cross_entropy(model.forward(points.x), points.labels);  // 1. how wrong, one number
    loss.backward();        // 2. dloss/dw for every parameter w
    optimizer.step(1);      // 3. a step downhill
    optimizer.zero_grad();  // 4. or the next backward() would add
    curve.x.push_back(double(step));
    curve.y.push_back(double(loss.item()));
  }
  return curve;
}

static int lesson(Context& context) {
  const Points points = two_moons(kPoints, context.seed, context.device);
  const Points unseen = two_moons(kPoints, context.seed + 1000, context.device);
  LinePlot plot{.title = "Two moons", .x = {.label = "step"}, .y = {.label = "loss (nats)", .log = true}};

  print(fmt::format("{:<28}{:>11}{:>12}{:>12}{:>9}\n", "model", "parameters", "first loss", "last loss",
                    "unseen"));
  std::map<std::string, double> result;
  auto run = [&](const std::string& name, int64_t width, bool adam) {
    Classifier model(width, context.seed, context.device);
    SGD plain(model.parameters(), {.lr = 0.1f, .momentum = 0.9f});
    AdamW adaptive(model.parameters(), {.lr = 0.02f, .weight_decay = 0});
    Optimizer& optimizer = adam ? static_cast<Optimizer&>(adaptive) : plain;
    plot.series.push_back(train(name, model, optimizer, points));
    const std::vector<double>& losses = plot.series.back().y;
    result[name] = accuracy(model, unseen);
    print(fmt::format("{:<28}{:>11}{:>12.3f}{:>12.3f}{:>8.1f}%\n", name, model.parameter_count(),
                      losses.front(), losses.back(), 100 * result[name]));
  };
  run("linear, AdamW", 0, true);
  run("hidden layer, SGD", kWidth, false);
  run("hidden layer, AdamW", kWidth, true);

  save_png(plot, kPlot);
  context.say(std::string("loss curves: ") + kPlot);
  for (const auto& [name, value] : result) context.result[name] = value;
  context.claim(result["linear, AdamW"] < 0.95, "a straight border stays below 95 %");
  context.claim(result["hidden layer, AdamW"] > 0.97, "one hidden layer gets above 97 % on unseen points");
  return 0;
}

int main(int argc, char** argv) {
  const std::string name = "02_train_mlp";
  return run_program(argc, argv, {name, "lesson 2: two moons, told apart", "build/bin/" + name, {}, lesson});
}
