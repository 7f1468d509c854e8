#include "mixing.h"

#include <algorithm>
#include <numeric>

#include "checksum.h"
#include "orders.h"

namespace mmap_ninja {
namespace {

constexpr uint64_t kAtOnce = 4096;  // elements, so that few buffers are needed for any number of them
// Short orders of samples are shuffled anew by every call, so the network takes over early.
constexpr uint64_t kMostKept = 64;

// A share of a number, rounded. It grows with the number, by at most 1 for each: so does what it leaves.
uint64_t part_of(uint64_t number, uint64_t share) {
  auto product = static_cast<unsigned __int128>(number) * share + (uint64_t{1} << 63);
  return static_cast<uint64_t>(product >> 64);
}

}  // namespace

Mixture::Mixture(std::vector<Dataset> datasets, uint64_t key) : datasets_(std::move(datasets)), key_(key) {
  uint64_t start = 0;
  for (const Dataset& dataset : datasets_) {
    starts_.push_back(start);
    start += dataset.size;
  }
}

// How many of the first elements are of each dataset, if their number is one of whole blocks.
std::vector<uint64_t> Mixture::turns_before(uint64_t elements) const {
  std::vector<uint64_t> turns;
  for (const Dataset& dataset : datasets_) {
    turns.push_back(turns.size() + 1 < datasets_.size() ? part_of(elements, dataset.share) : elements);
    elements -= turns.back();
  }
  return turns;
}

// Whether all samples of one dataset have come, or those of every dataset, after whole blocks.
bool Mixture::are_over(uint64_t elements, bool every) const {
  std::vector<uint64_t> turns = turns_before(elements);
  uint64_t over = 0;
  for (uint64_t k = 0; k < turns.size(); ++k) over += turns[k] >= datasets_[k].size;
  return over >= (every ? turns.size() : 1);
}

void Mixture::fill(uint64_t number, Block* block) const {
  std::vector<uint64_t> turns = turns_before(number * kBlock), after = turns_before((number + 1) * kBlock);
  uint32_t sorted[kBlock];
  uint64_t filled = 0;
  for (uint64_t k = 0; k < datasets_.size(); ++k)
    for (uint64_t left = after[k] - turns[k]; left > 0; --left) sorted[filled++] = static_cast<uint32_t>(k);
  int64_t places[kBlock];
  Permutation(kBlock, xxh64(number, key_), kBlock).at({0, 1, kBlock}, places);
  for (uint64_t k = 0; k < kBlock; ++k) {
    block->datasets[k] = sorted[places[k]];
    block->turns[k] = turns[block->datasets[k]]++;
  }
}

// Turns the turns of a dataset, which are at some places of an array, into positions. A dataset has an order
// for each time that it is used up.
void Mixture::number_samples(uint64_t dataset, const uint32_t* places, uint64_t count, int64_t* turns) const {
  uint64_t size = datasets_[dataset].size, key = xxh64(dataset, ~key_);
  int64_t numbers[kBlock];
  for (uint64_t done = 0; done < count;) {
    auto first = static_cast<uint64_t>(turns[places[done]]);
    uint64_t epoch = first / size;
    Permutation order(size, xxh64(epoch, key), kMostKept);
    auto is_of_epoch = [&](uint64_t k) { return static_cast<uint64_t>(turns[places[k]]) / size == epoch; };
    while (done < count && is_of_epoch(done)) {
      // Consecutive elements have consecutive turns, which are computed faster together.
      auto start = static_cast<uint64_t>(turns[places[done]]);
      uint64_t run = 1, most = std::min({kBlock, count - done, size - start % size});
      while (run < most && static_cast<uint64_t>(turns[places[done + run]]) == start + run) ++run;
      order.at({start % size, 1, run}, numbers);
      for (uint64_t k = 0; k < run; ++k)
        turns[places[done + k]] = static_cast<int64_t>(starts_[dataset]) + numbers[k];
      done += run;
    }
  }
}

void Mixture::at(const int64_t* elements, uint64_t count, int64_t* positions) const {
  Block block;
  uint64_t shown = UINT64_MAX;  // the number of the block
  std::vector<uint32_t> datasets(std::min(count, kAtOnce)), places(datasets.size());
  std::vector<uint64_t> ends(datasets_.size());
  for (uint64_t done = 0; done < count; done += kAtOnce) {
    uint64_t some = std::min(kAtOnce, count - done);
    int64_t* turns = positions + done;
    std::fill(ends.begin(), ends.end(), 0);
    for (uint64_t k = 0; k < some; ++k) {
      auto element = static_cast<uint64_t>(elements[done + k]);
      if (element / kBlock != shown) fill(shown = element / kBlock, &block);
      datasets[k] = block.datasets[element % kBlock];
      turns[k] = static_cast<int64_t>(block.turns[element % kBlock]);
      ++ends[datasets[k]];
    }
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    for (uint64_t k = some; k-- > 0;) places[--ends[datasets[k]]] = static_cast<uint32_t>(k);
    // Each end has become a start.
    for (uint64_t k = 0; k < ends.size(); ++k) {
      uint64_t end = k + 1 < ends.size() ? ends[k + 1] : some;
      number_samples(k, &places[ends[k]], end - ends[k], turns);
    }
  }
}

uint64_t Mixture::end(bool of_every) const {
  uint64_t low = 0, high = kMostElements / kBlock;  // the block in which it is
  while (low < high) {
    uint64_t middle = (low + high) / 2;
    if (are_over((middle + 1) * kBlock, of_every))
      high = middle;
    else
      low = middle + 1;
  }
  if (low == kMostElements / kBlock) return UINT64_MAX;
  Block block;
  fill(low, &block);
  auto is_last = [&](uint64_t place) {
    return block.turns[place] + 1 == datasets_[block.datasets[place]].size;
  };
  uint64_t place = of_every ? kBlock - 1 : 0;
  while (!is_last(place)) of_every ? --place : ++place;
  return low * kBlock + place + 1;
}

}  // namespace mmap_ninja
