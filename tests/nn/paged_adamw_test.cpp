// Paged AdamW: the same bits as AdamW under every budget and every order of eviction; the pool's accounts.
#include "nn/paged_adamw.h"

#include <gtest/gtest.h>

#include <map>

#include "kernels/memory.h"
#include "tests/autograd/random_tensor.h"
#include "tests/expect.h"

namespace chalk {
namespace {

class PagedAdamWTest : public testing::TestWithParam<Device> {
 protected:
  // Sizes around the page size of 32: smaller, equal, several pages and a rest.
  std::vector<NamedTensor> make_parameters() const {
    std::vector<NamedTensor> list;
    for (const Shape& shape : {Shape{5}, Shape{4, 8}, Shape{9, 13}, Shape{1}, Shape{50, 3}}) {
      Tensor w = random_tensor(shape, 20 + list.size(), GetParam());
      w.set_requires_grad();
      list.push_back({"w" + std::to_string(list.size()), w});
    }
    return list;
  }
  // Parameter 3 gets no gradient in even steps: skipped there, by both.
  void put_gradients(const std::vector<NamedTensor>& list, uint64_t t) const {
    for (size_t i = 0; i < list.size(); ++i) {
      if (i == 3 && t % 2 == 0) continue;
      list[i].tensor.grad().copy_from(random_tensor(list[i].tensor.shape, 1000 * t + i, GetParam()));
    }
  }
  static constexpr int64_t page_bytes = 32 * 4;
  const AdamW::Options options{.lr = 0.01f, .weight_decay = 0.1f};
};
INSTANTIATE_TEST_SUITE_P(Devices, PagedAdamWTest, testing::Values(Device::Plain, Device::CPU),
                         device_test_name);

TEST_P(PagedAdamWTest, BitIdenticalUnderAnyEvictionOrder) {
  const std::vector<NamedTensor> reference = make_parameters();
  AdamW plain(reference, options);
  for (uint64_t t = 0; t < 7; ++t) {
    put_gradients(reference, t);
    plain.step(0.5 + 0.1 * double(t), 0.8);
    plain.zero_grad();
  }
  std::map<std::string, std::vector<float>> state;
  plain.visit_state([&](const std::string& name, const Tensor& x) { state[name] = x.to_vector(); });

  for (Eviction eviction :
       {Eviction::LeastRecent, Eviction::MostRecent, Eviction::FirstIn, Eviction::Random}) {
    for (int64_t budget_pages : {0, 2, 3, 5, 11, 1000}) {
      const std::vector<NamedTensor> parameters = make_parameters();
      PagedAdamW paged(
          parameters, options,
          {.page_size = 32, .budget_bytes = budget_pages * page_bytes, .eviction = eviction, .seed = 7});
      for (uint64_t t = 0; t < 7; ++t) {
        put_gradients(parameters, t);
        paged.step(0.5 + 0.1 * double(t), 0.8);
        paged.zero_grad();
      }
      for (size_t i = 0; i < parameters.size(); ++i) {
        ASSERT_EQ(parameters[i].tensor.to_vector(), reference[i].tensor.to_vector())
            << "rule " << int(eviction) << ", budget " << budget_pages << ", parameter " << i;
      }
      paged.visit_state([&](const std::string& name, const Tensor& x) {
        ASSERT_EQ(x.to_vector(), state.at(name)) << name;
      });
      const PageCounters counters = paged.counters();
      if (budget_pages > 0) {
        EXPECT_LE(counters.peak_resident_bytes, budget_pages * page_bytes);
      }
      const bool all_fit = budget_pages == 0 || budget_pages == 1000;
      EXPECT_EQ(counters.evictions == 0, all_fit);
    }
  }
}

// The pages on the device are what the allocator has given; a small budget keeps the rest outside it.
TEST_P(PagedAdamWTest, BudgetIsKeptOnTheAllocator) {
  std::vector<NamedTensor> parameters;
  Tensor w = random_tensor({64, 1024}, 1, GetParam());
  w.set_requires_grad();
  parameters.push_back({"w", w});
  const int64_t page = 4096, bytes = page * int64_t(sizeof(float));
  PagedAdamW paged(parameters, options, {.page_size = page, .budget_bytes = 4 * bytes});
  w.grad().copy_from(random_tensor(w.shape, 2, GetParam()));
  const int64_t before = memory_counters().live_bytes;
  paged.step(1);
  EXPECT_EQ(memory_counters().live_bytes - before, 4 * bytes);  // 16 KiB is a size class of its own
  EXPECT_EQ(paged.counters().resident_bytes, 4 * bytes);
  EXPECT_EQ(paged.counters().faults, 32);     // 16 pages of m and 16 of v
  EXPECT_EQ(paged.counters().evictions, 28);  // all but the 4 that stay
}

// What a checkpoint does: the names of AdamW, and numbers written into the state arrive.
TEST_P(PagedAdamWTest, StateCanBeWrittenBack) {
  const std::vector<NamedTensor> a = make_parameters(), b = make_parameters();
  PagedAdamW first(a, options, {.page_size = 32, .budget_bytes = 2 * page_bytes});
  put_gradients(a, 1);
  put_gradients(b, 1);
  AdamW plain(b, options);
  first.step(1);
  plain.step(1);
  std::map<std::string, std::vector<float>> saved;
  plain.visit_state([&](const std::string& name, const Tensor& x) { saved[name] = x.to_vector(); });

  PagedAdamW resumed(a, options, {.page_size = 32, .budget_bytes = 3 * page_bytes});
  resumed.steps = 1;
  resumed.visit_state([&](const std::string& name, const Tensor& x) {
    x.copy_from(Tensor::from(x.shape, saved.at(name), x.device()));
  });
  put_gradients(a, 3);
  put_gradients(b, 3);
  resumed.step(1);
  plain.step(1);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].tensor.to_vector(), b[i].tensor.to_vector());
}

TEST(PagedAdamW, RefusesWhatCannotWork) {
  Tensor w = Tensor({8});
  w.set_requires_grad();
  EXPECT_MENTIONS(error_text([&] {
                    PagedAdamW({{"w", w}}, {}, {.page_size = 32, .budget_bytes = 200});
                  }),
                  "two at once");
  EXPECT_MENTIONS(error_text([] { PagedAdamW({}, {}, {}); }), "frozen");
}

}  // namespace
}  // namespace chalk
