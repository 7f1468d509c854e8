// Edits compared with a plain list of rows, for any deletions and replacements, in any batches.

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "check.h"
#include "edits.h"

using namespace mmap_ninja;

namespace {

using EditsPtr = std::shared_ptr<const Edits>;

EditsPtr applied(const EditsPtr& before, const std::vector<Edit>& log, uint64_t rows) {
  EditsPtr after;
  CHECK(Edits::apply(before, log, rows, &after).ok());
  return after;
}

// The samples, computed by brute force.
struct List {
  struct Sample {
    uint64_t base, stored;
  };
  std::vector<Sample> samples;
  uint64_t rows = 0;

  void append(uint64_t count) {
    for (uint64_t k = 0; k < count; ++k, ++rows) samples.push_back({rows, rows});
  }
};

void check_same(const EditsPtr& edits, const List& list) {
  CHECK(edits->hidden() == list.rows - list.samples.size());
  std::vector<bool> visible(list.rows);
  for (size_t k = 0; k < list.samples.size(); ++k) {
    CHECK(edits->stored(k) == list.samples[k].stored);
    CHECK(edits->base(k) == list.samples[k].base);
    uint64_t count;
    CHECK(edits->stored(k, &count) == list.samples[k].stored && count > 0);
    for (uint64_t j = 0; j < count && k + j < list.samples.size(); ++j)
      CHECK(list.samples[k + j].stored == list.samples[k].stored + j);
    visible[list.samples[k].base] = true;
  }
  for (uint64_t row = 0; row < list.rows; ++row) CHECK(edits->is_hidden(row) == !visible[row]);
  std::vector<uint64_t> stored;
  for (auto [row, count] : edits->runs(list.rows)) {
    CHECK(count > 0 && (stored.empty() || stored.back() + 1 != row));
    for (uint64_t k = 0; k < count; ++k) stored.push_back(row + k);
  }
  CHECK(stored.size() == list.samples.size());
  for (size_t k = 0; k < stored.size(); ++k) CHECK(stored[k] == list.samples[k].stored);
  uint64_t end = 0;
  for (const Edits::Range& range : edits->ranges()) {
    CHECK(range.row >= end && range.count > 0);
    end = range.end();
  }
  CHECK(end <= list.rows);
}

uint64_t below(std::mt19937& random, uint64_t most) {
  return std::uniform_int_distribution<uint64_t>(0, most - 1)(random);
}

// A batch of random edits, ordered or not, which is also applied to the list.
std::vector<Edit> random_edits(std::mt19937& random, List* list, size_t size) {
  std::vector<Edit> log;
  for (size_t k = 0; k < size && !list->samples.empty(); ++k) {
    size_t at = below(random, list->samples.size());
    // A run of samples with consecutive rows, as for one line.
    uint64_t most = 1 + below(random, 4), count = 1;
    while (count < most && at + count < list->samples.size() &&
           list->samples[at + count].base == list->samples[at].base + count)
      ++count;
    uint64_t row = list->samples[at].base;
    if (below(random, 2) == 0) {
      log.push_back({kDelete, row, count, 0});
      auto first = list->samples.begin() + static_cast<ptrdiff_t>(at);
      list->samples.erase(first, first + static_cast<ptrdiff_t>(count));
    } else {
      log.push_back({kReplace, row, count, list->rows});
      for (uint64_t j = 0; j < count; ++j) list->samples[at + j].stored = list->rows + j;
      list->rows += count;
    }
  }
  return log;
}

void test_edits_are_those_of_a_list() {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    List list;
    EditsPtr edits;
    std::vector<Edit> whole;
    EditsPtr early;
    List early_list;
    for (int batch = 0; batch < 12; ++batch) {
      list.append(batch == 0 ? 3000 : random() % 50);
      std::vector<Edit> log = random_edits(random, &list, batch % 3 == 0 ? 400 : 1 + random() % 5);
      edits = applied(edits, log, list.rows);
      check_same(edits, list);
      whole.insert(whole.end(), log.begin(), log.end());
      if (batch == 4) early = edits, early_list = list;
    }
    check_same(applied({}, whole, list.rows), list);  // a reader that reads all at once
    check_same(early, early_list);                    // an earlier snapshot does not change
  }
}

