#pragma once

#include <cstdint>
#include <vector>

// In which order an epoch takes samples: computed where it is asked for, from a key of 64 bits, and equal on
// all platforms.
namespace mmap_ninja {

// Which places of an order are asked for: first, first + step, ...; all of them are in its range.
struct Places {
  uint64_t first;
  int64_t step;
  uint64_t count;
};

// A permutation of the numbers below `size`. Small ones are shuffled at once, and kept. The others are a
// Feistel network over about sqrt(size) * sqrt(size) pairs, the few of which that are no numbers below `size`
// are sent through it again: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002.
class Permutation {
 public:
  static constexpr uint64_t kMostKept = uint64_t{1} << 20;
  static constexpr uint64_t kMost = uint64_t{1} << 62;

  Permutation(uint64_t size, uint64_t key, uint64_t most_kept = kMostKept);

  void at(Places places, int64_t* numbers) const;
  // The place of a number.
  uint64_t place_of(uint64_t number) const;

 private:
  static constexpr int kRounds = 10;
  struct RoundKey {
    uint32_t first, second;
  };

  void shuffle(uint64_t key);
  void scramble(uint32_t* lefts, uint32_t* rights, uint64_t count) const;
  uint64_t unscrambled(uint64_t number) const;

  uint64_t size_;
  uint32_t left_, right_;  // a number is left * right_ + right, with left < left_ and right < right_
  RoundKey keys_[kRounds];
  std::vector<uint32_t> kept_;
};

// Blocks of consecutive numbers in the order of a permutation, then the numbers of each `window` of
// neighbouring blocks in the order of another one: a few places are close to each other in a file.
class BlockPermutation {
 public:
  BlockPermutation(uint64_t size, uint64_t key, uint64_t block, uint64_t window);

  void at(Places places, int64_t* numbers) const;

 private:
  uint64_t start_of(uint64_t window) const;
  void to_numbers(uint64_t window, uint64_t count, int64_t* places) const;

  uint64_t size_, key_, block_, window_;
  uint64_t blocks_;
  uint64_t missing_;      // in the last block of the numbers
  Permutation order_;     // of blocks
  uint64_t short_place_;  // of that block
};

// Numbers below `count`, each drawn as often as its weight says, with replacement: by the alias tables of
// Walker, "An efficient method for generating discrete random variables with general distributions", 1977, as
// Vose builds them in "A linear algorithm for generating random numbers with a given distribution", 1991.
class AliasTable {
 public:
  // The weights are finite and at least 0, and their sum is finite and above 0.
  AliasTable(const double* weights, uint64_t count);

  void at(uint64_t key, Places places, int64_t* numbers) const;

 private:
  struct Slot {
    uint64_t bound;  // a fraction of 2^64; above it, the alias is drawn
    uint64_t alias;
  };
  std::vector<Slot> slots_;
};

}  // namespace mmap_ninja
