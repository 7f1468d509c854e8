#include "orders.h"

#include <algorithm>
#include <cmath>

#include "checksum.h"

namespace mmap_ninja {
namespace {

// The first of 128 bits: a number below `size`, from random bits.
uint64_t scaled(uint64_t bits, uint64_t size) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(bits) * size) >> 64);
}

uint64_t square_root(uint64_t number) {  // rounded up
  auto root = static_cast<uint64_t>(std::sqrt(static_cast<double>(number)));
  while (root * root >= number && root > 0) --root;
  while (root * root < number) ++root;
  return root;
}

uint64_t divided(uint64_t number, uint64_t by) {  // rounded up
  return number / by + (number % by != 0);
}

// A number below `size` that depends on all bits of `x`: the mixing steps of Wellons' lowbias32
// (https://nullprogram.com/blog/2018/07/31/), with keys.
inline uint32_t mixed(uint32_t x, uint32_t first, uint32_t second, uint32_t size) {
  x += first;
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x += second;
  x *= 0x846ca68bU;
  x ^= x >> 16;
  return static_cast<uint32_t>((uint64_t{x} * size) >> 32);
}

inline uint32_t sum_below(uint32_t a, uint32_t b, uint32_t size) {  // of two numbers below `size` <= 2^31
  uint32_t sum = a + b;
  return std::min(sum, sum - size);
}

}  // namespace

Permutation::Permutation(uint64_t size, uint64_t key, uint64_t most_kept) : size_(size) {
  left_ = static_cast<uint32_t>(std::max<uint64_t>(square_root(size), 1));
  right_ = static_cast<uint32_t>(std::max<uint64_t>(divided(size, left_), 1));
  for (uint64_t k = 0; k < kRounds; ++k) {
    uint64_t bits = xxh64(k, key);
    keys_[k] = {static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32)};
  }
  if (size <= most_kept) shuffle(key);
}

// After Fisher and Yates, as Durstenfeld wrote it for computers (Algorithm 235, CACM 1964).
void Permutation::shuffle(uint64_t key) {
  kept_.resize(size_);
  for (uint64_t k = 0; k < size_; ++k) kept_[k] = static_cast<uint32_t>(k);
  for (uint64_t k = size_; k > 1; --k) std::swap(kept_[k - 1], kept_[scaled(xxh64(k, key), k)]);
}

void Permutation::scramble(uint32_t* lefts, uint32_t* rights, uint64_t count) const {
  for (int round = 0; round < kRounds; round += 2) {
    RoundKey one = keys_[round], two = keys_[round + 1];
    uint32_t left = left_, right = right_;  // in registers, so that the loops become vector code
    for (uint64_t k = 0; k < count; ++k)
      lefts[k] = sum_below(lefts[k], mixed(rights[k], one.first, one.second, left), left);
    for (uint64_t k = 0; k < count; ++k)
      rights[k] = sum_below(rights[k], mixed(lefts[k], two.first, two.second, right), right);
  }
}

uint64_t Permutation::unscrambled(uint64_t number) const {
  auto left = static_cast<uint32_t>(number / right_), right = static_cast<uint32_t>(number % right_);
  for (int round = kRounds - 2; round >= 0; round -= 2) {
    RoundKey one = keys_[round], two = keys_[round + 1];
    right = sum_below(right, right_ - mixed(left, two.first, two.second, right_), right_);
    left = sum_below(left, left_ - mixed(right, one.first, one.second, left_), left_);
  }
  return uint64_t{left} * right_ + right;
}

void Permutation::at(Places places, int64_t* numbers) const {
  auto step = static_cast<uint64_t>(places.step);  // negative ones wrap around, as the sums do
  if (!kept_.empty()) {
    for (uint64_t k = 0, place = places.first; k < places.count; ++k, place += step)
      numbers[k] = kept_[place];
    return;
  }
  constexpr uint64_t kAtOnce = 64;
  uint32_t lefts[kAtOnce], rights[kAtOnce];
  uint64_t place = places.first;
  for (uint64_t done = 0; done < places.count; done += kAtOnce) {
    uint64_t count = std::min(kAtOnce, places.count - done);
    for (uint64_t k = 0; k < count; ++k, place += step) {
      lefts[k] = static_cast<uint32_t>(place / right_);
      rights[k] = static_cast<uint32_t>(place % right_);
    }
    scramble(lefts, rights, count);
    for (uint64_t k = 0; k < count; ++k) {
      uint64_t number = uint64_t{lefts[k]} * right_ + rights[k];
      for (; number >= size_; number = uint64_t{lefts[k]} * right_ + rights[k])
        scramble(&lefts[k], &rights[k], 1);
      numbers[done + k] = static_cast<int64_t>(number);
    }
  }
}

