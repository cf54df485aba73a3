// Every figure that Chalk owes about a GPU, beside its limit and beside PyTorch: what `make gpu-report` runs.
//
//   gpu_bench --out FOLDER [--peers FILE] [--sanitizer FILE]     report.json and report.md
//   gpu_bench --out FOLDER --tiny                                toy sizes, also on cusim: tries the program, measures nothing
//
// peers: what tests/bench/peers/torch_peers.py wrote; sanitizer: what tests/house/gpu_report.sh noted. A figure is the median of
// seven runs of at least 20 ms. Status 4 without a GPU.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/runtime.h"
#include "kernels/dropout.h"
#include "kernels/gelu.h"
#include "kernels/layernorm.h"
#include "kernels/memory.h"
#include "kernels/philox.h"
#include "kernels/residual.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/softmax.h"
#include "kernels/swiglu.h"
#include "models/gpt2.h"
#include "models/io/file.h"
#include "models/llama.h"
#include "models/sample.h"
#include "models/train.h"

namespace chalk {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string out, peers, sanitizer;
  bool tiny = false;
};

// One line of the table. `share` is the part of `limit` that was reached; 0 when there is no limit to speak of.
struct Figure {
  std::string name, unit;
  double value = 0, share = 0;
  std::string limit;
  double target_share = 0;       // of the limit; 0 = the target is the peer, or there is none
  std::string target_peer = "";  // "eager" or "compile": at least as fast as that
};

double median_seconds(const std::function<void()>& f, bool tiny) {
  const auto run = [&](int times) {
    cuda::synchronize();
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) f();
    cuda::synchronize();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / times;
  };
  const double once = std::min(run(1), run(1));  // the first one also warms up
  const int times = tiny ? 1 : std::clamp(int(0.02 / once), 1, 1000);
  std::vector<double> seconds;
  for (int i = 0; i < (tiny ? 1 : 7); ++i) seconds.push_back(run(times));
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

// `count` numbers between −1 and 1 on the GPU.
struct DeviceArray {
  explicit DeviceArray(int64_t count) : bytes(count * int64_t(sizeof(float))) {
    data = static_cast<float*>(allocate_memory(bytes, Device::CUDA));
    std::vector<float> part(size_t(std::min<int64_t>(count, 1 << 20)));
    for (size_t i = 0; i < part.size(); ++i) part[i] = 2 * random_uniform(1, i) - 1;
    for (int64_t i = 0; i < count; i += int64_t(part.size())) {
      const int64_t length = std::min(count - i, int64_t(part.size()));
      copy_memory(data + i, Device::CUDA, part.data(), Device::CPU, length * int64_t(sizeof(float)));
    }
  }
  ~DeviceArray() { release_memory(data, bytes, Device::CUDA); }
  DeviceArray(const DeviceArray&) = delete;
  operator float*() const { return data; }
  int64_t bytes;
  float* data = nullptr;
};

// ---- kernels that only move memory: bytes that must be read or written, over the bandwidth of a copy in the same run ----