// Any lines that are not refused, also ones that no writer would write: of all widths, about rows that are no
// longer samples, with new rows that are already used.
std::vector<Edit> any_edits(std::mt19937& random, uint64_t rows, size_t size) {
  std::vector<Edit> log;
  for (size_t k = 0; k < size; ++k) {
    uint64_t count = std::min(rows, 1 + below(random, uint64_t{1} << below(random, 10)));
    uint64_t row = below(random, rows - count + 1), end = row + count;
    if (rows - end < count || below(random, 3) == 0) {
      log.push_back({kDelete, row, count, 0});
    } else {
      log.push_back({kReplace, row, count, end + below(random, rows - end - count + 1)});
    }
  }
  return log;
}

// Line by line, row by row.
void apply_to_rows(const std::vector<Edit>& log, std::vector<uint64_t>* stored) {
  for (const Edit& edit : log) {
    for (uint64_t k = 0; k < edit.count; ++k) {
      (*stored)[edit.row + k] = edit.op == kDelete ? Edits::kHidden : edit.new_row + k;
      if (edit.op == kReplace) (*stored)[edit.new_row + k] = Edits::kHidden;
    }
  }
}

List list_of_rows(const std::vector<uint64_t>& stored) {
  List list{.samples = {}, .rows = stored.size()};
  for (uint64_t row = 0; row < stored.size(); ++row)
    if (stored[row] != Edits::kHidden) list.samples.push_back({row, stored[row]});
  return list;
}

void test_overlapping_lines_have_the_same_effect_one_by_one() {
  for (uint32_t seed = 0; seed < 3000; ++seed) {
    std::mt19937 random(seed);
    std::vector<uint64_t> stored;
    EditsPtr edits;
    std::vector<Edit> whole;
    for (int batch = 0; batch < 4; ++batch) {
      uint64_t rows = stored.size() + 1 + below(random, uint64_t{1} << below(random, 9));
      while (stored.size() < rows) stored.push_back(stored.size());
      std::vector<Edit> log = any_edits(random, rows, below(random, uint64_t{1} << below(random, 9)));
      apply_to_rows(log, &stored);
      edits = applied(edits, log, rows);
      check_same(edits, list_of_rows(stored));
      whole.insert(whole.end(), log.begin(), log.end());
    }
    check_same(applied({}, whole, stored.size()), list_of_rows(stored));
  }
}

// With a million lines, a quadratic algorithm would exceed the time limit of the tests.
constexpr uint64_t kMany = 1'000'000;

void test_one_delete_across_many_scattered_replaces() {
  uint64_t rows = 4 * kMany;
  std::vector<uint64_t> stored(rows);
  std::iota(stored.begin(), stored.end(), 0);
  std::vector<Edit> log;
  for (uint64_t k = 0; k < kMany; ++k)
    log.push_back({kReplace, 2 * (k * 7919 % kMany), 1, 2 * kMany + 2 * k});
  log.push_back({kDelete, 5, 5, 0});
  apply_to_rows(log, &stored);
  EditsPtr edits = applied({}, log, rows);
  List list = list_of_rows(stored);
  CHECK(edits->hidden() == kMany + 5 && list.samples.size() == 3 * kMany - 5);
  for (uint64_t k = 0; k < list.samples.size(); ++k) CHECK(edits->stored(k) == list.samples[k].stored);
}

