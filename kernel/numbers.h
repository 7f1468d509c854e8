#pragma once

#include <cstdint>

namespace mmap_ninja {

// The types of numbers that are converted here, in the byte order of the machine.
enum class Number : uint8_t { b1, i1, i2, i4, i8, u1, u2, u4, u8, f4, f8 };

// Converts `count` numbers, aligned or not, and returns the place of the first that the other type does not
// hold, or `count`. What is written from that place on is undefined. An integer must keep its value. A float
// may be rounded to a narrower one, as long as it stays finite.
using Convert = uint64_t (*)(const uint8_t* from, uint64_t count, uint8_t* to);

// The function for two types; nullptr where there is none: a float never becomes an integer, and no number a
// truth value.
Convert converter(Number from, Number to);

}  // namespace mmap_ninja
