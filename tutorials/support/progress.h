#pragma once
// How a long loop shows that it lives: one line that is rewritten on a terminal, a plain line now and then
// elsewhere.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace chalk {

// What a training loop knows after a step. Fields that stay NaN are not shown.
struct StepReport {
  double loss = NAN_;       // of this step; shown as an exponential average
  double lr = NAN_;         // learning rate
  double grad_norm = NAN_;  // before clipping
  int64_t tokens = 0;       // trained on in this step
  static constexpr double NAN_ = __builtin_nan("");
};

// What is known about the stream that messages go to.
struct Terminal {
  bool live = false;  // a line may be rewritten in place
  int columns = 80;
};
// Asks the stream and the environment: no live line when TERM=dumb or when it is a file or a pipe. Chalk
// prints no colours, so NO_COLOR has nothing to switch off; everything is ASCII.
Terminal terminal_of(FILE* stream);

class Progress {
 public:
  // Steps run from `first_step` (done before this process) to `total_steps`. Off a terminal, one line per
  // `plain_seconds`.
  Progress(std::string task, int64_t first_step, int64_t total_steps, bool quiet = false,
           double plain_seconds = 10);
  ~Progress();  // ends the live line

  void step(int64_t steps_done, const StepReport& report);          // after a training step
  void update(int64_t steps_done, const std::string& detail = "");  // for any other loop
  void finish();

  // Prints a message above the live line.
  void say(const std::string& message);

  double smooth_loss() const { return smooth_loss_; }
  double tokens_per_second() const;
  double seconds() const;  // since the constructor

 private:
  std::string line(const std::string& detail) const;
  void show(const std::string& detail);

  using Clock = std::chrono::steady_clock;
  std::string task_;
  int64_t first_step_, total_steps_, steps_done_, tokens_ = 0;
  bool quiet_;
  double plain_seconds_, smooth_loss_ = StepReport::NAN_, smooth_weight_ = 0;
  Terminal terminal_;
  Clock::time_point start_, last_shown_;
  bool live_line_open_ = false;
};

}  // namespace chalk
