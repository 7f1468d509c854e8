// Every order has each of its numbers once, in whatever pieces it is asked for.

#include <algorithm>
#include <vector>

#include "../orders.h"
#include "check.h"

using namespace mmap_ninja;

namespace {

template <typename Order>
std::vector<int64_t> all(const Order& order, uint64_t size) {
  std::vector<int64_t> numbers(size);
  order.at({0, 1, size}, numbers.data());
  return numbers;
}

bool is_permutation(std::vector<int64_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  for (size_t k = 0; k < numbers.size(); ++k)
    if (numbers[k] != static_cast<int64_t>(k)) return false;
  return true;
}

void test_each_number_is_there_once() {
  for (uint64_t size = 0; size < 600; ++size)
    for (uint64_t most_kept : {uint64_t{0}, Permutation::kMostKept}) {
      Permutation order(size, size * 31, most_kept);
      std::vector<int64_t> numbers = all(order, size);
      CHECK(is_permutation(numbers));
      for (size_t k = 0; k < size; ++k) CHECK(order.place_of(static_cast<uint64_t>(numbers[k])) == k);
    }
}

void test_the_largest_network_has_an_inverse() {
  for (uint64_t size : {Permutation::kMost, Permutation::kMost - 1, (uint64_t{1} << 40) + 1}) {
    Permutation order(size, 5);
    for (uint64_t place : {uint64_t{0}, uint64_t{1}, size / 2, size - 1}) {
      int64_t number;
      order.at({place, 1, 1}, &number);
      CHECK(static_cast<uint64_t>(number) < size && order.place_of(static_cast<uint64_t>(number)) == place);
    }
  }
}

void test_blocks_have_each_number_once() {
  for (uint64_t size = 0; size < 200; ++size)
    for (uint64_t block : {1, 3, 7, 100, 1000})
      for (uint64_t window : {1, 2, 5, 1000}) {
        BlockPermutation order(size, size, block, window);
        std::vector<int64_t> numbers = all(order, size), reversed(size), odd(size / 2);
        CHECK(is_permutation(numbers));
        if (size == 0) continue;
        order.at({size - 1, -1, size}, reversed.data());
        std::reverse(reversed.begin(), reversed.end());
        CHECK(reversed == numbers);
        order.at({1, 2, size / 2}, odd.data());
        for (size_t k = 0; k < odd.size(); ++k) CHECK(odd[k] == numbers[2 * k + 1]);
      }
}

void test_numbers_of_a_window_are_of_its_blocks() {
  BlockPermutation order(1000, 3, 10, 4);
  std::vector<int64_t> numbers = all(order, 1000);
  for (auto from = numbers.begin(); from != numbers.end(); from += 40) {
    std::vector<int64_t> blocks;
    for (auto k = from; k != from + 40; ++k) blocks.push_back(*k / 10);
    std::sort(blocks.begin(), blocks.end());
    CHECK(std::unique(blocks.begin(), blocks.end()) - blocks.begin() == 4);
  }
}

void test_numbers_without_weight_are_never_drawn() {
  for (uint64_t count = 1; count < 200; ++count) {
    std::vector<double> weights(count);
    for (size_t k = 0; k < count; k += 3) weights[k] = 0.1 * static_cast<double>(k + 1);
    AliasTable table(weights.data(), count);
    std::vector<int64_t> numbers(5000);
    table.at(count, {0, 1, numbers.size()}, numbers.data());
    for (int64_t number : numbers) CHECK(number >= 0 && weights[static_cast<size_t>(number)] > 0);
  }
}

}  // namespace

int main() {
  test_each_number_is_there_once();
  test_the_largest_network_has_an_inverse();
  test_blocks_have_each_number_once();
  test_numbers_of_a_window_are_of_its_blocks();
  test_numbers_without_weight_are_never_drawn();
}
