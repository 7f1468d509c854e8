// Numbers of every type as numbers of every other, compared with the widest arithmetic that there is.

#include <string.h>

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "numbers.h"

using namespace mmap_ninja;

namespace {

template <typename T>
std::vector<T> edges() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values{0, 1, 2, Limits::lowest(), Limits::max(), static_cast<T>(Limits::max() / 2)};
  for (int bits = 6; bits < 64; ++bits)
    for (int add = -1; add <= 1; ++add)
      for (int sign : {-1, 1}) {
        __int128 value = ((__int128{1} << bits) + add) * sign;
        if (value >= static_cast<__int128>(Limits::lowest()) && value <= static_cast<__int128>(Limits::max()))
          values.push_back(static_cast<T>(value));
      }
  return values;
}

// Whether a number has an equal one in another type.
template <typename From, typename To>
bool fits(From value) {
  if constexpr (std::is_floating_point_v<From>) return true;  // may be rounded
  auto exact = static_cast<long double>(value);  // holds all integers of 64 bits, on x86-64 and aarch64
  if constexpr (std::is_floating_point_v<To>)
    return static_cast<long double>(static_cast<To>(value)) == exact;
  else
    return exact >= static_cast<long double>(std::numeric_limits<To>::lowest()) &&
           exact <= static_cast<long double>(std::numeric_limits<To>::max());
}

template <typename From, typename To>
void test_pair(Number from, Number to) {
  Convert convert = converter(from, to);
  if (std::is_same_v<From, To> || (std::is_floating_point_v<From> && std::is_integral_v<To>)) {
    CHECK(convert == nullptr);
    return;
  }
  for (From value : edges<From>()) {
    for (uint64_t place : {uint64_t{0}, uint64_t{700}, uint64_t{1023}, uint64_t{1024}, uint64_t{2499}}) {
      constexpr uint64_t kCount = 2500;
      std::vector<From> values(kCount, 3);
      values[place] = value;
      std::vector<uint8_t> unaligned(kCount * sizeof(From) + 1);
      memcpy(unaligned.data() + 1, values.data(), kCount * sizeof(From));
      std::vector<To> out(kCount);
      uint64_t done = convert(unaligned.data() + 1, kCount, reinterpret_cast<uint8_t*>(out.data()));
      CHECK(done == (fits<From, To>(value) ? kCount : place));
      for (uint64_t k = 0; k < kCount && done == kCount; ++k) CHECK(out[k] == static_cast<To>(values[k]));
    }
  }
}

template <typename From>
void test_from(Number from) {
  test_pair<From, int8_t>(from, Number::i1);
  test_pair<From, int16_t>(from, Number::i2);
  test_pair<From, int32_t>(from, Number::i4);
  test_pair<From, int64_t>(from, Number::i8);
  test_pair<From, uint8_t>(from, Number::u1);
  test_pair<From, uint16_t>(from, Number::u2);
  test_pair<From, uint32_t>(from, Number::u4);
  test_pair<From, uint64_t>(from, Number::u8);
  test_pair<From, float>(from, Number::f4);
  test_pair<From, double>(from, Number::f8);
  CHECK(converter(from, Number::b1) == nullptr);
}

void test_doubles_are_rounded_but_stay_finite() {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> values{0.1, infinity, -infinity, std::nan(""), 3.4028235677e38, 1e300, 0.5};
  std::vector<float> out(values.size());
  Convert convert = converter(Number::f8, Number::f4);
  auto from = reinterpret_cast<const uint8_t*>(values.data());
  auto to = reinterpret_cast<uint8_t*>(out.data());
  CHECK(convert(from, values.size(), to) == 5);  // the one before is rounded to the greatest float
  CHECK(convert(from, 5, to) == 5);
  CHECK(out[0] == 0.1f && std::isinf(out[1]) && out[2] < 0 && std::isnan(out[3]) &&
        out[4] == std::numeric_limits<float>::max());
}

void test_truth_values_are_zero_or_one() {
  const uint8_t values[] = {0, 1, 255};
  double out[3];
  CHECK(converter(Number::b1, Number::f8)(values, 3, reinterpret_cast<uint8_t*>(out)) == 3);
  CHECK(out[0] == 0 && out[1] == 1 && out[2] == 1);
}

}  // namespace

int main() {
  test_from<int8_t>(Number::i1);
  test_from<int16_t>(Number::i2);
  test_from<int32_t>(Number::i4);
  test_from<int64_t>(Number::i8);
  test_from<uint8_t>(Number::u1);
  test_from<uint16_t>(Number::u2);
  test_from<uint32_t>(Number::u4);
  test_from<uint64_t>(Number::u8);
  test_doubles_are_rounded_but_stay_finite();
  test_truth_values_are_zero_or_one();
  return 0;
}
