// The page pool, and AdamW page by page.

#include "nn/paged_adamw.h"

#include <algorithm>

#include "autograd/check.h"
#include "kernels/memory.h"
#include "kernels/philox.h"

namespace chalk {

// ---- the pool ----

PagePool::PagePool(int64_t pages, int64_t page_size, int64_t budget_bytes, Eviction eviction, uint64_t seed,
                   Device device)
    : page_size_(page_size),
      budget_pages_(budget_bytes > 0 ? budget_bytes / (page_size * int64_t(sizeof(float))) : pages),
      eviction_(eviction),
      seed_(seed),
      device_(device),
      on_device_(size_t(pages)),
      at_home_(size_t(pages)),
      last_use_(size_t(pages)),
      arrival_(size_t(pages)) {
  if (budget_bytes > 0 && budget_pages_ < 2) {
    throw UsageError(fmt::format("a budget of {} bytes holds {} pages of {}; an update touches two at once",
                                 budget_bytes, budget_pages_, page_size * int64_t(sizeof(float))));
  }
}

float* PagePool::touch(int64_t page, int64_t keep) {
  const size_t p = size_t(page);
  clock_ += 1;
  last_use_[p] = clock_;
  if (on_device_[p].defined()) return on_device_[p].data();

  counters_.faults += 1;
  const int64_t page_bytes = page_size_ * int64_t(sizeof(float));
  if (counters_.resident_bytes + page_bytes > budget_pages_ * page_bytes) evict(keep);
  on_device_[p] = Tensor({page_size_}, device_);  // zeros
  arrival_[p] = clock_;
  if (!at_home_[p].empty()) {
    on_device_[p].copy_from(Tensor::from({page_size_}, at_home_[p], device_));
    at_home_[p] = {};
  }
  counters_.resident_bytes += page_bytes;
  counters_.peak_resident_bytes = std::max(counters_.peak_resident_bytes, counters_.resident_bytes);
  return on_device_[p].data();
}

void PagePool::evict(int64_t keep) {
  std::vector<size_t> candidates;
  for (size_t p = 0; p < on_device_.size(); ++p) {
    if (on_device_[p].defined() && int64_t(p) != keep) candidates.push_back(p);
  }
  auto least = [&](const std::vector<int64_t>& time) {
    return *std::min_element(candidates.begin(), candidates.end(),
                             [&](size_t a, size_t b) { return time[a] < time[b]; });
  };
  size_t victim = candidates[0];
  switch (eviction_) {
    case Eviction::LeastRecent:
      victim = least(last_use_);
      break;
    case Eviction::FirstIn:
      victim = least(arrival_);
      break;
    case Eviction::MostRecent:
      victim = *std::max_element(candidates.begin(), candidates.end(),
                                 [&](size_t a, size_t b) { return last_use_[a] < last_use_[b]; });
      break;
    case Eviction::Random:
      victim = candidates[random_word(seed_, uint64_t(clock_)) % candidates.size()];
      break;
  }
  at_home_[victim] = on_device_[victim].to_vector();
  on_device_[victim] = {};  // back to the allocator
  counters_.evictions += 1;
  counters_.resident_bytes -= page_size_ * int64_t(sizeof(float));
}

// ---- the optimiser ----

namespace {

int64_t total_pages(const std::vector<NamedTensor>& parameters, int64_t page_size) {
  check(page_size > 0, "paged AdamW: pages of {} numbers", page_size);
  int64_t numbers = 0;
  for (const NamedTensor& p : parameters) numbers += p.tensor.numel();
  return 2 * ((numbers + page_size - 1) / page_size);
}

Device device_of(const std::vector<NamedTensor>& parameters) {
  check(!parameters.empty(), "paged AdamW: no parameters; is everything frozen?");
  return parameters[0].tensor.device();
}

}  // namespace

PagedAdamW::PagedAdamW(std::vector<NamedTensor> list, const AdamW::Options& options,
                       const PagedOptions& paging)
    : options(options),
      paging(paging),
      pool(total_pages(list, paging.page_size), paging.page_size, paging.budget_bytes, paging.eviction,
           paging.seed, device_of(list)) {
  parameters = std::move(list);
  int64_t next = 0;
  for (const NamedTensor& p : parameters) {
    offset.push_back(next);
    next += p.tensor.numel();
  }
}

template <class Piece>
void PagedAdamW::for_each_piece(size_t i, Piece piece) const {
  const int64_t count = parameters[i].tensor.numel();
  for (int64_t done = 0; done < count;) {
    const int64_t place = offset[i] + done, inside = place % paging.page_size;
    const int64_t n = std::min(paging.page_size - inside, count - done);
    piece(place / paging.page_size, inside, done, n);
    done += n;
  }
}

void PagedAdamW::step(double lr_factor, double grad_scale) {
  steps += 1;
  gathered.clear();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& w = parameters[i].tensor;
    if (!w.has_grad()) continue;
    const AdamWStep step = options.at(w, steps, lr_factor, grad_scale);
    const Tensor grad = w.grad();
    auto* kernel = pick(w.device(), plain::adamw_step<float>, cpu::adamw_step, cuda::adamw_step);
    for_each_piece(i, [&](int64_t page, int64_t inside, int64_t begin, int64_t n) {
      const int64_t m_page = 2 * page, v_page = m_page + 1;
      pool.touch(m_page);
      float* v = pool.touch(v_page, m_page);
      float* m = pool.touch(m_page, v_page);  // both are resident by now: this moves nothing
      kernel(w.data() + begin, m + inside, v + inside, grad.data() + begin, n, step);
    });
  }
}

void PagedAdamW::visit_state(const std::function<void(const std::string&, const Tensor&)>& visitor) const {
  gathered.clear();
  for (size_t i = 0; i < parameters.size(); ++i) {
    for (int which : {0, 1}) {
      const Device device = parameters[i].tensor.device();
      const Tensor state(parameters[i].tensor.shape, device);
      for_each_piece(i, [&](int64_t page, int64_t inside, int64_t begin, int64_t n) {
        const float* numbers = pool.touch(2 * page + which) + inside;
        copy_memory(state.data() + begin, device, numbers, device, n * int64_t(sizeof(float)));
      });
      visitor((which == 0 ? "adamw.m." : "adamw.v.") + parameters[i].name, state);
      for_each_piece(i, [&](int64_t page, int64_t inside, int64_t begin, int64_t n) {
        float* numbers = pool.touch(2 * page + which) + inside;
        copy_memory(numbers, device, state.data() + begin, device, n * int64_t(sizeof(float)));
      });
      gathered.push_back(state);  // a checkpoint writes the bytes after the walk
    }
  }
}

}  // namespace chalk
