// Logistic regression by Newton's method, and the probability that a probe gives.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/check.h"
#include "kernels/cholesky.h"
#include "nn/probe.h"

namespace chalk {

namespace {

double sigmoid(double z) {
  return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z));
}

// log(1 + e^z) without overflow
double softplus(double z) {
  return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z)));
}

// The problem in its own coordinates: rows (n, d + 1), the last column 1 for the bias.
struct LogisticProblem {
  int64_t n, d;
  std::vector<double> rows;
  Labels labels;
  double C;

  double margin(const std::vector<double>& w, int64_t i) const {
    const double* row = rows.data() + i * (d + 1);
    return std::inner_product(w.begin(), w.end(), row, 0.0);
  }
  // ½|w|² + C Σ log(1 + e^(−t_i z_i)); the bias is not penalised
  double loss(const std::vector<double>& w) const {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += softplus(labels[size_t(i)] == 1 ? -margin(w, i) : margin(w, i));
    return std::inner_product(w.begin(), w.end() - 1, w.begin(), 0.0) / 2 + C * sum;
  }
  // gradient w + C Σ (p_i − y_i) x_i and Hessian I + C Σ p_i (1 − p_i) x_i x_iᵀ
  void derivatives(const std::vector<double>& w, std::vector<double>& gradient,
                   std::vector<double>& hessian) const {
    const int64_t D = d + 1;
    gradient = w, gradient[size_t(d)] = 0;
    hessian.assign(size_t(D * D), 0.0);
    for (int64_t j = 0; j < d; ++j) hessian[size_t(j * D + j)] = 1;
    hessian[size_t(D * D - 1)] = 1e-12;  // p_i (1 − p_i) may underflow in every row: keeps it invertible
    for (int64_t i = 0; i < n; ++i) {
      const double* x = rows.data() + i * D;
      const double p = sigmoid(margin(w, i)), curvature = C * p * (1 - p);
      for (int64_t j = 0; j < D; ++j) {
        gradient[size_t(j)] += C * (p - labels[size_t(i)]) * x[j];
        for (int64_t k = 0; k <= j; ++k) hessian[size_t(j * D + k)] += curvature * x[j] * x[k];
      }
    }
  }
};

double largest(const std::vector<double>& v) {
  double most = 0;
  for (double x : v) most = std::max(most, std::abs(x));
  return most;
}

// Mean 0 and variance 1 in every column (a constant column stays 0); returns 1/std.
std::vector<double> standardise(std::vector<double>& rows, int64_t n, int64_t d, const Direction& mean) {
  std::vector<double> factor(size_t(d), 1.0);
  for (int64_t j = 0; j < d; ++j) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      double& x = rows[size_t(i * (d + 1) + j)];
      x -= mean[size_t(j)];
      sum += x * x;
    }
    const double deviation = std::sqrt(sum / double(n));
    if (deviation > 0) factor[size_t(j)] = 1 / deviation;
    for (int64_t i = 0; i < n; ++i) rows[size_t(i * (d + 1) + j)] *= factor[size_t(j)];
  }
  return factor;
}

// w ← w − t H⁻¹ g, t = 1, ½, ¼, … until the loss falls as a quadratic lets expect
bool newton_step(const LogisticProblem& problem, std::vector<double>& w, const std::vector<double>& gradient,
                 std::vector<double>& hessian, double& loss) {
  const int64_t D = problem.d + 1;
  std::vector<double> workspace(size_t(cholesky_workspace(D)) / sizeof(double)), step = gradient;
  check(cpu::cholesky(hessian.data(), D, workspace.data()) == -1, "logistic_probe: the rows are not finite");
  cpu::cholesky_solve(step.data(), hessian.data(), D, 1);
  const double slope = std::inner_product(step.begin(), step.end(), gradient.begin(), 0.0);
  for (double t = 1; t > 1e-10; t /= 2) {
    std::vector<double> trial = w;
    for (size_t j = 0; j < w.size(); ++j) trial[j] -= t * step[j];
    const double trial_loss = problem.loss(trial);
    if (trial_loss <= loss - 1e-4 * t * slope) {
      w = trial, loss = trial_loss;
      return true;
    }
  }
  return false;  // as low as double can tell
}

}  // namespace

double LinearProbe::probability(const float* x) const {
  return sigmoid(score(x));
}

LogisticProbe logistic_probe(const Samples& samples, const Labels& labels, const LogisticOptions& options) {
  class_mean(samples, labels, 0), class_mean(samples, labels, 1);  // both must exist
  const int64_t n = samples.n, d = samples.d;
  LogisticProblem problem{n, d, {}, labels, options.C};
  for (int64_t i = 0; i < n; ++i) {
    problem.rows.insert(problem.rows.end(), samples.row(i), samples.row(i) + d);
    problem.rows.push_back(1);
  }
  Direction mean = mean_row(samples);
  std::vector<double> factor(size_t(d), 1.0);
  if (options.standardise)
    factor = standardise(problem.rows, n, d, mean);
  else
    mean.assign(size_t(d), 0.0);

  LogisticProbe probe;
  std::vector<double> w(size_t(d + 1), 0.0), gradient, hessian;
  probe.loss = problem.loss(w);
  for (;; ++probe.iterations) {
    problem.derivatives(w, gradient, hessian);
    probe.gradient = largest(gradient);
    if (probe.gradient < options.gradient_tolerance || probe.iterations == options.max_iterations) break;
    if (!newton_step(problem, w, gradient, hessian, probe.loss)) break;
  }
  // w · ((x − mean) · factor) + b  =  (w · factor) · x + (b − (w · factor) · mean)
  probe.weight.assign(w.begin(), w.end() - 1);
  for (size_t j = 0; j < probe.weight.size(); ++j) probe.weight[j] *= factor[j];
  probe.bias = w.back() - dot(probe.weight, mean);
  return probe;
}

}  // namespace chalk
