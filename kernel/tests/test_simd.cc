#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "simd.h"

using mmap_ninja::Bytes16;

namespace {

using Array = std::array<uint8_t, 16>;

Array stored(Bytes16 bytes) {
  Array array;
  bytes.store(array.data());
  return array;
}

Bytes16 loaded(const Array& array) { return Bytes16::load(array.data()); }

template <typename Function>
Array each(Function function) {
  Array array;
  for (size_t i = 0; i < 16; ++i) array[i] = static_cast<uint8_t>(function(i));
  return array;
}

uint8_t mask(bool condition) { return condition ? 0xFF : 0x00; }

void test_each_operation_of_two_does_to_every_byte_what_it_says(const Array& a, const Array& b) {
  const Bytes16 x = loaded(a), y = loaded(b);
  CHECK(stored(x | y) == each([&](size_t i) { return a[i] | b[i]; }));
  CHECK(stored(x & y) == each([&](size_t i) { return a[i] & b[i]; }));
  CHECK(stored(x ^ y) == each([&](size_t i) { return a[i] ^ b[i]; }));
  CHECK(stored(x + y) == each([&](size_t i) { return a[i] + b[i]; }));
  CHECK(stored(max(x, y)) == each([&](size_t i) { return std::max(a[i], b[i]); }));
  CHECK(stored(subtract_saturating(x, y)) == each([&](size_t i) { return a[i] < b[i] ? 0 : a[i] - b[i]; }));
  CHECK(stored(equal(x, y)) == each([&](size_t i) { return mask(a[i] == b[i]); }));
  CHECK(stored(at_least(x, y)) == each([&](size_t i) { return mask(a[i] >= b[i]); }));
  const Bytes16 greater = at_least(x, y);
  CHECK(stored(select(greater, x, y)) == each([&](size_t i) { return std::max(a[i], b[i]); }));

  CHECK(stored(interleave_low(x, y)) == each([&](size_t i) { return (i % 2 ? b : a)[i / 2]; }));
  CHECK(stored(interleave_high(x, y)) == each([&](size_t i) { return (i % 2 ? b : a)[8 + i / 2]; }));
  auto in_pairs = [&](size_t i) { return i / 4 * 2 + i % 2; };
  CHECK(stored(interleave_pairs_low(x, y)) ==
        each([&](size_t i) { return (i % 4 < 2 ? a : b)[in_pairs(i)]; }));
  CHECK(stored(interleave_pairs_high(x, y)) ==
        each([&](size_t i) { return (i % 4 < 2 ? a : b)[8 + in_pairs(i)]; }));
  CHECK(stored(even_bytes(x, y)) == each([&](size_t i) { return (i < 8 ? a : b)[i % 8 * 2]; }));
  CHECK(stored(odd_bytes(x, y)) == each([&](size_t i) { return (i < 8 ? a : b)[i % 8 * 2 + 1]; }));

  auto earlier = [&](size_t i, size_t n) { return i < n ? a[16 - n + i] : b[i - n]; };
  CHECK(stored(y.earlier_by<1>(x)) == each([&](size_t i) { return earlier(i, 1); }));
  CHECK(stored(y.earlier_by<2>(x)) == each([&](size_t i) { return earlier(i, 2); }));
  CHECK(stored(y.earlier_by<3>(x)) == each([&](size_t i) { return earlier(i, 3); }));

  const Array index = each([&](size_t i) { return b[i] >= 0x80 ? b[i] : b[i] % 16; });
  CHECK(stored(x.shuffle(loaded(index))) == each([&](size_t i) { return b[i] >= 0x80 ? 0 : a[index[i]]; }));
}

template <int N>
void check_shifts(const Array& a) {
  CHECK(stored(loaded(a).shift_left<N>()) == each([&](size_t i) { return a[i] << N; }));
  CHECK(stored(loaded(a).shift_right<N>()) == each([&](size_t i) { return a[i] >> N; }));
}

void test_each_operation_of_one_does_to_every_byte_what_it_says(const Array& a) {
  const Bytes16 x = loaded(a);
  check_shifts<1>(a);
  check_shifts<2>(a);
  check_shifts<4>(a);
  check_shifts<6>(a);
  check_shifts<7>(a);
  CHECK(stored(Bytes16::splat(a[0])) == each([&](size_t) { return a[0]; }));
  CHECK(stored(Bytes16::load_low(a.data())) == each([&](size_t i) { return i < 8 ? a[i] : 0; }));
  Array half = each([](size_t) { return 0x55; });
  x.store_low(half.data());
  CHECK(half == each([&](size_t i) { return i < 8 ? a[i] : 0x55; }));

  uint32_t high_bits = 0;
  for (size_t i = 0; i < 16; ++i) high_bits |= static_cast<uint32_t>(a[i] >> 7) << i;
  CHECK(x.high_bits() == high_bits);
  CHECK(x.has_high_bit() == (high_bits != 0));
  CHECK(x.is_zero() == (a == Array{}));
}

std::vector<Array> samples() {
  std::vector<Array> arrays;
  for (int byte : {0x00, 0x01, 0x0F, 0x10, 0x7F, 0x80, 0x81, 0xFF}) {
    arrays.push_back(each([&](size_t) { return byte; }));
    for (size_t place = 0; place < 16; ++place) {
      arrays.push_back(each([&](size_t i) { return i == place ? byte : 0; }));
    }
  }
  std::mt19937 random(11);
  for (int n = 0; n < 400; ++n) arrays.push_back(each([&](size_t) { return random(); }));
  return arrays;
}

}  // namespace

int main() {
  const std::vector<Array> arrays = samples();
  for (const Array& a : arrays) {
    test_each_operation_of_one_does_to_every_byte_what_it_says(a);
    for (const Array& b : arrays) test_each_operation_of_two_does_to_every_byte_what_it_says(a, b);
  }
}