void memory_bound(std::vector<Figure>& figures, const Options& o) {
  const int64_t N = o.tiny ? 8 : 32768, C = o.tiny ? 64 : 1024,
                n = N * C;  // 134 MB an array: larger than any cache
  const DeviceArray x0(n), x1(n), x2(n), x3(n), x4(n), row(N), row2(N), gain(C), dgain(C), dbias(C),
      angles(n);
  const std::vector<int32_t> ids(size_t(N), 3);
  const DeviceArray targets(N);
  copy_memory(targets.data, Device::CUDA, ids.data(), Device::CPU, N * int64_t(sizeof(int32_t)));
  const auto* target = reinterpret_cast<const int32_t*>(targets.data);
  const double one = 4.0 * double(n);  // bytes of one array
  const auto copy = [&] { cuda::copy_on_device(x0, x1, int64_t(one)); };
  const double bandwidth = 2 * one / median_seconds(copy, o.tiny);
  figures.push_back({"copy", "GB/s", bandwidth * 1e-9, 0, ""});
  const auto add = [&](const std::string& name, double bytes, const std::function<void()>& f) {
    const double speed = bytes / median_seconds(f, o.tiny);
    figures.push_back({name, "GB/s", speed * 1e-9, speed / bandwidth, "copy", 0.85});
  };
  add("residual/forward", 3 * one, [&] { cuda::residual_forward(x0, x1, x2, n); });
  add("layernorm/forward", 2 * one,
      [&] { cuda::layernorm_forward(x0, row, row2, x1, gain, gain, N, C, 1e-5f); });
  add("layernorm/backward", 4 * one,
      [&] { cuda::layernorm_backward(x0, dgain, dbias, x1, x2, gain, row, row2, N, C); });
  add("rmsnorm/forward", 2 * one, [&] { cuda::rmsnorm_forward(x0, row, x1, gain, N, C, 1e-5f); });
  add("rmsnorm/backward", 4 * one, [&] { cuda::rmsnorm_backward(x0, dgain, x1, x2, gain, row, N, C); });
  add("softmax/forward", 2 * one, [&] { cuda::softmax_forward(x0, x1, N, C); });
  add("gelu_tanh/forward", 2 * one, [&] { cuda::gelu_tanh_forward(x0, x1, n); });
  add("swiglu/forward", 3 * one, [&] { cuda::swiglu_forward(x0, x1, x2, n); });
  add("swiglu/backward", 7 * one, [&] { cuda::swiglu_backward(x0, x4, x1, x2, x3, n); });
  add("dropout/forward", 2 * one, [&] { cuda::dropout_forward(x0, x1, n, 0.1f, 7); });
  add("rope/forward", 2 * one, [&] { cuda::rope_forward(x0, x1, angles, angles, 1, N, C / 64, 64, false); });
  add("cross_entropy/forward", one, [&] { cuda::cross_entropy_forward(row, row2, x1, target, -1, N, C); });
  add("cross_entropy/backward", 3 * one,
      [&] { cuda::cross_entropy_backward(x0, row, x1, row2, target, -1, N, C); });
  const AdamWStep step = {
      .lr = 0, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = 0.1f, .t = 10};
  add("adamw", 7 * one, [&] { cuda::adamw_step(x0, x1, x2, x3, n, step); });
}

// ---- products ----

// Dense TFLOP/s that the maker gives for fp32, tf32 and bf16; zeros for a GPU that is not in the list.
std::array<double, 3> published_peaks(const std::string& gpu) {
  const std::pair<const char*, std::array<double, 3>> known[] = {{"H200", {67, 495, 989}},
                                                                 {"H100", {67, 495, 989}},
                                                                 {"A100", {19.5, 156, 312}},
                                                                 {"4090", {82.6, 82.6, 165}}};
  for (const auto& [name, peaks] : known) {
    if (gpu.find(name) != std::string::npos) return peaks;
  }
  return {0, 0, 0};
}

constexpr const char* kPrecisions[] = {"fp32", "tf32", "bf16"};

void products(std::vector<Figure>& figures, const Options& o, const std::array<double, 3>& peaks) {
  const int64_t n = o.tiny ? 64 : 8192;
  const DeviceArray a(n * n), b(n * n), y(n * n);
  const double flop = 2.0 * double(n) * double(n) * double(n);
  const auto add = [&](const std::string& name, int p, const auto& kernel) {
    const MatmulShape shape = {.M = n, .N = n, .K = n, .transpose_b = true, .precision = Precision(p)};
    const DeviceArray workspace(std::max<int64_t>(cuda::matmul_workspace(shape) / 4, 1));
    const double speed =
        flop / median_seconds([&] { kernel(y, a, b, nullptr, shape, workspace); }, o.tiny) * 1e-12;
    const double share = peaks[size_t(p)] > 0 ? speed / peaks[size_t(p)] : 0;
    figures.push_back({name, "TFLOP/s", speed, share, share > 0 ? "published peak" : ""});
  };
  for (int p = 0; p < 3; ++p) add(std::string("matmul/") + kPrecisions[p], p, cuda::matmul);
  add("matmul_by_hand/fp32", 0, cuda::matmul_by_hand);
}

