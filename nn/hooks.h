#pragma once
// Hooks: read or replace a named activation while a model runs, in training, evaluation and generation alike.
//
// Every block passes the same closed list through its hooks, under its own prefix (`h.3.`, `layers.3.`):
//   resid_pre                     the residual stream entering the block                      (B, T, C)
//   attn.q  attn.k  attn.v        what the projections gave, before rotation and cache        (B, T, H·D), (B, T, K·D) twice
//   attn.heads                    the heads' outputs side by side, before the output product  (B, T, H·D)
//   attn.out                      what attention adds to the residual stream                  (B, T, C)
//   resid_mid                     the stream between attention and MLP                        (B, T, C)
//   mlp.hidden                    the MLP's activations, before its last product              (B, T, F)
//   mlp.out                       what the MLP adds                                           (B, T, C)
//   resid_post                    the residual stream leaving the block                       (B, T, C)
// and each norm's output under the norm's slot name (`h.3.ln_1`, `layers.3.input_layernorm`, `ln_f`, `norm`).
// These include the input of every projection slot, so calibration for a quantization paper is a hook as well.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "autograd/tensor.h"

namespace chalk {

struct Hooks {
  using Edit = std::function<Tensor(const Tensor& x)>;  // returns x itself to leave it alone

  std::vector<std::string> names;  // every activation the model passes, in order

  // Calls edit at every pass of that activation, after the edits added earlier. Returns a ticket for remove().
  // Throws Error for a name that no activation has.
  int add(const std::string& name, Edit edit);
  void remove(int ticket);
  void clear() { edits.clear(); }

  // Called by the model. x comes back as it is when nobody listens.
  Tensor pass(const std::string& prefix, const char* name, const Tensor& x) const;

 private:
  struct Entry {
    int ticket;
    Edit edit;
  };
  std::map<std::string, std::vector<Entry>> edits;
  int next_ticket = 0;
};

// Collects named activations for as long as it lives (without history: the numbers only).
struct Recorder {
  Recorder(Hooks& hooks, const std::vector<std::string>& names);
  ~Recorder();
  Recorder(const Recorder&) = delete;

  std::map<std::string, Tensor> last;  // the activation of the most recent forward pass, by name

 private:
  Hooks& hooks;
  std::vector<int> tickets;
};

}  // namespace chalk
