// Checksums, and hashes of many values.

#include "checksum.h"
#include "python.h"

using namespace nanobind::literals;

namespace mmap_ninja {
namespace {

// XXH64 of each of an array of u64.
nb::object word_hashes(nb::handle words, uint64_t seed) {
  auto count = static_cast<uint64_t>(PyArray_SIZE(array_of(words)));
  nb::object hashes = new_array(count, NPY_UINT64);
  auto from = data_of<const uint64_t>(words);
  auto to = data_of<uint64_t>(hashes);
  GilReleased release;
  for (uint64_t k = 0; k < count; ++k) to[k] = xxh64(from[k], seed);
  return hashes;
}

// XXH64 of each span of bytes between two neighbouring offsets, which `take_jagged` made.
nb::object span_hashes(nb::handle values, nb::handle offsets, uint64_t seed) {
  auto count = static_cast<uint64_t>(PyArray_SIZE(array_of(offsets))) - 1;
  nb::object hashes = new_array(count, NPY_UINT64);
  auto bytes = data_of<const uint8_t>(values);
  auto bounds = data_of<const int64_t>(offsets);
  auto to = data_of<uint64_t>(hashes);
  GilReleased release;
  for (uint64_t k = 0; k < count; ++k)
    to[k] = xxh64(bytes + bounds[k], static_cast<size_t>(bounds[k + 1] - bounds[k]), seed);
  return hashes;
}

}  // namespace

void define_hashes(nb::module_& m) {
  m.def("crc32c", [](nb::handle data) {
    Buffer buffer(data);
    return crc32c(buffer.data(), buffer.size());
  });
  m.def(
      "xxh64",
      [](nb::handle data, uint64_t seed) {
        Buffer buffer(data);
        return xxh64(buffer.data(), buffer.size(), seed);
      },
      "data"_a, "seed"_a = 0);
  m.def("word_hashes", &word_hashes);
  m.def("span_hashes", &span_hashes);
}

}  // namespace mmap_ninja