uint64_t Permutation::place_of(uint64_t number) const {
  if (!kept_.empty())
    return static_cast<uint64_t>(std::find(kept_.begin(), kept_.end(), number) - kept_.begin());
  do number = unscrambled(number);
  while (number >= size_);
  return number;
}

BlockPermutation::BlockPermutation(uint64_t size, uint64_t key, uint64_t block, uint64_t window)
    : size_(size),
      key_(key),
      block_(block),
      blocks_(divided(size, block)),
      missing_(blocks_ * block - size),
      order_(blocks_, key),
      short_place_(missing_ ? order_.place_of(blocks_ - 1) : blocks_) {
  window_ = std::min(window, std::max<uint64_t>(blocks_, 1));
}

uint64_t BlockPermutation::start_of(uint64_t window) const {
  uint64_t first = std::min(window * window_, blocks_);  // its first block
  return first * block_ - (short_place_ < first ? missing_ : 0);
}

// Turns places in the blocks of a window, one after the other, into numbers.
void BlockPermutation::to_numbers(uint64_t window, uint64_t count, int64_t* places) const {
  uint64_t first = window * window_;
  uint64_t short_end = short_place_ < first ? UINT64_MAX : (short_place_ - first + 1) * block_ - missing_;
  for (uint64_t k = 0; k < count; ++k) {
    auto place = static_cast<uint64_t>(places[k]);
    if (place >= short_end) place += missing_;
    int64_t block;
    order_.at({first + place / block_, 1, 1}, &block);
    places[k] = static_cast<int64_t>(static_cast<uint64_t>(block) * block_ + place % block_);
  }
}

void BlockPermutation::at(Places places, int64_t* numbers) const {
  // A short permutation is made anew by every call, so the network takes over early.
  constexpr uint64_t kMostKeptOfWindow = 256;
  for (uint64_t done = 0; done < places.count;) {
    uint64_t place = places.first + done * static_cast<uint64_t>(places.step);
    uint64_t window = place / (window_ * block_);
    if (place >= start_of(window + 1)) ++window;
    uint64_t start = start_of(window), end = start_of(window + 1);
    // How many of the places are in this window.
    uint64_t pace =
        places.step > 0 ? static_cast<uint64_t>(places.step) : -static_cast<uint64_t>(places.step);
    uint64_t more = places.step > 0 ? (end - 1 - place) / pace : (place - start) / pace;
    uint64_t count = std::min(more + 1, places.count - done);
    Permutation(end - start, xxh64(window, key_), kMostKeptOfWindow)
        .at({place - start, places.step, count}, numbers + done);
    to_numbers(window, count, numbers + done);
    done += count;
  }
}

AliasTable::AliasTable(const double* weights, uint64_t count) : slots_(count) {
  double largest = *std::max_element(weights, weights + count), sum = 0;
  for (uint64_t k = 0; k < count; ++k) sum += weights[k] / largest;
  // What a slot still has to give, where 1 is a whole slot; those below 1 come first.
  std::vector<double> left(count);
  std::vector<uint64_t> below, above;
  for (uint64_t k = 0; k < count; ++k) {
    left[k] = weights[k] / largest / sum * static_cast<double>(count);
    (left[k] < 1 ? below : above).push_back(k);
  }
  // Rounding may leave one of the two empty too early: then the heaviest number stands in.
  auto heaviest = static_cast<uint64_t>(std::max_element(weights, weights + count) - weights);
  while (!below.empty()) {
    uint64_t slot = below.back(), alias = above.empty() ? heaviest : above.back();
    below.pop_back();
    slots_[slot] = {static_cast<uint64_t>(std::ldexp(left[slot], 64)), alias};
    left[alias] -= 1 - left[slot];
    if (!above.empty() && left[alias] < 1) {
      above.pop_back();
      below.push_back(alias);
    }
  }
  for (uint64_t slot : above) slots_[slot] = {0, slot};
}

void AliasTable::at(uint64_t key, Places places, int64_t* numbers) const {
  for (uint64_t k = 0; k < places.count; ++k) {
    uint64_t bits = xxh64(places.first + k * static_cast<uint64_t>(places.step), key);
    uint64_t slot = scaled(bits, slots_.size());
    uint64_t fraction = bits * slots_.size();  // the other 64 of the 128 bits: as random as needed
    numbers[k] = static_cast<int64_t>(fraction < slots_[slot].bound ? slot : slots_[slot].alias);
  }
}

}  // namespace mmap_ninja
