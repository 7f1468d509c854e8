// The run with a row is the first one that ends behind it, whatever sizes the runs have.

#include <random>
#include <vector>

#include "../ends.h"
#include "check.h"

using namespace mmap_ninja;

namespace {

void check_all(const std::vector<uint64_t>& sizes) {
  std::vector<uint64_t> ends;
  for (uint64_t size : sizes) ends.push_back((ends.empty() ? 0 : ends.back()) + size);
  Ends runs(ends);
  CHECK(runs.size() == sizes.size() && runs.all() == ends);
  for (size_t run = 0; run < sizes.size(); ++run)
    for (uint64_t row = runs.start(run); row < ends[run]; ++row) CHECK(runs.find(row) == run);
}

void test_each_row_is_in_its_run() {
  check_all({});
  check_all({0, 0});
  check_all({1});
  check_all({0, 1, 0});
  check_all({0, 0, 7, 0, 0, 0, 1, 0});
  check_all({100000, 1, 1, 1, 0, 1});
  check_all({1, 1, 1, 1, 0, 100000});
  check_all(std::vector<uint64_t>(1000, 500));
  check_all(std::vector<uint64_t>(1000, 1));
  std::mt19937 random(0);
  for (int round = 0; round < 500; ++round) {
    std::vector<uint64_t> sizes(1 + random() % 50);
    for (uint64_t& size : sizes) size = random() % 3 ? random() % 20 : random() % 500 * (random() % 2);
    check_all(sizes);
  }
}

void test_runs_may_have_more_rows_than_memory() {
  uint64_t large = uint64_t{1} << 60;
  Ends runs({large - 1, large, 2 * large});
  CHECK(runs.find(0) == 0 && runs.find(large - 2) == 0 && runs.find(large - 1) == 1);
  CHECK(runs.find(large) == 2 && runs.find(2 * large - 1) == 2);
}

}  // namespace

int main() {
  test_each_row_is_in_its_run();
  test_runs_may_have_more_rows_than_memory();
}
