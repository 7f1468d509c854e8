#include "edits.h"

#include <algorithm>

namespace mmap_ninja {
namespace {

using Range = Edits::Range;

// Ranges per chunk. An edit copies one chunk, and a look-up ends with a search in one: it has as many keys as
// the CPU can fetch at once. Measured with 10^6 ranges: chunks of 512 take twice as long.
constexpr size_t kChunk = 128;
constexpr size_t kKeysPerLine = 8;
constexpr size_t kCachedChunks = 64;  // as many as stay in the CPU's cache

bool continues(const Range& first, const Range& next) {
  if (first.end() != next.row || first.hides() != next.hides()) return false;
  return first.hides() || first.target + first.count == next.target;
}

void add(const Range& range, std::vector<Range>* out) {
  if (range.count == 0) return;
  if (!out->empty() && continues(out->back(), range)) {
    out->back().count += range.count;
  } else {
    out->push_back(range);
  }
}

// The part of a range from `row` on.
Range rest(const Range& range, uint64_t row) {
  uint64_t skipped = row - range.row;
  return {row, range.count - skipped, range.hides() ? Edits::kHidden : range.target + skipped};
}

// The index of the last of the sorted numbers that is at most `value`, or -1. Without branches: they would be
// unpredictable, and a misprediction costs more than the whole look-up.
ptrdiff_t last_at_most(const uint64_t* numbers, size_t count, uint64_t value) {
  const uint64_t* base = numbers;
  while (count > 1) {
    size_t half = count / 2;
    base += half * static_cast<size_t>(base[half] <= value);
    count -= half;
  }
  if (count == 0 || *base > value) return -1;
  return base - numbers;
}

// The ranges of log lines, in the order of the lines.
Status ranges_of(std::span<const Edit> log, uint64_t rows, std::vector<Range>* ranges) {
  auto fits = [rows](uint64_t row, uint64_t count) { return row <= rows && count <= rows - row; };
  ranges->reserve(log.size());
  for (size_t k = 0; k < log.size(); ++k) {
    const Edit& edit = log[k];
    bool known = edit.op == kDelete || edit.op == kReplace;
    // A replacement is always stored in a later row than the sample that it replaces.
    bool is_whole =
        edit.count > 0 && fits(edit.row, edit.count) &&
        (edit.op == kDelete || (fits(edit.new_row, edit.count) && edit.row + edit.count <= edit.new_row));
    if (!known || !is_whole) return {.code = Code::bad_edit, .row = k, .found = edit.row, .expected = rows};
    ranges->push_back({edit.row, edit.count, edit.op == kDelete ? Edits::kHidden : edit.new_row});
    if (edit.op == kReplace) ranges->push_back({edit.new_row, edit.count, Edits::kHidden});
  }
  return {};
}

bool are_ordered(std::span<const Range> ranges) {
  for (size_t k = 1; k < ranges.size(); ++k)
    if (ranges[k].row < ranges[k - 1].end()) return false;
  return true;
}

// The ranges above, and the parts of the ranges below that they do not cover.
void overlay(std::span<const Range> below, std::span<const Range> above, std::vector<Range>* out) {
  size_t next = 0;
  for (Range range : below) {
    for (; next < above.size() && above[next].row < range.end(); ++next) {
      const Range& cover = above[next];
      if (cover.row > range.row) add({range.row, cover.row - range.row, range.target}, out);
      if (cover.end() >= range.end()) {
        range.count = 0;
        break;  // it may also cover the next one
      }
      add(cover, out);
      if (cover.end() > range.row) range = rest(range, cover.end());
    }
    add(range, out);
  }
  for (; next < above.size(); ++next) add(above[next], out);
}

// Combines ranges, of which later ones cover earlier ones: the result is in the order of rows, without
// overlaps. Ranges that are like this already are returned as they are; else the result is in the buffer.
// Recursion by halves gives the same as one by one, but each range is then part of only a few overlays.
std::span<const Range> flattened(std::span<const Range> ranges, std::vector<Range>* buffer) {
  if (are_ordered(ranges)) return ranges;
  std::vector<Range> below, above;
  size_t half = ranges.size() / 2;
  buffer->reserve(ranges.size());
  overlay(flattened(ranges.first(half), &below), flattened(ranges.subspan(half), &above), buffer);
  return *buffer;
}

}  // namespace

Status Edits::apply(const std::shared_ptr<const Edits>& before, std::span<const Edit> log, uint64_t rows,
                    std::shared_ptr<const Edits>* after) {
  std::vector<Range> ranges;
  if (Status status = ranges_of(log, rows, &ranges); !status.ok()) return status;
  auto edits = before ? std::make_shared<Edits>(*before) : std::make_shared<Edits>();
  std::vector<Range> flat;
  edits->assign(flattened(ranges, &flat));
  edits->index();
  *after = std::move(edits);
  return {};
}

void Edits::add_chunks(std::span<const Range> ranges, std::vector<ChunkPtr>* chunks) {
  // Not full, or the next edit would split them, and not nearly empty.
  size_t count = (ranges.size() + kChunk - 1) / kChunk;
  for (size_t k = 0; k < count; ++k) {
    auto part = ranges.subspan(ranges.size() * k / count);
    part = part.first(ranges.size() * (k + 1) / count - ranges.size() * k / count);
    auto chunk = std::make_shared<Chunk>();
    chunk->ranges.assign(part.begin(), part.end());
    chunk->keys.reserve(kChunk);
    for (const Range& range : part) {
      chunk->keys.push_back(range.row - chunk->hidden);
      if (range.hides()) chunk->hidden += range.count;
    }
    chunk->keys.resize(kChunk, UINT64_MAX);  // so that a search takes the same number of steps in each
    chunks->push_back(std::move(chunk));
  }
}

// Lays ranges, ordered by their rows and without overlaps, over the existing ones. Copies only the chunks
// that they touch.
void Edits::assign(std::span<const Range> ranges) {
  std::vector<ChunkPtr> chunks;
  chunks.reserve(chunks_.size() + 1);
  std::vector<Range> below, laid;
  size_t at = 0;
  while (!ranges.empty()) {
    // The chunks before the one for the next range do not change.
    while (at + 1 < chunks_.size() && chunks_[at + 1]->ranges.front().row <= ranges.front().row)
      chunks.push_back(chunks_[at++]);
    below.clear();
    size_t taken = 0;
    bool more = at < chunks_.size();
    if (!more) taken = ranges.size();
    while (more) {
      below.insert(below.end(), chunks_[at]->ranges.begin(), chunks_[at]->ranges.end());
      ++at;
      uint64_t next_row = at < chunks_.size() ? chunks_[at]->ranges.front().row : UINT64_MAX;
      while (taken < ranges.size() && ranges[taken].row < next_row) ++taken;
      more = at < chunks_.size() && taken > 0 && ranges[taken - 1].end() > next_row;
    }
    laid.clear();
    overlay(below, ranges.first(taken), &laid);
    add_chunks(laid, &chunks);
    ranges = ranges.subspan(taken);
  }
  chunks.insert(chunks.end(), chunks_.begin() + static_cast<ptrdiff_t>(at), chunks_.end());
  chunks_ = std::move(chunks);
}

void Edits::index() {
  hidden_ = 0;
  first_positions_.clear();
  heads_.clear();
  for (const ChunkPtr& chunk : chunks_) {
    first_positions_.push_back(chunk->ranges.front().row - hidden_);
    heads_.push_back({hidden_, chunk->keys.data(), chunk->ranges.data(), chunk->ranges.size()});
    hidden_ += chunk->hidden;
  }
}

// The last range that begins at or before a position, and the row of the position without that range; false
// if there is none.
bool Edits::locate(uint64_t position, Found* found) const {
  ptrdiff_t which = last_at_most(first_positions_.data(), first_positions_.size(), position);
  if (which < 0) return false;
  const Head& head = heads_[static_cast<size_t>(which)];
  if (heads_.size() > kCachedChunks)
    for (size_t k = 0; k < kChunk; k += kKeysPerLine) __builtin_prefetch(head.keys + k);
  uint64_t row = position + head.hidden_before;  // if the chunk had no hidden rows
  const uint64_t* key = head.keys;               // the first key is not greater
#pragma GCC unroll 8
  for (size_t half = kChunk / 2; half > 0; half /= 2) key += half * static_cast<size_t>(key[half] <= row);
  auto range = static_cast<size_t>(key - head.keys);
  *found = {&head, range, row + head.ranges[range].row - *key};
  return true;
}

Edits::Place Edits::find(uint64_t position) const {
  Found found;
  if (!locate(position, &found)) return {position, position};
  const Range& range = found.head->ranges[found.range];
  uint64_t row = found.row;
  if (range.hides()) return {row + range.count, row + range.count};
  return {row < range.end() ? range.target + (row - range.row) : row, row};
}

uint64_t Edits::stored(uint64_t position, uint64_t* count) const {
  Found found;
  if (!locate(position, &found)) {
    *count = first_positions_.empty() ? UINT64_MAX : first_positions_.front() - position;
    return position;
  }
  const Range& range = found.head->ranges[found.range];
  uint64_t row = found.row;
  if (!range.hides() && row < range.end()) {
    *count = range.end() - row;
    return range.target + (row - range.row);
  }
  if (range.hides()) row += range.count;
  // Up to the next range, perhaps in the next chunk.
  bool is_last = found.range + 1 == found.head->size;
  const Head* end = heads_.data() + heads_.size();
  const Range* next = is_last ? nullptr : found.head->ranges + found.range + 1;
  if (is_last && found.head + 1 != end) next = found.head[1].ranges;
  *count = next ? next->row - row : UINT64_MAX;
  return row;
}

// The last range that begins at or before a row; null if there is none.
const Range* Edits::range_before(uint64_t row) const {
  auto after = [](uint64_t value, const auto& range) { return value < range.row; };
  auto chunk = std::upper_bound(
      chunks_.begin(), chunks_.end(), row,
      [&](uint64_t value, const ChunkPtr& next) { return after(value, next->ranges.front()); });
  if (chunk == chunks_.begin()) return nullptr;
  const std::vector<Range>& ranges = (*(chunk - 1))->ranges;
  return &*(std::upper_bound(ranges.begin(), ranges.end(), row, after) - 1);
}

bool Edits::is_hidden(uint64_t row) const {
  const Range* range = range_before(row);
  return range && range->hides() && row < range->end();
}

uint64_t Edits::stored_of(uint64_t base) const {
  const Range* range = range_before(base);
  return !range || range->hides() || base >= range->end() ? base : range->target + (base - range->row);
}

std::vector<Range> Edits::ranges() const {
  std::vector<Range> all;
  for (const ChunkPtr& chunk : chunks_) all.insert(all.end(), chunk->ranges.begin(), chunk->ranges.end());
  return all;
}

std::vector<std::pair<uint64_t, uint64_t>> Edits::runs(uint64_t rows) const {
  std::vector<std::pair<uint64_t, uint64_t>> runs;
  auto add_run = [&](uint64_t row, uint64_t count) {
    if (count == 0) return;
    if (!runs.empty() && runs.back().first + runs.back().second == row) {
      runs.back().second += count;
    } else {
      runs.emplace_back(row, count);
    }
  };
  uint64_t at = 0;
  for (const ChunkPtr& chunk : chunks_) {
    for (const Range& range : chunk->ranges) {
      add_run(at, range.row - at);
      if (!range.hides()) add_run(range.target, range.count);
      at = range.end();
    }
  }
  add_run(at, rows - at);
  return runs;
}

}  // namespace mmap_ninja
