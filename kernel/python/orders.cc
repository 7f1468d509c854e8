// Orders of samples, a range of places at a time, and streams of several datasets.

#include "orders.h"

#include "mixing.h"
#include "python.h"

using namespace nanobind::literals;

namespace mmap_ninja {
namespace {

// Numbers at places, written by a function without the GIL.
template <typename Write>
nb::object numbers_at(uint64_t first, int64_t step, uint64_t count, Write write) {
  nb::object numbers = new_array(count, NPY_INT64);
  auto values = data_of<int64_t>(numbers);
  GilReleased release;
  write(Places{first, step, count}, values);
  return numbers;
}

template <typename Order>
nb::object at(const Order& order, uint64_t first, int64_t step, uint64_t count) {
  return numbers_at(first, step, count, [&](Places places, int64_t* values) { order.at(places, values); });
}

// Sizes and shares are arrays of equal length.
std::vector<Mixture::Dataset> datasets_of(nb::handle sizes, nb::handle shares) {
  std::vector<Mixture::Dataset> datasets(static_cast<uint64_t>(PyArray_SIZE(array_of(sizes))));
  for (uint64_t k = 0; k < datasets.size(); ++k)
    datasets[k] = {data_of<const uint64_t>(sizes)[k], data_of<const uint64_t>(shares)[k]};
  return datasets;
}

nb::object positions_at(const Mixture& mixture, nb::handle elements) {
  auto count = static_cast<uint64_t>(PyArray_SIZE(array_of(elements)));
  nb::object positions = new_array(count, NPY_INT64);
  auto from = data_of<const int64_t>(elements);
  auto to = data_of<int64_t>(positions);
  GilReleased release;
  mixture.at(from, count, to);
  return positions;
}

}  // namespace

void define_orders(nb::module_& m) {
  nb::class_<Permutation>(m, "Permutation")
      .def(
          "__init__",
          [](Permutation* self, uint64_t size, uint64_t key, uint64_t most_kept) {
            GilReleased release;
            new (self) Permutation(size, key, most_kept);
          },
          "size"_a, "key"_a, "most_kept"_a = Permutation::kMostKept)
      .def("at", &at<Permutation>);
  nb::class_<BlockPermutation>(m, "BlockPermutation")
      .def("__init__",
           [](BlockPermutation* self, uint64_t size, uint64_t key, uint64_t block, uint64_t window) {
             GilReleased release;
             new (self) BlockPermutation(size, key, block, window);
           })
      .def("at", &at<BlockPermutation>);
  nb::class_<AliasTable>(m, "AliasTable")
      .def("__init__",
           [](AliasTable* self, nb::handle weights) {
             auto count = static_cast<uint64_t>(PyArray_SIZE(array_of(weights)));
             auto values = data_of<const double>(weights);
             GilReleased release;
             new (self) AliasTable(values, count);
           })
      .def("at", [](const AliasTable& table, uint64_t key, uint64_t first, int64_t step, uint64_t count) {
        return numbers_at(first, step, count,
                          [&](Places places, int64_t* values) { table.at(key, places, values); });
      });
  nb::class_<Mixture>(m, "Mixture")
      .def("__init__", [](Mixture* self, nb::handle sizes, nb::handle shares,
                          uint64_t key) { new (self) Mixture(datasets_of(sizes, shares), key); })
      .def("at", &positions_at)
      .def("end", &Mixture::end);
}

}  // namespace mmap_ninja
