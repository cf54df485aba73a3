// Directions and linear classifiers from activations.

#include "nn/probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/check.h"
#include "kernels/philox.h"
#include "kernels/symmetric_eigen.h"

namespace chalk {

void Samples::add(const float* row) {
  x.insert(x.end(), row, row + d);
  ++n;
}

Samples select_rows(const Samples& samples, const std::vector<int64_t>& rows) {
  Samples chosen{0, samples.d, {}};
  for (int64_t i : rows) {
    check(i >= 0 && i < samples.n, "select_rows: row {} of {}", i, samples.n);
    chosen.add(samples.row(i));
  }
  return chosen;
}

Samples concatenate(const Samples& a, const Samples& b) {
  check(a.d == b.d, "concatenate: rows of {} and of {} numbers", a.d, b.d);
  Samples all = a;
  all.n += b.n;
  all.x.insert(all.x.end(), b.x.begin(), b.x.end());
  return all;
}

// ---- vectors ----

double dot(const Direction& a, const Direction& b) {
  check(a.size() == b.size(), "dot: {} and {} numbers", a.size(), b.size());
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

double dot(const Direction& a, const float* x) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * double(x[i]);
  return sum;
}

double norm(const Direction& a) {
  return std::sqrt(dot(a, a));
}

double cosine(const Direction& a, const Direction& b) {
  return dot(a, b) / (norm(a) * norm(b));
}

Direction scaled(const Direction& a, double factor) {
  Direction b = a;
  for (double& v : b) v *= factor;
  return b;
}

Direction unit(const Direction& a) {
  const double length = norm(a);
  check(length > 0 && std::isfinite(length), "unit: the direction has length {}", length);
  return scaled(a, 1 / length);
}

std::vector<float> to_floats(const Direction& a) {
  return {a.begin(), a.end()};
}

Direction random_direction(int64_t d, double length, uint64_t seed) {
  Direction v;
  for (int64_t i = 0; i < d; ++i) v.push_back(double(random_normal(seed, uint64_t(i))));
  return scaled(unit(v), length);
}

// ---- means ----

namespace {

void check_labels(const Samples& samples, const Labels& labels) {
  check(int64_t(labels.size()) == samples.n, "probe: {} labels for {} rows", labels.size(), samples.n);
  for (int label : labels) check(label == 0 || label == 1, "probe: label {}, expected 0 or 1", label);
}

}  // namespace

Direction mean_row(const Samples& samples) {
  check(samples.n > 0, "mean_row: no rows");
  Direction mean(size_t(samples.d), 0.0);
  for (int64_t i = 0; i < samples.n; ++i)
    for (int64_t j = 0; j < samples.d; ++j) mean[size_t(j)] += double(samples.row(i)[j]);
  return scaled(mean, 1 / double(samples.n));
}

Direction class_mean(const Samples& samples, const Labels& labels, int label) {
  check_labels(samples, labels);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < samples.n; ++i)
    if (labels[size_t(i)] == label) rows.push_back(i);
  check(!rows.empty(), "probe: no row has label {}", label);
  return mean_row(select_rows(samples, rows));
}

Direction difference_of_means(const Samples& samples, const Labels& labels) {
  Direction theta = class_mean(samples, labels, 1);
  const Direction other = class_mean(samples, labels, 0);
  for (size_t j = 0; j < theta.size(); ++j) theta[j] -= other[j];
  return theta;
}

// ---- principal components ----

namespace {

// Eigenvalues, descending, and eigenvectors (rows) of a symmetric a (N, N).
struct Eigen {
  std::vector<double> values, vectors;
};

Eigen eigen_of(const std::vector<double>& a, int64_t N) {
  Eigen e{std::vector<double>(size_t(N)), std::vector<double>(size_t(N * N))};
  std::vector<double> workspace(size_t(symmetric_eigen_workspace(N)) / sizeof(double));
  check(cpu::symmetric_eigen(e.values.data(), e.vectors.data(), a.data(), N, workspace.data()),
        "principal components: the rows hold numbers that are not finite");
  return e;
}

// The coordinate of largest magnitude (the first in a tie) becomes positive.
void fix_sign(Direction& v) {
  const auto larger = [](double a, double b) { return std::abs(a) < std::abs(b); };
  if (*std::max_element(v.begin(), v.end(), larger) < 0) v = scaled(v, -1);
}

// X − mean, in double, (n, d).
std::vector<double> centred_rows(const Samples& samples, bool centre) {
  const Direction mean = centre ? mean_row(samples) : Direction(size_t(samples.d), 0.0);
  std::vector<double> rows;
  for (int64_t i = 0; i < samples.n; ++i)
    for (int64_t j = 0; j < samples.d; ++j) rows.push_back(double(samples.row(i)[j]) - mean[size_t(j)]);
  return rows;
}

// a · aᵀ (rows, rows), or aᵀ · a (columns, columns).
std::vector<double> gram(const std::vector<double>& a, int64_t rows, int64_t columns, bool of_rows) {
  const int64_t N = of_rows ? rows : columns, K = of_rows ? columns : rows;
  const int64_t step = of_rows ? columns : 1, stride = of_rows ? 1 : columns;
  std::vector<double> product(size_t(N * N), 0.0);
  for (int64_t i = 0; i < N; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < K; ++k)
        sum += a[size_t(i * step + k * stride)] * a[size_t(j * step + k * stride)];
      product[size_t(i * N + j)] = product[size_t(j * N + i)] = sum;
    }
  }
  return product;
}

}  // namespace

