// Edits against a plain list of rows: whatever is deleted and replaced, in whatever batches.

#include <algorithm>
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

// What the samples are, by brute force.
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

// A batch of random edits, in the order or at random, and what it makes of the list.
std::vector<Edit> random_edits(std::mt19937& random, List* list, size_t size) {
  std::vector<Edit> log;
  auto below = [&](uint64_t most) { return std::uniform_int_distribution<uint64_t>(0, most - 1)(random); };
  for (size_t k = 0; k < size && !list->samples.empty(); ++k) {
    size_t at = below(list->samples.size());
    // A run of samples whose rows follow each other, as one line may speak of.
    uint64_t most = 1 + below(4), count = 1;
    while (count < most && at + count < list->samples.size() &&
           list->samples[at + count].base == list->samples[at].base + count)
      ++count;
    uint64_t row = list->samples[at].base;
    if (below(2) == 0) {
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
    check_same(applied({}, whole, list.rows), list);  // a reader that comes late reads all at once
    check_same(early, early_list);                    // what an earlier snapshot sees does not change
  }
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
  test_deletes_in_order_make_one_range_where_they_touch();
  test_many_scattered_deletes_span_many_chunks();
  test_lines_about_other_rows_are_refused();
}
