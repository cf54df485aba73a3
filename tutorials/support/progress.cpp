#include "tutorials/support/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "tutorials/support/table.h"

namespace chalk {

Terminal terminal_of(FILE* stream) {
  const char* term = getenv("TERM");
  Terminal t;
  t.live = isatty(fileno(stream)) && term && strcmp(term, "dumb") != 0;
  winsize size{};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 20) t.columns = size.ws_col;
  return t;
}

Progress::Progress(std::string task, int64_t first_step, int64_t total_steps, bool quiet,
                   double plain_seconds)
    : task_(std::move(task)),
      first_step_(first_step),
      total_steps_(total_steps),
      steps_done_(first_step),
      quiet_(quiet),
      plain_seconds_(plain_seconds),
      terminal_(terminal_of(stderr)),
      start_(Clock::now()),
      last_shown_(start_) {}

Progress::~Progress() {
  finish();
}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

double Progress::tokens_per_second() const {
  return double(tokens_) / std::max(seconds(), 1e-9);
}

void Progress::step(int64_t steps_done, const StepReport& report) {
  tokens_ += report.tokens;
  // An exponential average over about 50 steps. Dividing by the weight given so far removes the pull to the
  // zero it starts from, as Adam does. Once the loss is NaN, the average stays NaN: a diverged run must not
  // look healthy.
  if (std::isnan(smooth_loss_) && smooth_weight_ == 0) smooth_loss_ = 0;
  const double sum = smooth_loss_ * smooth_weight_ * 0.98 + report.loss * 0.02;
  smooth_weight_ = smooth_weight_ * 0.98 + 0.02;
  smooth_loss_ = sum / smooth_weight_;

  std::string detail = fmt::format("loss {:.4f}", smooth_loss_);
  if (!std::isnan(report.lr)) detail += fmt::format("  lr {:.1e}", report.lr);
  if (!std::isnan(report.grad_norm)) detail += fmt::format("  grad {:.2f}", report.grad_norm);
  if (tokens_ > 0) detail += fmt::format("  {} tok/s", human_count(tokens_per_second()));
  update(steps_done, detail);
}

void Progress::update(int64_t steps_done, const std::string& detail) {
  steps_done_ = steps_done;
  const double since = std::chrono::duration<double>(Clock::now() - last_shown_).count();
  const bool last = steps_done >= total_steps_;
  if (quiet_ || (!last && since < (terminal_.live ? 0.1 : plain_seconds_))) return;
  last_shown_ = Clock::now();
  show(detail);
}

std::string Progress::line(const std::string& detail) const {
  const double done = double(steps_done_) / std::max<double>(1, double(total_steps_));
  const double per_step = seconds() / std::max<double>(1, double(steps_done_ - first_step_));
  const double left = per_step * double(total_steps_ - steps_done_);
  const std::string time = left > 0 ? "ETA " + human_duration(left) : "took " + human_duration(seconds());
  std::string text = fmt::format("{} {}/{}  {}  {}", task_, steps_done_, total_steps_, time, detail);
  if (!terminal_.live) return text;

  // The bar takes the columns that are left, up to 20. A line that wraps could not be rewritten in place.
  const int width = std::min(20, terminal_.columns - 4 - int(text.size()));
  if (width >= 5) {
    const int filled = int(std::lround(width * std::clamp(done, 0.0, 1.0)));
    text = "[" + std::string(filled, '#') + std::string(width - filled, '.') + "] " + text;
  }
  return text.substr(0, terminal_.columns - 1);
}

void Progress::show(const std::string& detail) {
  if (!terminal_.live) {
    fprintf(stderr, "%s\n", line(detail).c_str());
    return;
  }
  fprintf(stderr, "\r%s\033[K", line(detail).c_str());  // \033[K clears what a longer line left behind
  fflush(stderr);
  live_line_open_ = true;
}

void Progress::say(const std::string& message) {
  if (quiet_) return;
  if (live_line_open_) fprintf(stderr, "\r\033[K");
  live_line_open_ = false;
  fprintf(stderr, "%s\n", message.c_str());
}

void Progress::finish() {
  if (live_line_open_) fprintf(stderr, "\n");
  live_line_open_ = false;
}

}  // namespace chalk
