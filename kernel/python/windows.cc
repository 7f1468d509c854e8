// Windows: arrays of one shape that start anywhere in the elements of ragged samples.

#include <nanobind/stl/vector.h>

#include <algorithm>

#include "batch.h"
#include "parts.h"

namespace mmap_ninja {
namespace {

// Calls use(range) for each sample of a column, which must have a payload.
template <typename Use>
Status visit_ranges(const Column& column, uint64_t first, uint64_t end, Use use) {
  constexpr uint64_t kAtOnce = 2048;  // so many fit in the CPU's cache
  GilReleased release;
  std::vector<uint64_t> rows(std::min(end - first, kAtOnce));
  std::vector<Range> ranges(rows.size());
  for (; first < end; first += rows.size()) {
    rows.resize(std::min<uint64_t>(end - first, rows.size()));
    for (size_t k = 0; k < rows.size(); ++k) rows[k] = column.rows.row(first + k);
    Status status = locate(column.part.spans, rows.data(), rows.size(), ranges.data());
    if (!status.ok()) return status;
    for (size_t k = 0; k < rows.size(); ++k) use(ranges[k]);
  }
  return {};
}

// The samples back to back, as one range.
Range joined(const Column& column) {
  if (!column.rows.is_contiguous())
    raise(
        nb::borrow(PyExc_ValueError),
        column.path() +
            (column.rows.edits()
                 ? ": windows: samples were deleted or replaced, so they are not in order in the payload; pass "
                   "within_samples=True, or call compact first"
                 : ": windows: a view by steps or indices is not contiguous in the payload; pass "
                   "within_samples=True, or take the windows of the whole dataset"));
  uint64_t count = column.rows.count();
  Range first, last;
  check(visit_ranges(column, 0, 1, [&](Range range) { first = range; }), column);
  check(visit_ranges(column, count - 1, count, [&](Range range) { last = range; }), column);
  uint64_t end = last.begin + last.size;
  if (end < first.begin)
    check({.code = Code::bad_offsets, .row = count - 1, .found = first.begin, .expected = end}, column);
  return {first.begin, end - first.begin};
}

// The samples of a column as documents, for windows of so many elements over all of them.
std::shared_ptr<const Documents> documents_of(const Column& column, uint64_t size) {
  std::vector<uint64_t> ends;
  uint64_t unit = column.part.spans.unit(), row = 0;
  Status status;
  auto add = [&](Range range) {
    uint64_t begin = range.begin / unit;
    if (!ends.empty() && begin != ends.back() && status.ok())  // only in a damaged directory of 0.x
      status = {.code = Code::bad_offsets, .row = row, .found = begin, .expected = ends.back()};
    if (range.size) ends.push_back(begin + range.size / unit);
    ++row;
  };
  check(visit_ranges(column, 0, column.rows.count(), add), column);
  check(status, column);
  return std::make_shared<const Documents>(std::move(ends), size);
}

Reader windows_of_parts(const Column& seen, const std::vector<int64_t>& shape, uint64_t stride,
                        bool within_samples, bool documents);

// Windows of this shape, `stride` steps of the first axis apart: in each sample, or in all of them as one
// sequence. `documents`: whether they are to be described.
Reader windows(const Reader& reader, const std::vector<int64_t>& shape, uint64_t stride, bool within_samples,
               bool documents) {
  ColumnPtr seen = reader.column;
  bool is_valid = !shape.empty() && shape.size() <= kMaxRank && stride != 0 &&
                  std::all_of(shape.begin(), shape.end(), [](int64_t extent) { return extent >= 0; });
  if (seen->kind != SampleKind::ragged || !is_valid)
    raise(nb::borrow(PyExc_TypeError), seen->path() + ": expected ragged samples, a shape and a stride");
  if (seen->parts) return windows_of_parts(*seen, shape, stride, within_samples, documents);
  const Spans& spans = seen->part.spans;
  auto length = static_cast<uint64_t>(shape[0]);
  uint64_t step = spans.unit(), size, apart;  // in bytes, along the first axis
  bool overflows = false;
  for (size_t k = 1; k < shape.size(); ++k)
    overflows |= __builtin_mul_overflow(step, static_cast<uint64_t>(shape[k]), &step);
  overflows |= __builtin_mul_overflow(length, step, &size) || size > INT64_MAX;
  if (__builtin_mul_overflow(stride, step, &apart)) apart = UINT64_MAX;  // farther than any sample is long
  if (overflows) raise({.code = Code::overflow, .what = "window"}, seen->path());
  auto runs = std::make_shared<Runs>();
  Column column;
  if (step != 0 && seen->rows.count() != 0) {
    runs->step = apart / spans.unit();
    check_sizes(*seen);
    auto add = [&](Range range) {
      if (range.size >= size) runs->add(range.begin / spans.unit(), (range.size - size) / apart + 1);
    };
    if (within_samples)
      check(visit_ranges(*seen, 0, seen->rows.count(), add), *seen);
    else
      add(joined(*seen));
    if (documents && !within_samples) column.documents = documents_of(*seen, size / spans.unit());
  }
  column.kind = SampleKind::array;
  column.access = seen->access;
  column.is_direct = seen->is_direct;
  // What is written to a window must not be in the next one.
  column.copies = seen->copies || stride < length;
  column.is_frozen = !seen->copies;
  column.rows = RowMap(std::move(runs));
  column.part.spans = spans.windows(size);
  Layout layout{.path = seen->path(), .dtype = seen->layout->dtype};
  layout.are_windows = true;
  layout.shape.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), layout.shape.dims.begin());
  column.layout = std::make_shared<const Layout>(std::move(layout));
  column.renew_views();
  return {std::make_shared<const Column>(std::move(column))};
}

// The windows of each part, one after another.
Reader windows_of_parts(const Column& seen, const std::vector<int64_t>& shape, uint64_t stride,
                        bool within_samples, bool documents) {
  std::vector<ColumnPtr> parts;
  uint64_t count = seen.rows.count(), most = 1;
  for (uint64_t at = 0; at < count;) {
    Piece piece = run_at(seen, at);
    parts.push_back(windows({piece.column}, shape, stride, within_samples, documents).column);
    if (const auto& of_part = parts.back()->documents) most = std::max(most, of_part->most());
    at += piece.count();
  }
  if (parts.empty()) return windows(none_of(seen), shape, stride, within_samples, documents);
  Column column = *parts[0];
  Layout layout = *column.layout;
  layout.path = seen.path();
  column.layout = std::make_shared<const Layout>(std::move(layout));
  column.documents = std::make_shared<const Documents>(most);
  column.part = {};
  column.part.spans = {nullptr, 0, parts[0]->part.spans.unit(), {}};
  join(column, std::move(parts));
  return {std::make_shared<const Column>(std::move(column))};
}

}  // namespace

void define_windows(nb::class_<Reader>& column) {
  column.def("windows", &windows, nb::arg(), nb::arg(), nb::arg(), nb::arg("documents") = false);
}

}  // namespace mmap_ninja