// Two products of width D per allowed pair of query and key, in backward five. Ours are in float32.
void attention(std::vector<Figure>& figures, const Options& o) {
  for (int64_t D : {64, 128}) {
    const int64_t B = o.tiny ? 1 : 4, T = o.tiny ? 32 : 4096, H = o.tiny ? 1 : 1024 / D;
    const AttentionShape s = {B, T, T, H, H, D, 1 / std::sqrt(float(D))};
    const int64_t n = B * T * H * D;
    const DeviceArray q(n), k(n), v(n), y(n), dy(n), dq(n), dk(n), dv(n), lse(B * H * T),
        workspace(B * H * T);
    const double flop =
        2.0 * double(T) * double(T + 1) / 2 * double(D * B * H);  // one product over the causal pairs
    const auto forward = [&] { cuda::attention_forward(y, lse, q, k, v, s); };
    const auto backward = [&] { cuda::attention_backward(dq, dk, dv, dy, q, k, v, y, lse, workspace, s); };
    const std::string width = "/D" + std::to_string(D) + "/fp32";
    figures.push_back({"attention/forward" + width, "TFLOP/s",
                       2 * flop / median_seconds(forward, o.tiny) * 1e-12, 0, "", 0, "eager"});
    figures.push_back({"attention/backward" + width, "TFLOP/s",
                       5 * flop / median_seconds(backward, o.tiny) * 1e-12, 0, "", 0, "eager"});
  }
}

// ---- models ----

void training(std::vector<Figure>& figures, const Options& o, const std::array<double, 3>& peaks) {
  GPT2Config config;  // 124M: 12 layers of width 768, context 1024, 50257 tokens
  if (o.tiny) config = {.vocab_size = 40, .n_positions = 16, .n_embd = 16, .n_layer = 1, .n_head = 2};
  Batch batch;
  batch.B = o.tiny ? 1 : 8, batch.T = config.n_positions;
  for (int64_t i = 0; i < batch.B * batch.T; ++i) {
    batch.ids.push_back(int32_t(random_word(1, uint64_t(i)) % uint64_t(config.vocab_size)));
    batch.targets.push_back(int32_t(random_word(2, uint64_t(i)) % uint64_t(config.vocab_size)));
    batch.weights.push_back(1);
  }
  for (int p = 0; p < 3; ++p) {
    GPT2 model(config, Device::CUDA);
    model.init(1);
    TrainOptions options;
    options.precision = kPrecisions[p];
    Trainer trainer(model, options);
    const auto step = [&] { trainer.train_step([&](int64_t) { return batch; }); };
    const double tokens = double(batch.B * batch.T) / median_seconds(step, o.tiny);
    const double weights = double(model.parameter_count() - config.n_positions * config.n_embd);
    const double flop = 6 * weights + 12 * double(config.n_layer * config.n_embd * batch.T);  // per token
    const double peak = peaks[size_t(p)] * 1e12;
    figures.push_back({std::string("train/gpt2_124m/") + kPrecisions[p], "tokens/s", tokens,
                       peak > 0 ? tokens * flop / peak : 0, peak > 0 ? "published peak (MFU)" : "", 0,
                       "compile"});
  }
}

void decoding(std::vector<Figure>& figures, const Options& o) {
  const int64_t count = o.tiny ? 4 : 128;
  const SampleOptions options{.max_new_tokens = count, .temperature = 0};
  const auto add = [&](const char* name, LanguageModel& model) {
    const double seconds = median_seconds([&] { generate(model, {1}, options); }, o.tiny);
    figures.push_back({name, "tokens/s", double(count) / seconds, 0, "", 0, "compile"});
  };
  GPT2Config gpt2;
  LlamaConfig llama = llama_preset("stories110m");
  if (o.tiny) {
    gpt2 = {.vocab_size = 40, .n_positions = 16, .n_embd = 16, .n_layer = 1, .n_head = 2};
    llama.num_hidden_layers = 1, llama.vocab_size = 40;
  }
  GPT2 small(gpt2, Device::CUDA);
  small.init(1);
  add("decode/gpt2_124m/fp32", small);
  Llama stories(llama, Device::CUDA);
  stories.init(1);
  add("decode/llama_110m/fp32", stories);
}

// ---- the report ----

// "yes", "no", "owed" when the peer was not measured, "" without a target.
std::string verdict(const Figure& f, const Json& peer, bool tiny) {
  if (tiny) return "";
  if (f.target_share > 0) return f.share >= f.target_share ? "yes" : "no";
  if (f.target_peer.empty()) return "";
  const auto speed = peer.find(f.target_peer);
  if (speed == peer.end() || !speed->is_number()) return "owed";
  return f.value >= speed->get<double>() ? "yes" : "no";
}

