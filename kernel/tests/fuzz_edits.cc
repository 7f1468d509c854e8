// Logs of edits compared with a plain list of rows: valid ones, and ones that no writer would write.

#include <algorithm>
#include <utility>
#include <vector>

#include "check.h"
#include "edits.h"
#include "fuzz_input.h"

using namespace mmap_ninja;

namespace {

using EditsPtr = std::shared_ptr<const Edits>;
constexpr uint64_t kMostRows = 2000;

// Where each row is stored, after applying the edits one by one.
struct Model {
  std::vector<uint64_t> stored;

  void grow(uint64_t count) {
    for (uint64_t k = 0; k < count; ++k) stored.push_back(stored.size());
  }
  // Applies a line if the format allows it; else false.
  bool apply(const Edit& edit) {
    uint64_t rows = stored.size();
    if ((edit.op != kDelete && edit.op != kReplace) || edit.count == 0) return false;
    if (edit.row > rows || edit.count > rows - edit.row) return false;
    if (edit.op == kReplace &&
        (edit.new_row > rows || edit.count > rows - edit.new_row || edit.row + edit.count > edit.new_row))
      return false;
    for (uint64_t k = 0; k < edit.count; ++k)
      stored[edit.row + k] = edit.op == kDelete ? Edits::kHidden : edit.new_row + k;
    if (edit.op == kReplace)
      std::fill_n(stored.begin() + static_cast<ptrdiff_t>(edit.new_row), edit.count, Edits::kHidden);
    return true;
  }
};

void check_same(const Edits& edits, const Model& model) {
  uint64_t rows = model.stored.size(), position = 0;
  for (uint64_t row = 0; row < rows; ++row) {
    bool hidden = model.stored[row] == Edits::kHidden;
    CHECK(edits.is_hidden(row) == hidden);
    if (hidden) continue;
    uint64_t count = 0;
    CHECK(edits.base(position) == row);
    CHECK(edits.stored(position) == model.stored[row]);
    CHECK(edits.stored(position, &count) == model.stored[row] && count > 0);
    uint64_t known = std::min(count, rows - row);
    for (uint64_t k = 0; k < known; ++k) CHECK(model.stored[row + k] == model.stored[row] + k);
    ++position;
  }
  CHECK(edits.hidden() == rows - position);
  uint64_t at = 0;
  for (const Edits::Range& range : edits.ranges()) {
    CHECK(range.row >= at && range.count > 0 && range.count <= rows - range.row);
    for (; at < range.row; ++at) CHECK(model.stored[at] == at);
    for (; at < range.end(); ++at)
      CHECK(model.stored[at] == (range.hides() ? Edits::kHidden : range.target + (at - range.row)));
  }
  for (; at < rows; ++at) CHECK(model.stored[at] == at);
  std::vector<uint64_t> all;
  for (auto [row, count] : edits.runs(rows))
    for (uint64_t k = 0; k < count; ++k) all.push_back(row + k);
  std::vector<uint64_t> expected;
  for (uint64_t row : model.stored)
    if (row != Edits::kHidden) expected.push_back(row);
  CHECK(all == expected);
}

// Logs about few rows; everything is compared.
void check_batches(Input& input) {
  Model model;
  EditsPtr edits = std::make_shared<Edits>();
  std::vector<Edit> whole;
  while (!input.empty() && model.stored.size() < kMostRows) {
    model.grow(input.below(200));
    uint64_t rows = model.stored.size();
    std::vector<Edit> log(input.below(8));
    for (Edit& edit : log) {
      edit = {1 + input.below(2), input.below(rows + 1), 1 + input.below(4), 0};
      if (edit.op == kReplace) edit.new_row = edit.row + edit.count + input.below(rows + 1);
    }
    Model before = model;
    size_t bad = 0;
    while (bad < log.size() && model.apply(log[bad])) ++bad;
    EditsPtr after;
    Status status = Edits::apply(edits, log, rows, &after);
    if (bad < log.size()) {
      CHECK(status.code == Code::bad_edit && status.row == bad && !after);
      model = std::move(before);
      continue;
    }
    CHECK(status.ok());
    check_same(*after, model);
    edits = std::move(after);
    whole.insert(whole.end(), log.begin(), log.end());
  }
  EditsPtr at_once;  // as a reader sees it that reads all at once
  CHECK(Edits::apply({}, whole, model.stored.size(), &at_once).ok());
  check_same(*at_once, model);
}

// Logs of arbitrary numbers: nothing may point to rows that do not exist.
void check_numbers(Input& input) {
  uint64_t rows = input.take<uint64_t>() >> 4;
  std::vector<Edit> log;
  while (!input.empty()) log.push_back(input.take<Edit>());
  EditsPtr edits;
  if (!Edits::apply({}, log, rows, &edits).ok()) return;
  CHECK(edits->hidden() <= rows);
  uint64_t count = rows - edits->hidden();
  auto check_position = [&](uint64_t position) {
    uint64_t run = 0;
    CHECK(edits->stored(position, &run) < rows && run > 0 && edits->base(position) < rows);
    CHECK(!edits->is_hidden(edits->base(position)));
  };
  for (const Edits::Range& range : edits->ranges()) {
    CHECK(range.end() <= rows && (range.hides() || range.target < rows));
    for (uint64_t position : {range.row, range.end(), range.row - edits->hidden()})
      if (position < count) check_position(position);
  }
  if (count > 0) check_position(count - 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  input.take<uint8_t>() % 2 == 0 ? check_batches(input) : check_numbers(input);
  return 0;
}
