// Edits for Python.

#include <string.h>

#include "column.h"

namespace mmap_ninja {
namespace {

// The edits after further lines of the log; `first` is the number of the first line.
PyEdits apply(const PyEdits& self, nb::bytes log, uint64_t rows, const std::string& path, uint64_t first) {
  std::vector<Edit> lines(log.size() / sizeof(Edit));
  if (!lines.empty()) memcpy(lines.data(), log.c_str(), lines.size() * sizeof(Edit));
  PyEdits after;
  Status status;
  {
    GilReleased release;
    status = Edits::apply(self.edits, lines, rows, &after.edits);
  }
  status.row += first;
  check(status, path);
  return after;
}

// Tuples of numbers as rows of an array.
template <typename Item, typename... Fields>
nb::object table(const std::vector<Item>& items, Fields... fields) {
  const npy_intp shape[] = {static_cast<npy_intp>(items.size()), static_cast<npy_intp>(sizeof...(fields))};
  nb::object array = owned(PyArray_SimpleNew(2, shape, NPY_INT64));
  auto number = data_of<int64_t>(array);
  for (const Item& item : items) ((*number++ = static_cast<int64_t>(item.*fields)), ...);
  return array;
}

// The first of the rows that is not a sample, or -1.
int64_t first_hidden(const PyEdits& self, nb::handle rows) {
  if (!self.edits) return -1;
  auto count = PyArray_SIZE(array_of(rows));
  auto row = data_of<const int64_t>(rows);
  for (npy_intp k = 0; k < count; ++k)
    if (self.edits->is_hidden(static_cast<uint64_t>(row[k]))) return row[k];
  return -1;
}

// The first of the samples with these base rows that is not stored in its row of `stored`, or -1.
int64_t first_moved(const PyEdits& self, nb::handle rows, nb::handle stored) {
  auto count = PyArray_SIZE(array_of(rows));
  auto row = data_of<const int64_t>(rows), known = data_of<const int64_t>(stored);
  for (npy_intp k = 0; k < count; ++k) {
    auto base = static_cast<uint64_t>(row[k]);
    if ((self.edits ? self.edits->stored_of(base) : base) != static_cast<uint64_t>(known[k])) return row[k];
  }
  return -1;
}

}  // namespace

void define_edits(nb::module_& m) {
  nb::class_<PyEdits>(m, "Edits")
      .def(nb::init<>())
      .def("apply", &apply)
      .def_prop_ro("hidden", [](const PyEdits& self) { return self.edits ? self.edits->hidden() : 0; })
      .def("first_hidden", &first_hidden)
      .def("first_moved", &first_moved)
      .def("ranges",
           [](const PyEdits& self) {
             using Range = Edits::Range;
             return table(self.edits ? self.edits->ranges() : std::vector<Range>{}, &Range::row,
                          &Range::count, &Range::target);
           })
      .def("runs", [](const PyEdits& self, uint64_t rows) {
        using Run = std::pair<uint64_t, uint64_t>;
        return table((self.edits ? *self.edits : Edits()).runs(rows), &Run::first, &Run::second);
      });
  m.attr("EDIT_DELETE") = static_cast<uint64_t>(kDelete);
  m.attr("EDIT_REPLACE") = static_cast<uint64_t>(kReplace);
}

}  // namespace mmap_ninja
