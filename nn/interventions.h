#pragma once
// Edits of single tokens' activations through hooks: what all steering papers do, each with a formula of its own.
//
//   Edits edits(model.hooks);                                    // removed again when `edits` goes out of scope
//   edits.rows("layers.1.resid_post", [&](float* x, int64_t) { for (...) x[c] += v[c]; }, kLastOfPrompt);
//
// An edit records no history: it is for evaluation and generation, not for training.

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "nn/hooks.h"

namespace chalk {

// Changes x (C), the activation of one token, in place. `position` counts from 0 at the start of the text.
using RowEdit = std::function<void(float* x, int64_t position)>;

// Which tokens of a text: first … last, both included. A negative number counts from the end of the first pass, which
// in generation is the prompt: −1 is its last token.
struct Positions {
  static constexpr int64_t kForever = std::numeric_limits<int64_t>::max();
  int64_t first = 0, last = kForever;
  bool after_first = false;  // `first` itself is left alone
};
constexpr Positions kEverywhere{0, Positions::kForever};
constexpr Positions kLastOfPrompt{-1, -1};
constexpr Positions kFromLastOfPrompt{-1, Positions::kForever};

// A hook sees the tokens of one pass and not where they stand. WholeTexts: every pass starts at position 0 (scoring).
// Continue: successive passes are pieces of one text (decoding with a cache); make new Edits for the next text.
enum class Passes { WholeTexts, Continue };

// Works on a copy of x (B, T, C), on any device.
Hooks::Edit edit_rows(RowEdit edit, Positions positions = kEverywhere, Passes passes = Passes::WholeTexts);
// x ← x + v at those positions; v (C). Throws Error when the activation has another width.
Hooks::Edit add_vector(std::vector<float> v, Positions positions = kEverywhere,
                       Passes passes = Passes::WholeTexts);

// Hooks that live as long as this object.
struct Edits {
  explicit Edits(Hooks& hooks) : hooks(hooks) {}
  ~Edits() { clear(); }
  Edits(const Edits&) = delete;

  void add(const std::string& name, Hooks::Edit edit) { tickets.push_back(hooks.add(name, std::move(edit))); }
  void rows(const std::string& name, RowEdit edit, Positions positions = kEverywhere,
            Passes passes = Passes::WholeTexts) {
    add(name, edit_rows(std::move(edit), positions, passes));
  }
  void clear();

 private:
  Hooks& hooks;
  std::vector<int> tickets;
};

}  // namespace chalk