void test_many_replaces_each_inside_the_one_before() {
  std::vector<Edit> log;
  for (uint64_t k = 0; k < kMany; ++k) log.push_back({kReplace, k, 2 * (kMany - k), 2 * kMany + 3 * k});
  EditsPtr edits = applied({}, log, 5 * kMany - 1);
  CHECK(edits->hidden() == 3 * kMany - 1);
  for (uint64_t row = 0; row < 2 * kMany; ++row) {
    uint64_t innermost = std::min(row, 2 * kMany - 1 - row);
    CHECK(edits->stored(row) == log[innermost].new_row + row - innermost);
  }
}

void test_many_narrow_replaces_and_wide_deletes_in_turn() {
  std::vector<Edit> log;
  for (uint64_t row = 0; row < kMany; ++row)
    log.push_back(row % 2 == 0 ? Edit{kReplace, row, 1, 3 * kMany + row} : Edit{kDelete, row, kMany, 0});
  EditsPtr edits = applied({}, log, 4 * kMany);
  CHECK(edits->hidden() == 2 * kMany - 1);
  for (uint64_t k = 0; k < kMany / 2; ++k) CHECK(edits->stored(k) == 3 * kMany + 2 * k);
  CHECK(edits->stored(kMany / 2) == 2 * kMany - 1);  // the first one after the last deletion
}

void test_many_replaces_of_replacements_make_one_range() {
  std::vector<Edit> log;
  for (uint64_t row = 0; row < kMany; ++row) log.push_back({kReplace, row, 1, row + 1});
  EditsPtr edits = applied({}, log, kMany + 1);
  CHECK(edits->ranges().size() == 2 && edits->hidden() == 1);
  for (uint64_t row = 0; row < kMany; ++row) CHECK(edits->stored(row) == row + 1);
}

void test_deletes_in_order_make_one_range_where_they_touch() {
  std::vector<Edit> log;
  for (uint64_t row = 0; row < 10'000; row += 1) log.push_back({kDelete, row, 1, 0});
  EditsPtr edits = applied({}, log, 20'000);
  CHECK(edits->ranges().size() == 1 && edits->hidden() == 10'000 && edits->stored(0) == 10'000);
}

void test_many_scattered_deletes_span_many_chunks() {
  std::vector<Edit> log;
  for (uint64_t row = 0; row < 100'000; row += 2) log.push_back({kDelete, row, 1, 0});
  EditsPtr edits = applied({}, log, 100'000);
  for (uint64_t k = 0; k < 50'000; ++k) CHECK(edits->stored(k) == 2 * k + 1);
  edits = applied(edits, {{kDelete, 1'001, 60'000, 0}}, 100'000);
  CHECK(edits->hidden() == 80'000);
  CHECK(edits->stored(499) == 999 && edits->stored(500) == 61'001);
}

void test_lines_about_other_rows_are_refused() {
  const std::vector<Edit> bad = {
      {0, 0, 1, 0},         {3, 0, 1, 0},        {kDelete, 0, 0, 0},
      {kDelete, 10, 1, 0},  {kDelete, 5, 6, 0},  {kDelete, 1, UINT64_MAX, 0},
      {kReplace, 0, 1, 10}, {kReplace, 0, 2, 9}, {kReplace, 5, 1, 5},
      {kReplace, 5, 2, 6},  {kReplace, 5, 1, 2}, {kReplace, UINT64_MAX, 1, 2},
  };
  for (const Edit& edit : bad) {
    EditsPtr after;
    const Edit log[] = {{kDelete, 0, 1, 0}, edit};
    Status status = Edits::apply({}, log, 10, &after);
    CHECK(status.code == Code::bad_edit && status.row == 1 && !after);
  }
}

}  // namespace

int main() {
  test_edits_are_those_of_a_list();
  test_overlapping_lines_have_the_same_effect_one_by_one();
  test_one_delete_across_many_scattered_replaces();
  test_many_replaces_each_inside_the_one_before();
  test_many_narrow_replaces_and_wide_deletes_in_turn();
  test_many_replaces_of_replacements_make_one_range();
  test_deletes_in_order_make_one_range_where_they_touch();
  test_many_scattered_deletes_span_many_chunks();
  test_lines_about_other_rows_are_refused();
}
