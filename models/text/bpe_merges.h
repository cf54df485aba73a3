#pragma once
// Byte-pair merging: the one algorithm under GPT-2's BPE, SentencePiece's BPE and llama2.c's. A text starts
// as small symbols; while some adjacent pair is in the merge table, the pair of best (lowest) rank becomes
// one symbol; of equal ranks the leftmost.
// Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units", algorithm 1.
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace chalk {

// (left id, right id) -> (rank, merged id). A hash table with open addressing: a probe is one multiplication
// and, mostly, one cache line, where std::unordered_map would follow two pointers.
class MergeTable {
 public:
  struct Merge {
    int32_t left = -1, right = -1;  // ids of the pair; left = -1 marks an empty place
    int32_t rank = 0;               // lower merges first
    int32_t id = 0;                 // what the pair becomes
  };

  // Adds a merge of non-negative ids; false if the pair is there already (the table then keeps the first).
  bool insert(const Merge& merge);
  // The merge of this pair, or nullptr.
  const Merge* find(int32_t left, int32_t right) const;
  int64_t size() const { return count_; }
  // All merges in increasing rank (equal ranks: by left id, then right id).
  std::vector<Merge> sorted() const;

 private:
  size_t place_of(int32_t left, int32_t right) const;
  void grow();
  std::vector<Merge> places_;  // size is a power of two, at most half of it used
  int64_t count_ = 0;
};

// Merges `symbols` in place until no pair is in the table. Three ways to the same result:
// by the book: look for the best pair, merge that one place, start again. O(N²); the oracle of the tests.
void merge_naive(std::vector<int32_t>& symbols, const MergeTable& table);
// the same, but the rank of each pair is kept beside it and only the two neighbours of a merge are looked up
// again. O(N²) moves of a few bytes, no allocation: fastest for words of up to a few dozen symbols.
void merge_short(std::vector<int32_t>& symbols, const MergeTable& table);
// a heap of candidate pairs over a linked list of symbols. O(N log N): for long words and whole texts.
// If `last_split` is given, it receives for each merged id the pair that it was last merged from.
void merge_with_heap(std::vector<int32_t>& symbols, const MergeTable& table,
                     std::unordered_map<int32_t, std::pair<int32_t, int32_t>>* last_split = nullptr);
// merge_short or merge_with_heap, by length.
void merge_fast(std::vector<int32_t>& symbols, const MergeTable& table);

}  // namespace chalk
