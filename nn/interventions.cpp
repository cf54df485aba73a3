// Edits of single rows of an activation, and the count of positions over the passes of a cached text.

#include "nn/interventions.h"

#include <memory>

#include "autograd/check.h"

namespace chalk {

namespace {

// Where the next pass of a text begins, and how long its first pass was.
struct Progress {
  int64_t position = 0, prompt = 0;
};

int64_t resolved(int64_t position, int64_t prompt) {
  return position < 0 ? prompt + position : position;
}

}  // namespace

Hooks::Edit edit_rows(RowEdit edit, Positions positions, Passes passes) {
  auto progress = std::make_shared<Progress>();
  return [edit = std::move(edit), positions, passes, progress](const Tensor& x) {
    check(x.rank() == 3, "edit_rows: the activation has shape {}, expected (B, T, C)", to_string(x.shape));
    const int64_t B = x.dim(0), T = x.dim(1), C = x.dim(2);
    if (passes == Passes::WholeTexts || progress->position == 0) *progress = {0, T};
    const int64_t begin = progress->position;
    progress->position += T;
    const int64_t first = resolved(positions.first, progress->prompt) + (positions.after_first ? 1 : 0);
    const int64_t last = resolved(positions.last, progress->prompt);
    if (last < begin || first >= begin + T) return x;
    const Tensor y = x.to(Device::CPU).clone();
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t t = 0; t < T; ++t) {
        if (begin + t >= first && begin + t <= last) edit(y.data() + (b * T + t) * C, begin + t);
      }
    }
    return y.to(x.device());
  };
}

Hooks::Edit add_vector(std::vector<float> v, Positions positions, Passes passes) {
  const int64_t width = int64_t(v.size());
  RowEdit add = [v = std::move(v)](float* x, int64_t) {
    for (size_t c = 0; c < v.size(); ++c) x[c] += v[c];
  };
  return [width, edit = edit_rows(std::move(add), positions, passes)](const Tensor& x) {
    check(x.dim(-1) == width, "add_vector: a vector of {} numbers for an activation of shape {}", width,
          to_string(x.shape));
    return edit(x);
  };
}

void Edits::clear() {
  for (int ticket : tickets) hooks.remove(ticket);
  tickets.clear();
}

}  // namespace chalk
