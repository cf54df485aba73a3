// Byte-pair merging: naive, short-word and heap versions of the same loop.
#include "models/text/bpe_merges.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <tuple>

namespace chalk {

// ---- the table ----

size_t MergeTable::place_of(int32_t left, int32_t right) const {
  // Fibonacci hashing: multiply by 2^64 / golden ratio, the high bits are well mixed. Then walk to the pair
  // or a free place.
  const uint64_t key = uint64_t(uint32_t(left)) << 32 | uint32_t(right);
  const size_t mask = places_.size() - 1;
  size_t place = size_t((key * 0x9E3779B97F4A7C15ull) >> 32) & mask;
  while (places_[place].left >= 0 && (places_[place].left != left || places_[place].right != right)) {
    place = (place + 1) & mask;
  }
  return place;
}

const MergeTable::Merge* MergeTable::find(int32_t left, int32_t right) const {
  if (places_.empty()) return nullptr;
  const Merge& merge = places_[place_of(left, right)];
  return merge.left < 0 ? nullptr : &merge;
}

bool MergeTable::insert(const Merge& merge) {
  if (size_t(count_ + 1) * 2 > places_.size()) grow();
  Merge& place = places_[place_of(merge.left, merge.right)];
  if (place.left >= 0) return false;
  place = merge;
  count_++;
  return true;
}

void MergeTable::grow() {
  std::vector<Merge> old(std::max<size_t>(16, 2 * places_.size()));
  old.swap(places_);
  for (const Merge& merge : old) {
    if (merge.left >= 0) places_[place_of(merge.left, merge.right)] = merge;
  }
}

std::vector<MergeTable::Merge> MergeTable::sorted() const {
  std::vector<Merge> merges;
  for (const Merge& merge : places_) {
    if (merge.left >= 0) merges.push_back(merge);
  }
  std::sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tie(a.rank, a.left, a.right) < std::tie(b.rank, b.left, b.right);
  });
  return merges;
}

// ---- by the book ----

void merge_naive(std::vector<int32_t>& symbols, const MergeTable& table) {
  while (true) {
    const MergeTable::Merge* best = nullptr;
    size_t best_place = 0;
    for (size_t i = 0; i + 1 < symbols.size(); i++) {
      const MergeTable::Merge* merge = table.find(symbols[i], symbols[i + 1]);
      if (merge && (!best || merge->rank < best->rank)) best = merge, best_place = i;
    }
    if (!best) return;
    symbols[best_place] = best->id;
    symbols.erase(symbols.begin() + best_place + 1);
  }
}

// ---- short words ----

namespace {

constexpr int32_t kNoMerge = std::numeric_limits<int32_t>::max();

int32_t rank_of(const MergeTable& table, int32_t left, int32_t right) {
  const MergeTable::Merge* merge = table.find(left, right);
  return merge ? merge->rank : kNoMerge;
}

}  // namespace

void merge_short(std::vector<int32_t>& symbols, const MergeTable& table) {
  const size_t N = symbols.size();
  if (N < 2) return;
  thread_local std::vector<int32_t> ranks;  // ranks[i]: rank of the pair (i, i+1), kNoMerge if there is none
  ranks.resize(N - 1);
  for (size_t i = 0; i + 1 < N; i++) ranks[i] = rank_of(table, symbols[i], symbols[i + 1]);
  while (!ranks.empty()) {
    const size_t i = std::min_element(ranks.begin(), ranks.end()) - ranks.begin();  // the leftmost minimum
    if (ranks[i] == kNoMerge) return;
    symbols[i] = table.find(symbols[i], symbols[i + 1])->id;
    symbols.erase(symbols.begin() + i + 1);
    ranks.erase(ranks.begin() + i);
    if (i > 0) ranks[i - 1] = rank_of(table, symbols[i - 1], symbols[i]);
    if (i < ranks.size()) ranks[i] = rank_of(table, symbols[i], symbols[i + 1]);
  }
}

// ---- long words ----

namespace {

// The symbols as a linked list inside arrays: merging (i, next[i]) puts the new id at i and unlinks next[i].
struct SymbolList {
  std::vector<int32_t>& id;             // id[i] = -1: symbol i was merged into its left neighbour
  std::vector<int32_t> previous, next;  // -1 at the ends
  explicit SymbolList(std::vector<int32_t>& symbols)
      : id(symbols), previous(symbols.size()), next(symbols.size()) {
    const int32_t N = int32_t(symbols.size());
    for (int32_t i = 0; i < N; i++) previous[i] = i - 1, next[i] = i + 1 < N ? i + 1 : -1;
  }
  void absorb_next(int32_t i, int32_t merged) {
    const int32_t gone = next[i];
    id[i] = merged;
    id[gone] = -1;
    next[i] = next[gone];
    if (next[i] >= 0) previous[next[i]] = i;
  }
};

// A pair that could be merged when it was pushed. It is stale if either symbol has changed since.
struct Candidate {
  int32_t rank, place;  // place of the left symbol
  const MergeTable::Merge* merge;
  bool operator<(
      const Candidate& other) const {  // priority_queue gives the largest: lowest rank, then leftmost
    return std::tie(rank, place) > std::tie(other.rank, other.place);
  }
};

}  // namespace

void merge_with_heap(std::vector<int32_t>& symbols, const MergeTable& table,
                     std::unordered_map<int32_t, std::pair<int32_t, int32_t>>* last_split) {
  if (symbols.size() < 2) return;
  SymbolList list(symbols);
  std::priority_queue<Candidate> heap;
  const auto push = [&](int32_t i) {
    if (i < 0 || list.next[i] < 0) return;
    const MergeTable::Merge* merge = table.find(list.id[i], list.id[list.next[i]]);
    if (merge) heap.push({merge->rank, i, merge});
  };
  for (int32_t i = 0; i < int32_t(symbols.size()); i++) push(i);
  while (!heap.empty()) {
    const Candidate top = heap.top();
    heap.pop();
    const int32_t i = top.place, right = list.next[i];
    if (list.id[i] != top.merge->left || right < 0 || list.id[right] != top.merge->right) continue;  // stale
    list.absorb_next(i, top.merge->id);
    if (last_split) (*last_split)[top.merge->id] = {top.merge->left, top.merge->right};
    push(list.previous[i]);
    push(i);
  }
  symbols.erase(std::remove(symbols.begin(), symbols.end(), -1), symbols.end());
}

void merge_fast(std::vector<int32_t>& symbols, const MergeTable& table) {
  symbols.size() <= 48 ? merge_short(symbols, table) : merge_with_heap(symbols, table);
}

}  // namespace chalk