PrincipalComponents principal_components(const Samples& samples, int64_t count, bool centre) {
  check(samples.n > 0 && samples.d > 0 && count > 0, "principal components: {} rows of {} numbers, {} wanted",
        samples.n, samples.d, count);
  const int64_t n = samples.n, d = samples.d;
  const std::vector<double> rows = centred_rows(samples, centre);
  // XᵀX v = λ v costs d³. With n < d rows the n × n Gram matrix has the same eigenvalues: XXᵀ u = λ u, v = Xᵀu / √λ.
  const bool of_rows = n < d;
  const int64_t N = std::min(n, d);
  const Eigen e = eigen_of(gram(rows, n, d, of_rows), N);
  PrincipalComponents result;
  for (double value : e.values) result.total_variance += std::max(value, 0.0) / double(n);
  for (int64_t k = 0; k < std::min(count, N); ++k) {
    const double value = e.values[size_t(k)];
    if (!(value > 1e-12 * e.values[0])) break;  // the rows span no more; also when all of them are equal
    Direction v(size_t(d), 0.0);
    const double* vector = e.vectors.data() + k * N;
    for (int64_t j = 0; j < d && !of_rows; ++j) v[size_t(j)] = vector[j];
    for (int64_t i = 0; i < n && of_rows; ++i)
      for (int64_t j = 0; j < d; ++j) v[size_t(j)] += vector[i] * rows[size_t(i * d + j)];
    v = unit(v);
    fix_sign(v);
    result.directions.push_back(v);
    result.variances.push_back(value / double(n));
  }
  return result;
}

// ---- classifiers ----

double accuracy(const LinearProbe& probe, const Samples& samples, const Labels& labels) {
  check_labels(samples, labels);
  check(samples.n > 0, "accuracy: no rows");
  int64_t right = 0;
  for (int64_t i = 0; i < samples.n; ++i)
    right += (probe.score(samples.row(i)) >= 0) == (labels[size_t(i)] == 1);
  return double(right) / double(samples.n);
}

LinearProbe probe_along(const Direction& direction, const Samples& samples, const Labels& labels) {
  const double one = dot(direction, class_mean(samples, labels, 1));
  const double zero = dot(direction, class_mean(samples, labels, 0));
  const double sign = one >= zero ? 1 : -1;
  return {scaled(direction, sign), -sign * (one + zero) / 2};
}

LinearProbe mass_mean_probe(const Samples& samples, const Labels& labels, double tolerance) {
  const Direction one = class_mean(samples, labels, 1), zero = class_mean(samples, labels, 0);
  // S = (1/n) Σ (x_i − μ_{y_i}) (x_i − μ_{y_i})ᵀ
  Samples centred{0, samples.d, {}};
  for (int64_t i = 0; i < samples.n; ++i) {
    std::vector<float> row(samples.row(i), samples.row(i) + samples.d);
    const Direction& mean = labels[size_t(i)] == 1 ? one : zero;
    for (size_t j = 0; j < row.size(); ++j) row[j] = float(double(row[j]) - mean[j]);
    centred.add(row.data());
  }
  const PrincipalComponents s = principal_components(centred, samples.d, false);
  const Direction theta = difference_of_means(samples, labels);
  LinearProbe probe{Direction(theta.size(), 0.0), 0};
  // S⁺ θ = Σ_k v_k (v_k · θ) / λ_k over the eigenvalues that count
  for (size_t k = 0; k < s.directions.size(); ++k) {
    if (s.variances[k] < tolerance * s.variances[0]) break;
    const double share = dot(s.directions[k], theta) / s.variances[k];
    for (size_t j = 0; j < theta.size(); ++j) probe.weight[j] += share * s.directions[k][j];
  }
  // b = −½ θᵀ S⁺ (μ_1 + μ_0)
  probe.bias = -(dot(probe.weight, one) + dot(probe.weight, zero)) / 2;
  return probe;
}

// ---- splits, controls, errors ----

std::vector<int> folds_by_item(const std::vector<int>& items, int folds) {
  check(folds > 1, "folds_by_item: {} folds, expected at least 2", folds);
  std::vector<int> fold;
  for (int item : items) {
    check(item >= 0, "folds_by_item: item {}", item);
    fold.push_back(item % folds);
  }
  return fold;
}

Labels shuffled(const Labels& labels, uint64_t seed) {
  Labels result = labels;
  for (size_t i = result.size(); i-- > 1;) {
    std::swap(result[i], result[size_t(uint64_t(random_word(seed, i)) * (i + 1) >> 32)]);
  }
  return result;
}

Interval wilson_interval(double share, int64_t n) {
  check(n > 0 && share >= 0 && share <= 1, "wilson_interval: share {} of {}", share, n);
  constexpr double z = 1.959963984540054;  // 97.5 % point of the normal distribution
  const double count = double(n), centre = (share + z * z / (2 * count)) / (1 + z * z / count);
  const double half =
      z * std::sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count);
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

}  // namespace chalk
