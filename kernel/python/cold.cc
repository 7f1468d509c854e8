// Samples that are not in memory: asking for them before they are read, and telling how many there are.

#include <nanobind/stl/vector.h>

#include <algorithm>

#include "batch.h"
#include "lookahead.h"
#include "parts.h"

namespace mmap_ninja {
namespace {

constexpr uint64_t kFew = 8;  // rows that tell of a batch whether it is in memory

void add_files(const Column& column, std::vector<RowFiles>* files) {
  const Part& part = column.part;
  files->emplace_back(part.spans);
  if (part.shapes.spans().payload()) files->emplace_back(part.shapes.spans());
  auto add_table = [&](const std::shared_ptr<Mapping>& file, uint64_t unit) {
    if (file) files->emplace_back(Spans(file, part.stored * unit, unit, {}));
  };
  add_table(part.frames.sizes, sizeof(uint32_t));
  add_table(part.nulls, 1);
}

// What some rows of a column need, one for each dataset that has some of them.
void add_needed(const Column& column, const std::vector<uint64_t>& rows, std::vector<Needed>* needed) {
  if (column.parts) {
    for (const Piece& piece : pieces_of(column, rows))
      add_needed(*piece.column, rows_of(*piece.column, everything()), needed);
    return;
  }
  if (!column.layout->strides.empty()) {  // each sample is all over the file
    const Spans& spans = column.part.spans;
    if (spans.payload())
      needed->push_back(
          {{RowFiles(Spans(spans.payload(), spans.payload_size(), spans.payload_size(), {}))}, {0}});
    return;
  }
  Needed of{{}, rows};
  if (column.fields)
    for (const Fields::Field& field : column.fields->fields) add_files(*field.column, &of.files);
  else
    add_files(column, &of.files);
  needed->push_back(std::move(of));
}

std::vector<Needed> needed_for(const Column& column, const std::vector<uint64_t>& rows) {
  std::vector<Needed> needed;
  add_needed(column, rows, &needed);
  return needed;
}

bool are_cold(const std::vector<Needed>& needed) {
  return std::any_of(needed.begin(), needed.end(), [](const Needed& some) { return some.are_cold(); });
}

// Some of the samples of a column at equal distances, the first and the last one among them.
std::vector<uint64_t> some_rows(const Column& column) {
  constexpr uint64_t kMost = 1024;
  uint64_t count = column.rows.count();
  std::vector<uint64_t> rows(std::min(count, kMost));
  for (size_t k = 0; k < rows.size(); ++k) {
    double share = rows.size() > 1 ? static_cast<double>(k) / static_cast<double>(rows.size() - 1) : 0;
    rows[k] = column.rows.row(static_cast<uint64_t>(share * static_cast<double>(count - 1)));
  }
  return rows;
}

// Calls use(column) for each dataset that has some of the samples.
template <typename Use>
void visit_datasets(const Column& column, Use use) {
  if (!column.parts) {
    if (column.rows.count()) use(column);
    return;
  }
  for (const Piece& piece : pieces_of(column)) visit_datasets(*piece.column, use);
}

// Bytes of a sample, on average, of the dataset with a row.
double mean_size(const Column& column, uint64_t row) {
  if (column.fields) {
    double size = 0;
    for (const Fields::Field& field : column.fields->fields) size += mean_size(*field.column, row);
    return size;
  }
  if (column.parts) {
    Place place = column.parts->of(row);
    const Column& part = *column.parts->at(place.part);
    return mean_size(part, part.rows.row(place.position));
  }
  const Spans& spans = column.part.spans;
  if (!spans.index().starts) return static_cast<double>(spans.unit());
  return static_cast<double>(spans.payload_size()) /
         static_cast<double>(std::max<uint64_t>(column.part.stored, 1));
}

// The number of rows from the first sample's to the last one's.
uint64_t rows_within(Reader& reader) {
  ColumnPtr column = reader.column;
  uint64_t all = 0;
  visit_datasets(*column, [&](const Column& of) {
    std::vector<uint64_t> rows = some_rows(of);
    auto [first, last] = std::minmax_element(rows.begin(), rows.end());
    all += *last - *first + 1;
  });
  return all;
}

void prefetch(Reader& reader, nb::handle indices) {
  ColumnPtr column = reader.column;
  check_files(*column);
  std::vector<Needed> needed = needed_for(*column, rows_of(*column, indices));
  GilReleased release;
  for (const Needed& some : needed) some.ask_for();
}

bool are_cold(Reader& reader, nb::handle indices) {
  ColumnPtr column = reader.column;
  std::vector<uint64_t> rows = rows_of(*column, indices);
  std::vector<Needed> needed = needed_for(*column, some_of(rows.data(), rows.size(), kFew));
  GilReleased release;
  return are_cold(needed);
}

void read_in(Reader& reader, nb::handle indices) {
  ColumnPtr column = reader.column;
  check_files(*column);
  std::vector<Needed> needed = needed_for(*column, rows_of(*column, indices));
  GilReleased release;
  for (const Needed& some : needed)
    for (const RowFiles& files : some.files) files.read_in(some.rows.data(), some.rows.size());
}

double residency(Reader& reader) {
  ColumnPtr column = reader.column;
  Residency all;
  visit_datasets(*column, [&](const Column& of) {
    check_files(of);
    std::vector<Needed> needed = needed_for(of, some_rows(of));
    GilReleased release;
    for (const Needed& some : needed) {
      const std::vector<uint64_t>& rows = some.rows;
      double weight = static_cast<double>(of.rows.count()) / static_cast<double>(rows.size());
      for (const RowFiles& files : some.files)
        all += of.rows.is_contiguous() ? files.residency_between(rows.front(), rows.back())
                                       : files.residency(rows.data(), rows.size()) * weight;
    }
  });
  return all.bytes > 0 ? all.cached / all.bytes : 1;
}

}  // namespace

void ask_if_cold(const Column& column, const std::vector<uint64_t>& rows, Hints& hints) {
  // Asking takes a few microseconds for each file, and reading so many bytes a hundred times as long.
  constexpr double kOften = uint64_t{4} << 20;
  constexpr uint8_t kSure = 8;  // batches in a row of which nothing was found missing
  if (rows.size() < 2) return;
  hints.unasked += static_cast<double>(rows.size()) * mean_size(column, rows[0]);
  if (hints.cold == 0 && hints.is_asked && hints.unasked < kOften) return;
  hints.is_asked = true;
  hints.unasked = 0;
  if (are_cold(needed_for(column, some_of(rows.data(), rows.size(), kFew))))
    hints.cold = kSure;
  else if (hints.cold)
    --hints.cold;
  if (hints.cold == 0) return;
  std::vector<Needed> needed = needed_for(column, rows);
  GilReleased release;
  for (const Needed& some : needed) some.ask_for();
}

void define_cold(nb::class_<Reader>& column) {
  column.def("prefetch", &prefetch, nb::arg().none())
      .def("are_cold", nb::overload_cast<Reader&, nb::handle>(&are_cold), nb::arg().none())
      .def("read_in", &read_in, nb::arg().none())
      .def("residency", &residency)
      .def_prop_ro("rows_within", &rows_within)
      .def_prop_ro("mean_size", [](Reader& reader) {
        ColumnPtr column = reader.column;
        return column->rows.count() ? mean_size(*column, column->rows.row(0)) : 0;
      });
}

void define_cold(nb::module_& m) {
  nb::class_<Lookahead>(m, "Lookahead")
      .def(nb::init<>())
      .def("ask_for",
           [](Lookahead& self, Reader& reader, nb::handle indices) {
             ColumnPtr column = reader.column;
             return self.ask_for(needed_for(*column, rows_of(*column, indices)));
           })
      .def("wait_for",
           [](Lookahead& self, uint64_t request) {
             GilReleased release;
             self.wait_for(request);
           })
      .def("stream",
           [](Lookahead& self, Reader& reader) {
             ColumnPtr column = reader.column;
             std::vector<Needed> needed;
             visit_datasets(*column, [&](const Column& of) { add_needed(of, some_rows(of), &needed); });
             self.stream(std::move(needed));
           })
      .def_prop_ro("warm", &Lookahead::warm)
      .def_prop_ro("is_idle", &Lookahead::is_idle)
      .def("stop", [](Lookahead& self) {
        GilReleased release;
        self.stop();
      });
}

}  // namespace mmap_ninja
