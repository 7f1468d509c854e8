#pragma once

#include <cstdint>
#include <vector>

namespace mmap_ninja {

// An endless stream of the samples of several datasets, which depends on a key of 64 bits and is equal on all
// platforms. An element is computed from its number alone.
class Mixture {
 public:
  struct Dataset {
    uint64_t size;  // above 0; all of them together have less than 2^62 samples
    uint64_t
        share;  // of what the datasets before it leave, as a fraction of 2^64; the last one takes the rest
  };
  static constexpr uint64_t kMostElements = uint64_t{1} << 62;

  // At least one dataset.
  Mixture(std::vector<Dataset> datasets, uint64_t key);

  // The positions of some elements, all of them below `kMostElements`, among the samples of all datasets, one
  // dataset after the other.
  void at(const int64_t* elements, uint64_t count, int64_t* positions) const;
  // After how many elements all samples of one dataset have come, or those of every dataset; above
  // `kMostElements` if never.
  uint64_t end(bool of_every) const;

 private:
  // Elements come in blocks. Each has as many of a dataset as its share is, rounded; a permutation gives them
  // their places.
  static constexpr uint64_t kBlock = 256;
  struct Block {
    uint32_t datasets[kBlock];
    uint64_t turns[kBlock];  // of that dataset before
  };

  std::vector<uint64_t> turns_before(uint64_t elements) const;
  bool are_over(uint64_t elements, bool every) const;
  void fill(uint64_t number, Block* block) const;
  void number_samples(uint64_t dataset, const uint32_t* places, uint64_t count, int64_t* turns) const;

  std::vector<Dataset> datasets_;
  std::vector<uint64_t> starts_;  // of the datasets among all samples
  uint64_t key_;
};

}  // namespace mmap_ninja
