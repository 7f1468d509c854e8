#include "packing.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "orders.h"

namespace mmap_ninja {
namespace {

// A set of numbers below a bound that finds the next one: bits, of which each level above has one per word.
class NumberSet {
 public:
  explicit NumberSet(uint64_t bound) {
    do {
      bound = bound / 64 + 1;
      levels_.emplace_back(bound);
    } while (bound > 1);
  }

  void insert(uint64_t number) {
    for (std::vector<uint64_t>& level : levels_) {
      level[number / 64] |= uint64_t{1} << (number % 64);
      number /= 64;
    }
  }

  void erase(uint64_t number) {
    for (std::vector<uint64_t>& level : levels_) {
      if (level[number / 64] &= ~(uint64_t{1} << (number % 64))) return;
      number /= 64;
    }
  }

  // The smallest number from `number` on; false if there is none.
  bool find(uint64_t number, uint64_t* found) const {
    for (size_t k = 0; k < levels_.size() && number / 64 < levels_[k].size(); ++k) {
      uint64_t word = levels_[k][number / 64] & (UINT64_MAX << (number % 64));
      if (!word) {
        number = number / 64 + 1;
        continue;
      }
      number = number / 64 * 64 + static_cast<uint64_t>(__builtin_ctzll(word));
      for (; k > 0; --k)
        number = number * 64 + static_cast<uint64_t>(__builtin_ctzll(levels_[k - 1][number]));
      *found = number;
      return true;
    }
    return false;
  }

 private:
  std::vector<std::vector<uint64_t>> levels_;
};

// Rows that are being filled, found by the room that they still have.
class OpenRows {
 public:
  explicit OpenRows(uint64_t length) : length_(length), rooms_(length + 1), last_(length + 1, kNone) {}

  uint64_t count() const { return before_.size(); }

  // The row with the least room for a segment: a new one if there is none.
  uint64_t place(uint64_t size) {
    uint64_t room, row;
    if (rooms_.find(size, &room)) {
      row = last_[room];
      last_[room] = before_[row];
      if (last_[room] == kNone) rooms_.erase(room);
    } else {
      room = length_;
      row = before_.size();
      before_.push_back(kNone);
    }
    if (room -= size) {
      before_[row] = last_[room];
      last_[room] = row;
      rooms_.insert(room);
    }
    return row;
  }

 private:
  static constexpr uint64_t kNone = UINT64_MAX;

  uint64_t length_;
  NumberSet rooms_;               // that some rows have
  std::vector<uint64_t> last_;    // by room: the row that came to have it last
  std::vector<uint64_t> before_;  // by row: the one that came to have the same room before
};

// Sorts values by the bits between two, and keeps the order of those that are equal in them. Faster than a
// sort that compares: packing takes half of the time.
void sort_by_bits(std::vector<uint64_t>& values, int first, int end) {
  constexpr int kAtOnce = 11;
  constexpr uint64_t kMask = (1 << kAtOnce) - 1;
  std::vector<uint64_t> sorted(values.size());
  for (int bit = first; bit < end; bit += kAtOnce) {
    std::array<uint64_t, kMask + 2> starts = {};
    for (uint64_t value : values) ++starts[(value >> bit & kMask) + 1];
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    for (uint64_t value : values) sorted[starts[value >> bit & kMask]++] = value;
    values.swap(sorted);
  }
}

}  // namespace

Pieces Packing::in(const uint64_t* rows, uint64_t count, uint64_t length) const {
  Pieces found;
  found.offsets.reserve(count + 1);
  for (uint64_t k = 0; k < count; ++k) {
    for (uint64_t at = rows[k] ? ends[rows[k] - 1] : 0; at < ends[rows[k]]; ++at) {
      found.documents.push_back(documents[at]);
      found.starts.push_back(pieces[at] * length);
      found.lengths.push_back(lengths[at]);
    }
    found.offsets.push_back(found.lengths.size());
  }
  return found;
}

Packing pack(const int64_t* lengths, uint64_t count, uint64_t length, uint64_t key) {
  constexpr uint64_t kWindow = 10000;  // fills 99.9 % of rows of 2,048; 1,000 documents: 99.4 %
  constexpr int kBits = 14;            // of a place in a window
  Packing placed;                      // segments in the order in which they were placed
  std::vector<uint64_t> rows;
  // A row as long as all documents together holds them all, and there is a number for each element of a row.
  uint64_t all = 0;
  for (uint64_t k = 0; k < count && all < length; ++k) all += static_cast<uint64_t>(lengths[k]);
  length = std::min(length, std::max<uint64_t>(all, 1));
  OpenRows open(length);
  auto add = [&](uint64_t document, uint64_t piece, uint64_t size) {
    placed.documents.push_back(document);
    placed.pieces.push_back(piece);
    placed.lengths.push_back(static_cast<uint32_t>(size));
    rows.push_back(open.place(size));
  };
  Permutation order(count, key);
  std::vector<int64_t> documents(std::min(count, kWindow));
  std::vector<uint64_t> rests;  // how much shorter than a row, and the place in the window: the longest first
  for (uint64_t first = 0; first < count; first += kWindow) {
    uint64_t some = std::min(kWindow, count - first);
    order.at({first, 1, some}, documents.data());
    rests.clear();
    for (uint64_t k = 0; k < some; ++k) {
      auto document = static_cast<uint64_t>(documents[k]), size = static_cast<uint64_t>(lengths[document]);
      for (uint64_t piece = 0; size >= length; size -= length) add(document, piece++, length);
      if (size) rests.push_back((length - size) << kBits | k);
    }
    sort_by_bits(rests, kBits, kBits + static_cast<int>(std::bit_width(length)));
    for (uint64_t rest : rests) {
      auto document = static_cast<uint64_t>(documents[rest & ((1 << kBits) - 1)]);
      auto size = static_cast<uint64_t>(lengths[document]);
      add(document, size >= length ? size / length : 0, length - (rest >> kBits));
    }
  }
  // By rows: a counting sort.
  Packing packed{.ends = std::vector<uint64_t>(open.count()),
                 .documents = std::vector<uint64_t>(rows.size()),
                 .pieces = std::vector<uint64_t>(rows.size()),
                 .lengths = std::vector<uint32_t>(rows.size())};
  for (uint64_t row : rows) ++packed.ends[row];
  uint64_t before = 0;
  for (uint64_t& end : packed.ends) {
    uint64_t segments = end;
    packed.most_segments = std::max(packed.most_segments, segments);
    end = before;
    before += segments;
  }
  for (size_t k = 0; k < rows.size(); ++k) {
    uint64_t at = packed.ends[rows[k]]++;
    packed.documents[at] = placed.documents[k];
    packed.pieces[at] = placed.pieces[k];
    packed.lengths[at] = placed.lengths[k];
  }
  return packed;
}

}  // namespace mmap_ninja
