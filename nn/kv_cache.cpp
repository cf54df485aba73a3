// Appending rows to the cache.

#include "nn/kv_cache.h"

#include <algorithm>

#include "autograd/check.h"
#include "kernels/columns.h"

namespace chalk {
namespace {

// rows (B, T, W) into buffer (B, capacity, W) from row `start` on.
void store_rows(const Tensor& buffer, const Tensor& rows, int64_t start) {
  const int64_t width = rows.dim(2), new_width = rows.dim(1) * width, row_width = buffer.dim(1) * width;
  auto* kernel = pick(rows.device(), plain::columns_copy<float>, cpu::columns_copy, cuda::columns_copy);
  kernel(buffer.data(), row_width, start * width, rows.data(), new_width, 0, rows.dim(0), new_width);
}

}  // namespace

KeysValues FloatLayerCache::extend(const Tensor& k, const Tensor& v) {
  check(!wants_grad({k, v}), "kv cache: no gradient flows through stored rows; run generation under NoGrad");
  if (!keys.defined()) {
    keys = Tensor({k.dim(0), capacity, k.dim(2)}, k.device());
    values = Tensor({k.dim(0), capacity, k.dim(2)}, k.device());
  }
  check(k.dim(0) == keys.dim(0) && k.dim(2) == keys.dim(2),
        "kv cache: rows of shape {} do not fit a cache of {}", to_string(k.shape), to_string(keys.shape));
  check(length + k.dim(1) <= capacity, "kv cache: {} tokens and {} more do not fit a cache of {}", length,
        k.dim(1), capacity);
  store_rows(keys, k, length);
  store_rows(values, v, length);
  length += k.dim(1);
  return {keys, values, length};
}

void FloatLayerCache::truncate(int64_t new_length) {
  length = std::min(length, new_length);
}

KeysValues PrefixLayerCache::extend(const Tensor& k, const Tensor& v) {
  auto for_batch = [&](const Tensor& prefix) {  // (1, P, W) serves every sequence of the batch
    if (prefix.dim(0) == k.dim(0)) return prefix;
    return add(prefix, Tensor({k.dim(0), 1, 1}, k.device()));  // stretched by adding zeros
  };
  const Tensor all_k = concat(for_batch(prefix_k), k, 1), all_v = concat(for_batch(prefix_v), v, 1);
  return {all_k, all_v, all_k.dim(1)};
}

void KVCache::truncate(int64_t new_position, int64_t prepended) {
  for (auto& layer : layers) layer->truncate(new_position + prepended);
  position = std::min(position, new_position);
}

KVCache make_kv_cache(int64_t blocks, int64_t capacity) {
  KVCache cache;
  for (int64_t i = 0; i < blocks; ++i) cache.layers.push_back(std::make_unique<FloatLayerCache>(capacity));
  return cache;
}

}  // namespace chalk