Json read_or_empty(const std::string& path) {
  Json json = path.empty() ? Json::object() : Json::parse(read_text(path), nullptr, false);
  if (!json.is_object()) throw FileError(path, "", "is not a JSON object");
  return json;
}

std::string cell(const Json& peer, const char* kind) {
  return peer.contains(kind) && peer[kind].is_number() ? fmt::format("{:.4g}", peer[kind].get<double>()) : "";
}

void write_report(const std::vector<Figure>& figures, const std::string& gpu, const Options& o) {
  const Json peers = read_or_empty(o.peers), sanitizer = read_or_empty(o.sanitizer);
  Json others = peers.value("figures", Json::object());  // what PyTorch does and Chalk does not
  Json report = {{"gpu", gpu},
                 {"tiny", o.tiny},
                 {"peers", peers.value("version", "not measured")},
                 {"sanitizer", sanitizer},
                 {"figures", Json::array()}};
  std::string table =
      "# GPU report\n\n" + gpu + (o.tiny ? "; **toy sizes: no figure means anything**" : "") +
      "\nPeer: " + report["peers"].get<std::string>() + "\n\n" +
      "| figure | Chalk | unit | of its limit | PyTorch eager | torch.compile | target | met |\n"
      "|---|---|---|---|---|---|---|---|\n";
  for (const Figure& f : figures) {
    const Json peer = others.value(f.name, Json::object());
    others.erase(f.name);
    const std::string met = verdict(f, peer, o.tiny);
    const std::string share = f.share > 0 ? fmt::format("{:.1f} % of {}", 100 * f.share, f.limit) : "";
    const std::string target = f.target_share > 0      ? fmt::format(">= {:.0f} %", 100 * f.target_share)
                               : f.target_peer.empty() ? ""
                                                       : ">= " + f.target_peer;
    table += fmt::format("| {} | {:.4g} | {} | {} | {} | {} | {} | {} |\n", f.name, f.value, f.unit, share,
                         cell(peer, "eager"), cell(peer, "compile"), target, met);
    report["figures"].push_back({{"name", f.name},
                                 {"value", f.value},
                                 {"unit", f.unit},
                                 {"share", f.share},
                                 {"limit", f.limit},
                                 {"peer", peer},
                                 {"target", target},
                                 {"met", met}});
  }
  for (const auto& [name, peer] : others.items()) {
    table += fmt::format("| {} | none | as above | | {} | {} | | |\n", name, cell(peer, "eager"),
                         cell(peer, "compile"));
  }
  report["peer_only"] = others;
  table += "\n## CUDA tests under compute-sanitizer\n\n" + std::string(sanitizer.empty() ? "not run\n" : "");
  for (const auto& [test, result] : sanitizer.items())
    table += fmt::format("- {}: {}\n", test, result.get<std::string>());
  make_folders(o.out);
  write_text(join_path(o.out, "report.json"), report.dump(2) + "\n");
  write_text(join_path(o.out, "report.md"), table);
  std::fputs(table.c_str(), stdout);
}

int run(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    std::string* value = flag == "--out"         ? &o.out
                         : flag == "--peers"     ? &o.peers
                         : flag == "--sanitizer" ? &o.sanitizer
                                                 : nullptr;
    if (flag == "--tiny")
      o.tiny = true;
    else if (value && i + 1 < argc)
      *value = argv[++i];
    else
      throw UsageError("gpu_bench --out FOLDER [--peers FILE] [--sanitizer FILE] [--tiny]");
  }
  if (o.out.empty()) throw UsageError("gpu_bench: --out FOLDER is required");
  const std::string gpu = cuda::device_description();
  if (gpu.starts_with("cusim") && !o.tiny) throw BackendUnavailable("gpu_bench: no GPU to measure; " + gpu);
  const std::array<double, 3> peaks = published_peaks(gpu);
  std::vector<Figure> figures;
  memory_bound(figures, o);
  products(figures, o, peaks);
  attention(figures, o);
  training(figures, o, peaks);
  decoding(figures, o);
  write_report(figures, gpu, o);
  return 0;
}

}  // namespace
}  // namespace chalk

int main(int argc, char** argv) {
  try {
    return chalk::run(argc, argv);
  } catch (const chalk::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return e.exit_code;
  } catch (const std::exception& e) {  // "no usable GPU"
    std::fprintf(stderr, "gpu_bench: %s\n", e.what());
    return 4;
  }
}
