// Every dataset of a mixture has its share, and its samples come once before any comes again.

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "../mixing.h"
#include "check.h"

using namespace mmap_ninja;

namespace {

constexpr uint64_t kHalf = uint64_t{1} << 63, kWhole = UINT64_MAX;

std::vector<int64_t> elements(const Mixture& mixture, uint64_t first, uint64_t count) {
  std::vector<int64_t> numbers(count), positions(count);
  for (uint64_t k = 0; k < count; ++k) numbers[k] = static_cast<int64_t>(first + k);
  mixture.at(numbers.data(), count, positions.data());
  return positions;
}

void test_samples_come_once_before_any_comes_again() {
  Mixture mixture({{1024, kHalf}, {32, kHalf}, {1, 0}}, 7);
  std::vector<uint64_t> times(1057);
  for (int64_t position : elements(mixture, 0, 102400)) ++times[static_cast<uint64_t>(position)];
  for (uint64_t k = 0; k < 1024; ++k) CHECK(times[k] == 50);
  for (uint64_t k = 1024; k < 1056; ++k) CHECK(times[k] == 800);
  CHECK(times[1056] == 25600);
}

void test_any_prefix_has_the_shares() {
  Mixture mixture({{10, kWhole / 10}, {10, kWhole / 3}, {10, 0}}, 3);  // 0.1, 0.3 and 0.6
  const double weights[] = {0.1, 0.3, 0.6};
  double turns[3] = {};
  double all = 0;
  for (int64_t position : elements(mixture, 0, 10000)) {
    ++turns[position / 10];
    ++all;
    for (int k = 0; k < 3; ++k) CHECK(std::abs(turns[k] - weights[k] * all) < 256);
  }
}

void test_an_element_depends_on_its_number_alone() {
  Mixture mixture({{500, kHalf / 2}, {70000, kHalf}, {90, 0}}, 11);
  for (uint64_t start : {uint64_t{0}, uint64_t{12345}, Mixture::kMostElements - 9000}) {
    std::vector<int64_t> all = elements(mixture, start, 9000);
    for (uint64_t k : {0, 1, 255, 256, 4095, 4096, 8999}) CHECK(elements(mixture, start + k, 1)[0] == all[k]);
    CHECK(elements(mixture, start + 100, 5000) ==
          std::vector<int64_t>(all.begin() + 100, all.begin() + 5100));
  }
}

void test_ends_are_where_samples_have_come() {
  Mixture mixture({{100, kHalf}, {700, 0}}, 5);
  uint64_t first = mixture.end(false), every = mixture.end(true);
  std::vector<int64_t> all = elements(mixture, 0, every);
  auto is_first = [](int64_t position) { return position < 100; };
  auto end = all.begin() + static_cast<int64_t>(first);
  CHECK(std::count_if(all.begin(), end, is_first) == 100 && is_first(end[-1]));
  CHECK(every - static_cast<uint64_t>(std::count_if(all.begin(), all.end(), is_first)) == 700);
  CHECK(!is_first(all.back()));
  CHECK(Mixture({{uint64_t{1} << 61, 1}, {5, 0}}, 5).end(true) > Mixture::kMostElements);
}

}  // namespace

int main() {
  test_samples_come_once_before_any_comes_again();
  test_any_prefix_has_the_shares();
  test_an_element_depends_on_its_number_alone();
  test_ends_are_where_samples_have_come();
}
