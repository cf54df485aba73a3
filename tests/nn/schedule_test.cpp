// Learning-rate schedules at the steps that matter.
#include "nn/schedule.h"

#include <gtest/gtest.h>

#include "tests/expect.h"

namespace chalk {
namespace {

using Kind = Schedule::Kind;

TEST(ScheduleTest, WarmUpIsTheSameForAll) {
  for (Kind kind : {Kind::Constant, Kind::Cosine, Kind::Linear, Kind::WSD}) {
    const Schedule s{.kind = kind, .warmup = 4, .total = 100};
    EXPECT_DOUBLE_EQ(s.factor(0), 0.25);
    EXPECT_DOUBLE_EQ(s.factor(2), 0.75);
    EXPECT_DOUBLE_EQ(s.factor(3), 1);
    EXPECT_DOUBLE_EQ(s.factor(4), 1);
  }
}

TEST(ScheduleTest, KeyPoints) {
  const int64_t warmup = 10, total = 110;
  const Schedule cosine{.kind = Kind::Cosine, .warmup = warmup, .total = total, .floor = 0.1};
  EXPECT_DOUBLE_EQ(cosine.factor(60), 0.55);  // half way: the mean of peak and floor
  EXPECT_DOUBLE_EQ(cosine.factor(110), 0.1);
  EXPECT_DOUBLE_EQ(cosine.factor(100000), 0.1);
  EXPECT_NEAR(cosine.factor(35), 0.1 + 0.9 * 0.5 * (1 + std::sqrt(0.5)), 1e-12);

  const Schedule linear{.kind = Kind::Linear, .warmup = warmup, .total = total, .floor = 0};
  EXPECT_DOUBLE_EQ(linear.factor(60), 0.5);
  EXPECT_DOUBLE_EQ(linear.factor(110), 0);

  const Schedule wsd{
      .kind = Kind::WSD, .warmup = warmup, .total = total, .floor = 0.2, .decay_fraction = 0.25};
  EXPECT_DOUBLE_EQ(wsd.factor(60), 1);
  EXPECT_DOUBLE_EQ(wsd.factor(85), 1);  // 75 % of the way
  EXPECT_DOUBLE_EQ(wsd.factor(110), 0.2);
  EXPECT_NEAR(wsd.factor(97), 1 - 0.8 * 12 / 25, 1e-12);

  EXPECT_DOUBLE_EQ((Schedule{.kind = Kind::Constant, .total = 10}).factor(1000), 1);
}

TEST(ScheduleTest, OddSettingsGiveNumbers) {
  const Schedule no_decay{.kind = Kind::WSD, .warmup = 0, .total = 10, .floor = 0, .decay_fraction = 0};
  EXPECT_DOUBLE_EQ(no_decay.factor(10), 1);
  const Schedule all_warmup{.kind = Kind::Cosine, .warmup = 10, .total = 10};
  EXPECT_DOUBLE_EQ(all_warmup.factor(9), 1);
  EXPECT_TRUE(std::isfinite(all_warmup.factor(10)));
  for (int64_t step = 1; step < 200; ++step) {
    const Schedule s{.kind = Kind::Cosine, .warmup = 0, .total = 150};
    EXPECT_LE(s.factor(step), s.factor(step - 1));  // never rises after warm-up
  }
}

TEST(ScheduleTest, Names) {
  EXPECT_EQ(schedule_by_name("wsd"), Kind::WSD);
  EXPECT_EQ(schedule_by_name("constant"), Kind::Constant);
  EXPECT_MENTIONS(error_text([] { schedule_by_name("cosin"); }), "known are constant, cosine, linear, wsd");
}

}  // namespace
}  // namespace chalk
