// Two models side by side.

#include "models/compare_devices.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "autograd/check.h"
#include "autograd/ops.h"

namespace chalk {
namespace {

// What one model computed, in order.
struct Trace {
  std::vector<std::string> names;
  std::vector<Tensor> tensors;             // handles, kept for their gradients
  std::vector<std::vector<float>> values;  // as the model computed them
};

// Hooks on every activation, for as long as it lives. With `leader`, each activation continues with the leader's numbers;
// they are written into its own storage, so the graph stays as it is.
struct Tracer {
  Tracer(LanguageModel& model, Trace& trace, const Trace* leader, bool gradients) : hooks(model.hooks) {
    for (const std::string& name : hooks.names) {
      tickets.push_back(hooks.add(name, [&trace, leader, gradients, name](const Tensor& x) {
        const size_t i = trace.names.size();
        trace.names.push_back(name);
        trace.values.push_back(x.to_vector());
        if (gradients && x.requires_grad()) {
          x.retain_grad();
          trace.tensors.push_back(x);
        } else {
          trace.tensors.push_back(x.detach());
        }
        if (leader) {
          check(i < leader->names.size() && leader->names[i] == name,
                "the models do not have the same activations: {}", name);
          x.detach().copy_from(Tensor::from(x.shape, leader->values[i], x.device()));
        }
        return x;
      }));
    }
  }
  ~Tracer() {
    for (int ticket : tickets) hooks.remove(ticket);
  }
  Tracer(const Tracer&) = delete;

  Hooks& hooks;
  std::vector<int> tickets;
};

// Targets: the next token of each row; the last one has none.
std::vector<int32_t> next_tokens(const IntTensor& ids) {
  std::vector<int32_t> targets(ids.values.begin() + 1, ids.values.end());
  targets.push_back(ignore_index);
  for (size_t t = size_t(ids.shape[1]) - 1; t < targets.size(); t += size_t(ids.shape[1]))
    targets[t] = ignore_index;
  return targets;
}

Trace run(LanguageModel& model, const IntTensor& ids, const Trace* leader, bool gradients) {
  Trace trace;
  for (const NamedTensor& p : model.parameters()) p.tensor.zero_grad();
  std::optional<NoGrad> no_grad;
  if (!gradients) no_grad.emplace();
  Tracer tracer(model, trace, leader, gradients);
  const Tensor logits = model.forward(ids);
  trace.names.push_back("logits");
  trace.values.push_back(logits.to_vector());
  trace.tensors.push_back(logits);
  if (gradients) {
    if (leader) logits.detach().copy_from(Tensor::from(logits.shape, leader->values.back(), logits.device()));
    logits.retain_grad();
    cross_entropy(logits, next_tokens(ids)).backward();
  }
  return trace;
}

// Compares two arrays; slack: how many roundings of the largest size a number may be off, times eps.
ActivationDifference compare(const std::string& name, bool gradient, const std::vector<float>& a,
                             const std::vector<float>& b, double slack) {
  check(a.size() == b.size(), "{} has {} numbers in one model and {} in the other", name, a.size(), b.size());
  double square_sum = 0;
  for (float x : a) square_sum += std::isfinite(x) ? double(x) * double(x) : 0;
  const double rms = a.empty() ? 0 : std::sqrt(square_sum / double(a.size()));
  ActivationDifference worst{name, gradient};
  for (size_t i = 0; i < a.size(); ++i) {
    double share = 0;
    if (std::isfinite(a[i]) && std::isfinite(b[i])) {
      const double tolerance = slack * std::max(rms, std::abs(double(a[i])));
      const double error = std::abs(double(a[i]) - double(b[i]));
      share = error == 0 ? 0 : error / tolerance;
    } else if (a[i] != b[i] && !(std::isnan(a[i]) && std::isnan(b[i]))) {
      share = std::numeric_limits<double>::infinity();
    }
    if (i == 0 || share > worst.share)
      worst.share = share, worst.index = int64_t(i), worst.a = a[i], worst.b = b[i];
  }
  return worst;
}

// Between two names lie at most four sums (a norm's, a product's, the two of attention), each of at most K terms. The partial
// sums of K terms of either sign stay below 5 times the typical result (5 standard deviations), and each of K additions on each
// device rounds by eps/2 of that: 4 · 5 · K · eps of the larger of the typical number and this one.
double slack_of(int64_t K) {
  return 20.0 * double(K) * double(std::numeric_limits<float>::epsilon());
}

std::vector<float> gradient_of(const Tensor& x) {
  return x.requires_grad() && x.has_grad() ? x.grad().to_vector() : std::vector<float>(size_t(x.numel()));
}

}  // namespace

std::vector<ActivationDifference> compare_devices(LanguageModel& a, LanguageModel& b, const IntTensor& ids,
                                                  bool gradients) {
  check(!gradients || ids.shape.at(1) > 1, "gradients need at least two tokens: one to predict");
  const Trace left = run(a, ids, nullptr, gradients), right = run(b, ids, &left, gradients);
  check(left.names == right.names, "the models do not have the same activations");
  const std::vector<NamedTensor> a_parameters = a.parameters(), b_parameters = b.parameters();
  check(a_parameters.size() == b_parameters.size(), "the models do not have the same parameters");

  // The longest sum of a forward pass: over channels, the MLP's hidden units or the keys; backward also over the vocabulary and
  // over all tokens.
  int64_t K = ids.shape.at(1);
  for (size_t i = 0; i + 1 < left.names.size(); ++i) K = std::max(K, left.tensors[i].dim(-1));
  std::vector<ActivationDifference> differences;
  for (size_t i = 0; i < left.names.size(); ++i) {
    differences.push_back(compare(left.names[i], false, left.values[i], right.values[i], slack_of(K)));
  }
  if (!gradients) return differences;

  K = std::max({K, left.tensors.back().dim(-1), int64_t(ids.values.size())});
  // Gradients are not set equal on the way: after n activations the errors of n stretches may have come together.
  for (size_t i = left.names.size(); i-- > 0;) {
    const double steps = double(left.names.size() - i);
    differences.push_back(compare(left.names[i], true, gradient_of(left.tensors[i]),
                                  gradient_of(right.tensors[i]), steps * slack_of(K)));
  }
  for (size_t i = a_parameters.size(); i-- > 0;) {
    const NamedTensor &p = a_parameters[i], &q = b_parameters[i];
    check(p.name == q.name, "the models do not have the same parameters: {} and {}", p.name, q.name);
    differences.push_back(compare(p.name, true, gradient_of(p.tensor), gradient_of(q.tensor),
                                  double(left.names.size() + 1) * slack_of(K)));
    p.tensor.zero_grad();
    q.tensor.zero_grad();
  }
  return differences;
}

const ActivationDifference* first_disagreement(const std::vector<ActivationDifference>& differences) {
  const auto found =
      std::find_if(differences.begin(), differences.end(), [](const auto& d) { return d.disagrees(); });
  return found == differences.end() ? nullptr : &*found;
}

}  // namespace chalk
