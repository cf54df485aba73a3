#pragma once
// AdamW whose two moments live in pages (Dettmers et al. 2023, section 3, "Paged Optimizers").
//
// On a GPU the authors allocate the moments in unified memory: when the device runs out, the driver moves pages to the
// host, and back when the optimiser touches them. PagePool plays the driver: a device budget of whole pages, a home on
// the host for those that do not fit, and a rule that picks who leaves. Only copies are made, so the update is
// that of AdamW, bit for bit, under any budget and any order of eviction (tests/nn/paged_adamw_test.cpp).

#include "nn/adamw.h"

namespace chalk {

// Which resident page makes room.
enum class Eviction { LeastRecent, MostRecent, FirstIn, Random };

struct PageCounters {
  int64_t faults = 0;     // a page was touched that was not on the device
  int64_t evictions = 0;  // a page left the device: copied to its home first
  int64_t resident_bytes = 0, peak_resident_bytes = 0;
};

// Pages of `page_size` floats, all zero at first. At most `budget_bytes` of them are on the device at a time.
class PagePool {
 public:
  // budget_bytes 0: no limit. Throws UsageError on a budget below two pages (an update touches two at once).
  PagePool(int64_t pages, int64_t page_size, int64_t budget_bytes, Eviction eviction, uint64_t seed,
           Device device);

  // The page's numbers on the device; valid until another page than `keep` is touched. `keep` is never evicted.
  float* touch(int64_t page, int64_t keep = -1);
  PageCounters counters() const { return counters_; }

 private:
  void evict(int64_t keep);
  int64_t page_size_, budget_pages_;
  Eviction eviction_;
  uint64_t seed_;
  Device device_;
  std::vector<Tensor> on_device_;            // undefined: evicted, or never touched
  std::vector<std::vector<float>> at_home_;  // host memory, outside the caching allocator; empty: all zero
  std::vector<int64_t> last_use_, arrival_;
  int64_t clock_ = 0;
  PageCounters counters_;
};

struct PagedOptions {
  int64_t page_size = 16384;  // floats: 64 KiB
  int64_t budget_bytes = 0;   // of the device, for both moments together; 0: all of it fits
  Eviction eviction = Eviction::LeastRecent;
  uint64_t seed = 1;  // of Eviction::Random
};

struct PagedAdamW : Optimizer {
  AdamW::Options options;
  PagedOptions paging;

  PagedAdamW(std::vector<NamedTensor> parameters, const AdamW::Options& options, const PagedOptions& paging);
  void step(double lr_factor, double grad_scale = 1) override;
  // AdamW's names. The tensors are gathered copies; what a visitor writes into one goes back to the pages. They live until
  // the next step() or visit_state().
  void visit_state(const std::function<void(const std::string&, const Tensor&)>& visitor) const override;
  PageCounters counters() const { return pool.counters(); }

 private:
  // The moments lie one after the other in two long arrays; page p of m is page 2p of the pool, of v 2p + 1.
  // Calls piece(page p, first number inside it, first number of the parameter, count) for what parameter i occupies.
  template <class Piece>
  void for_each_piece(size_t i, Piece piece) const;
  std::vector<int64_t> offset;  // of each parameter in those arrays
  mutable PagePool pool;
  mutable std::vector<Tensor> gathered;
};

}  // namespace chalk
