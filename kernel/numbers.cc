#include "numbers.h"

#include <string.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

namespace mmap_ninja {
namespace {

// In the order of `Number`. Truth values are bytes, so that damaged ones are no undefined behaviour.
struct Truth {
  uint8_t byte;
};
using Types = std::tuple<Truth, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
                         float, double>;
constexpr size_t kTypes = std::tuple_size_v<Types>;

constexpr uint64_t kBlock = 1024;  // numbers that are checked, and then converted from the first-level cache

template <typename T>
T load(const uint8_t* at, uint64_t k) {
  T value;
  memcpy(&value, at + k * sizeof value, sizeof value);
  return value;
}

template <typename T>
void store(T value, uint8_t* at, uint64_t k) {
  memcpy(at + k * sizeof value, &value, sizeof value);
}

// Whether `To` holds an integer.
template <typename From, typename To>
bool holds(From value) {
  if constexpr (std::is_integral_v<To>) {
    return std::in_range<To>(value);
  } else {
    To cast = static_cast<To>(value);
    // The first float past the range must not be cast back, which is undefined.
    constexpr To kEnd = static_cast<To>(uint64_t{1} << (std::numeric_limits<From>::digits - 1)) * 2;
    return cast < kEnd && static_cast<From>(cast) == value;
  }
}

// Whether all numbers fit by a check without branches, which compilers vectorise. If not, some may fit.
template <typename From, typename To>
bool all_fit(const uint8_t* from, uint64_t count) {
  if constexpr (std::is_same_v<From, double> && std::is_same_v<To, float>) {
    constexpr double kMost = std::numeric_limits<float>::max();
    bool fits = true;
    for (uint64_t k = 0; k < count; ++k) fits &= !(std::abs(load<From>(from, k)) > kMost);
    return fits;
  } else if constexpr (!std::is_integral_v<From>) {
    return true;
  } else {
    constexpr int kDigits = std::numeric_limits<To>::digits;  // of floats: of the mantissa
    if constexpr (std::is_signed_v<To> >= std::is_signed_v<From> &&
                  kDigits >= std::numeric_limits<From>::digits) {
      return true;
    } else {
      // An integer from -2^d to 2^d - 1 is one from 0 to 2^(d + 1) - 1 after adding 2^d, modulo the range.
      using Bits = std::make_unsigned_t<From>;
      constexpr bool kShifts = std::is_signed_v<From> && std::is_signed_v<To>;
      constexpr Bits kOffset = kShifts ? static_cast<Bits>(Bits{1} << kDigits) : Bits{0};
      constexpr int kKept = kShifts ? kDigits + 1 : kDigits;
      constexpr Bits kRest =
          kKept < std::numeric_limits<Bits>::digits ? static_cast<Bits>(~Bits{0} << kKept) : Bits{0};
      // Of an unsigned type at least as wide, only the sign can be wrong.
      constexpr Bits kWrong =
          kRest != 0 ? kRest : static_cast<Bits>(Bits{1} << (std::numeric_limits<Bits>::digits - 1));
      Bits seen = 0;
      for (uint64_t k = 0; k < count; ++k)
        seen = static_cast<Bits>(seen | static_cast<Bits>(static_cast<Bits>(load<From>(from, k)) + kOffset));
      return (seen & kWrong) == 0;
    }
  }
}

template <typename From, typename To>
uint64_t first_unfit(const uint8_t* from, uint64_t count) {
  uint64_t k = 0;
  if constexpr (std::is_integral_v<From>) {
    while (k < count && holds<From, To>(load<From>(from, k))) ++k;
  } else {
    auto fits = [](double value) { return std::isinf(value) || !std::isinf(static_cast<float>(value)); };
    while (k < count && fits(load<From>(from, k))) ++k;
  }
  return k;
}

template <typename From, typename To>
uint64_t convert(const uint8_t* from, uint64_t count, uint8_t* to) {
  for (uint64_t done = 0; done < count; done += kBlock) {
    uint64_t some = std::min(kBlock, count - done);
    const uint8_t* at = from + done * sizeof(From);
    if (!all_fit<From, To>(at, some))
      if (uint64_t k = first_unfit<From, To>(at, some); k < some) return done + k;
    for (uint64_t k = 0; k < some; ++k) store(static_cast<To>(load<From>(at, k)), to + done * sizeof(To), k);
  }
  return count;
}

// Truth values are 0 or 1 in any type.
template <typename To>
uint64_t convert_truths(const uint8_t* from, uint64_t count, uint8_t* to) {
  for (uint64_t k = 0; k < count; ++k) store(static_cast<To>(from[k] != 0), to, k);
  return count;
}

template <size_t kFrom, size_t kTo>
constexpr Convert between() {
  using From = std::tuple_element_t<kFrom, Types>;
  using To = std::tuple_element_t<kTo, Types>;
  if constexpr (kTo == 0 || kFrom == kTo || (std::is_floating_point_v<From> && std::is_integral_v<To>))
    return nullptr;
  else if constexpr (kFrom == 0)
    return &convert_truths<To>;
  else
    return &convert<From, To>;
}

template <size_t... kPairs>
constexpr std::array<Convert, sizeof...(kPairs)> table(std::index_sequence<kPairs...>) {
  return {between<kPairs / kTypes, kPairs % kTypes>()...};
}

}  // namespace

Convert converter(Number from, Number to) {
  static constexpr auto kConverters = table(std::make_index_sequence<kTypes * kTypes>());
  return kConverters[static_cast<size_t>(from) * kTypes + static_cast<size_t>(to)];
}

}  // namespace mmap_ninja
