// A column over several datasets.

#include "parts.h"

#include <algorithm>
#include <numeric>

#include "batch.h"
#include "decode.h"

namespace mmap_ninja {
namespace {

ColumnPtr with_only(const Column& column, RowMap rows) {
  Column copy = column;
  copy.rows = std::move(rows);
  return std::make_shared<const Column>(std::move(copy));
}

RowMap listed(std::vector<uint64_t>::const_iterator rows, size_t count) {
  std::shared_ptr<int64_t[]> listed(new int64_t[count]);
  std::copy_n(rows, count, listed.get());
  return {count, std::move(listed)};
}

}  // namespace

const ColumnPtr& Sources::at(size_t part) const {
  if (!opened_[part]) {
    ColumnPtr opened = open_(part);
    if (!opened_[part]) opened_[part] = std::move(opened);  // else another thread was faster
  }
  return opened_[part];
}

const ColumnPtr& Parts::at(size_t part) const {
  if (!opened_[part]) [[unlikely]] {
    const ColumnPtr& source = sources_->at(part);
    // Else another thread was faster, and may hold what it found without a reference.
    if (!opened_[part]) opened_[part] = with_rows(*source, source->rows).column;
  }
  return opened_[part];
}

std::shared_ptr<const Parts> Parts::changed(std::function<ColumnPtr(const Column&)> change) const {
  auto open = [sources = sources_, change](size_t part) { return change(*sources->at(part)); };
  return std::make_shared<const Parts>(std::make_shared<const Sources>(ends(), open), is_nullable_);
}

void Parts::find(uint64_t row) const {
  last_ = sources_->ends().find(row);
  last_start_ = start(last_);
  last_count_ = ends()[last_] - last_start_;
}

void Parts::shorten(size_t part, const Column& column) const {
  const Column& of = *opened_[part];
  const Spans& spans = of.part.spans;
  uint64_t unit = column.part.spans.unit();
  bool is_flat = of.part.shapes.form() == ShapeForm::flat && column.part.shapes.form() == ShapeForm::flat;
  bool is_plain = of.is_direct && !of.copies && of.rows.is_contiguous() && !of.part.frames.codec &&
                  of.wrapper.is_none() && of.layout->strides.empty() && unit != 0 && spans.unit() == unit &&
                  spans.is_dense();
  if (!is_plain || (of.kind == SampleKind::ragged && !is_flat)) return;
  uint64_t first = of.rows.row(0);
  Shortcut shortcut{.base = spans.base(), .units = spans.payload_size() / unit};
  if (gives_views(of)) {
    Views& views = *of.part.views;
    views.open_whole();
    if (!views.owner()) return;  // there are no elements, or the system refuses the map
    shortcut = {.base = views.place(spans.base(), 0), .units = views.size() / unit, .owner = views.owner()};
  }
  if (spans.starts()) {
    shortcut.starts = spans.starts() + first;
    shortcut.ends = spans.ends() + first;
  } else {
    uint64_t skipped = std::min(first, shortcut.units);
    shortcut.base += skipped * unit;
    shortcut.units -= skipped;
  }
  if (of.part.nulls) shortcut.nulls = of.part.nulls->data() + first;
  shortcuts_[part] = shortcut;
}

bool find_direct(const Column& column, const std::vector<uint64_t>& rows, std::vector<Found>* found) {
  const Parts& parts = *column.parts;
  std::vector<bool> is_checked(parts.ends().size());
  found->reserve(rows.size());
  for (uint64_t row : rows) {
    auto [of, position] = parts.of(row);
    const Column& part = *parts.at(of);
    if (!is_checked[of]) {
      bool is_direct = part.fields
                           ? part.access == Access::map && !part.parts
                           : part.is_direct && !part.part.frames.codec && part.layout->strides.empty();
      if (!is_direct) return false;
      check_sizes(part);
      is_checked[of] = true;
    }
    Found sample{&part, part.rows.row(position), {nullptr, 0}};
    if (!part.fields) {
      Status status = part.part.spans.at(sample.row, &sample.span);
      status.row = sample.row;
      check(status, part);
      prefetch_span(sample.span);
    }
    found->push_back(sample);
  }
  return true;
}

// ---- pieces

Piece run_at(const Column& column, uint64_t position) {
  constexpr uint64_t kMostListed = 4096;
  const Parts& parts = *column.parts;
  const RowMap& rows = column.rows;
  uint64_t row = rows.row(position), left = rows.count() - position;
  size_t of = parts.of(row).part;
  ColumnPtr part = parts.at(of);
  uint64_t start = parts.start(of), end = parts.ends()[of];
  if (rows.is_range()) {
    int64_t step = left > 1 ? static_cast<int64_t>(rows.row(position + 1)) - static_cast<int64_t>(row) : 1;
    uint64_t room = step > 0 ? end - 1 - row : row - start;
    uint64_t count = std::min(left, room / static_cast<uint64_t>(step > 0 ? step : -step) + 1);
    return {
        with_only(*part, part->rows.select(static_cast<int64_t>(row - start), step, count)), {}, position};
  }
  std::vector<uint64_t> found;
  for (; found.size() < std::min(left, kMostListed); ++position) {
    row = rows.row(position);
    if (row < start || row >= end) break;
    found.push_back(part->rows.row(row - start));
  }
  return {with_only(*part, listed(found.begin(), found.size())), {}, position - found.size()};
}

std::vector<Piece> pieces_of(const Column& column) {
  std::vector<Piece> pieces;
  uint64_t count = column.rows.count();
  if (column.rows.is_range()) {
    for (uint64_t at = 0; at < count; at += pieces.back().count()) pieces.push_back(run_at(column, at));
    return pieces;
  }
  std::vector<uint64_t> rows(count);
  for (uint64_t k = 0; k < count; ++k) rows[k] = column.rows.row(k);
  return pieces_of(column, rows);
}

std::vector<Piece> pieces_of(const Column& column, const std::vector<uint64_t>& rows) {
  const Parts& parts = *column.parts;
  std::vector<size_t> of(rows.size());
  std::transform(rows.begin(), rows.end(), of.begin(), [&](uint64_t row) { return parts.of(row).part; });
  bool is_in_order = std::is_sorted(of.begin(), of.end());
  std::vector<uint64_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  if (!is_in_order)
    std::stable_sort(order.begin(), order.end(), [&](uint64_t a, uint64_t b) { return of[a] < of[b]; });
  std::vector<Piece> pieces;
  std::vector<uint64_t> found;
  for (size_t first = 0, end; first < order.size(); first = end) {
    size_t place = of[order[first]];
    for (end = first; end < order.size() && of[order[end]] == place;) ++end;
    ColumnPtr part = parts.at(place);
    found.clear();
    for (size_t k = first; k < end; ++k) found.push_back(part->rows.row(rows[order[k]] - parts.start(place)));
    Piece piece{with_only(*part, listed(found.begin(), found.size())), {}, first};
    if (!is_in_order)
      piece.places.assign(order.begin() + static_cast<std::ptrdiff_t>(first),
                          order.begin() + static_cast<std::ptrdiff_t>(end));
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

nb::object everything() { return owned(PySlice_New(nullptr, nullptr, nullptr)); }

namespace {

[[gnu::noinline]] PyObject* get_the_long_way(const ColumnPtr& column, Place place, Hints* hints) {
  ColumnPtr kept = column;  // Python code may close the handle
  Reader of_part{nullptr, *hints};
  auto open = [&] {
    of_part.column = kept->parts->at(place.part);
    kept->parts->shorten(place.part, *kept);
  };
  if (!succeeds(open)) return nullptr;
  const Column& part = *of_part.column;
  PyObject* sample = get(of_part, part, part.rows.row(place.position));
  *hints = of_part.hints;
  return sample;
}

// A sample of a column that is not one of records.
PyObject* get_at(const ColumnPtr& column, Place place, Hints* hints) {
  const Shortcut& shortcut = column->parts->shortcut(place.part);
  Span span;
  if (shortcut.find(place.position, column->part.spans.unit(), &span)) [[likely]] {
    if (shortcut.nulls && shortcut.nulls[place.position]) Py_RETURN_NONE;
    Status status;
    PyObject* sample = shortcut.owner ? array_in(*column, span, shortcut.owner)
                                      : decode(*column, place.position, span, false, hints, &status);
    if (sample || status.ok()) [[likely]]
      return sample;
  }
  return get_the_long_way(column, place, hints);
}

}  // namespace

PyObject* get_of_parts(Reader& reader, uint64_t row) {
  const Column& column = *reader.column;
  Place place = column.parts->of(row);
  if (!column.fields) return get_at(reader.column, place, &reader.hints);
  // Each column finds its own shortcut: the records of a part are many objects.
  return record_of(column.fields,
                   [place](const Fields::Field& field) { return get_at(field.column, place, &field.hints); });
}

Reader none_of(const Column& column) {
  Column none = column;
  none.rows = RowMap(0);
  none.parts.reset();
  return {std::make_shared<const Column>(std::move(none))};
}

// ---- batches

namespace {

nb::object owned_sample(const Found& found, Hints* hints) {
  const Column& part = *found.part;
  if (part.fields) return owned(decode_record(part, found.row, true));
  Status status;
  nb::object sample = nb::steal(decode(part, found.row, found.span, true, hints, &status));
  if (!sample.is_valid() && status.ok()) throw nb::python_error();
  status.row = found.row;
  check(status, part);
  return sample;
}

}  // namespace

nb::object list_of_parts(const ColumnPtr& column, const std::vector<uint64_t>& rows, Hints& hints,
                         TakeList take) {
  ask_if_cold(*column, rows, hints);
  std::vector<nb::object> taken(rows.size());
  std::vector<Found> found;
  if (find_direct(*column, rows, &found)) {
    for (size_t k = 0; k < found.size(); ++k) taken[k] = owned_sample(found[k], &hints);
    return list_of(taken);
  }
  visit(hints, pieces_of(*column, rows), [&](const Piece& piece, Reader& of) {
    nb::object list = take(of, everything());
    for (uint64_t k = 0; k < piece.count(); ++k)
      taken[piece.place(k)] = nb::borrow(PyList_GET_ITEM(list.ptr(), static_cast<Py_ssize_t>(k)));
  });
  return list_of(taken);
}

namespace {

// Texts, bytes or 1-D arrays back to back.
nb::tuple jagged_of(const Column& column, const std::vector<Found>& found, nb::object offsets) {
  auto ends = data_of<int64_t>(offsets);
  auto unit = static_cast<int64_t>(std::max<uint64_t>(column.part.spans.unit(), 1));
  for (size_t k = 0; k < found.size(); ++k)
    ends[k + 1] = ends[k] + static_cast<int64_t>(found[k].span.size) / unit;
  auto count = static_cast<npy_intp>(ends[found.size()]);
  nb::object values = column.kind == SampleKind::ragged ? new_samples(column, {count})
                                                        : new_array(static_cast<uint64_t>(count), NPY_UINT8);
  auto to = data_of<uint8_t>(values);
  {
    GilReleased release;
    for (const Found& sample : found) {
      if (sample.span.size) copy_bytes(to, sample.span.data, sample.span.size);
      to += sample.span.size;
    }
  }
  return nb::make_tuple(values, offsets);
}

}  // namespace

nb::tuple jagged_of_parts(Reader& reader, nb::handle indices, TakeJagged take) {
  ColumnPtr column = reader.column;
  std::vector<uint64_t> rows = rows_of(*column, indices);
  ask_if_cold(*column, rows, reader.hints);
  nb::object offsets = new_array(rows.size() + 1, NPY_INT64);
  auto ends = data_of<int64_t>(offsets);
  std::fill_n(ends, rows.size() + 1, 0);
  bool is_flat = column->kind != SampleKind::ragged || column->part.shapes.form() == ShapeForm::flat;
  std::vector<Found> found;
  if (is_flat && find_direct(*column, rows, &found)) return jagged_of(*column, found, offsets);
  std::vector<Piece> pieces = pieces_of(*column, rows);
  std::vector<nb::tuple> taken;
  PyArrayObject* first = nullptr;  // with values, if there are any
  visit(reader.hints, pieces, [&](const Piece& piece, Reader& of) {
    taken.push_back(take(of, everything()));
    nb::handle values = taken.back()[0];
    auto mine = data_of<const int64_t>(taken.back()[1]);
    for (uint64_t k = 0; k < piece.count(); ++k) ends[piece.place(k) + 1] = mine[k + 1] - mine[k];
    PyArrayObject* array = array_of(values);
    bool is_first = !first || PyArray_DIM(first, 0) == 0;
    if (!is_first && PyArray_DIM(array, 0) > 0 &&
        (PyArray_NDIM(array) != PyArray_NDIM(first) ||
         !std::equal(PyArray_DIMS(array) + 1, PyArray_DIMS(array) + PyArray_NDIM(array),
                     PyArray_DIMS(first) + 1)))
      raise(nb::borrow(PyExc_ValueError),
            piece.column->path() +
                ": take_jagged: its samples differ from the batch's first in their trailing "
                "dimensions; use take or take_padded");
    if (is_first) first = array;
  });
  std::partial_sum(ends, ends + rows.size() + 1, ends);
  std::vector<npy_intp> shape{0};
  if (first) shape.assign(PyArray_DIMS(first), PyArray_DIMS(first) + PyArray_NDIM(first));
  shape[0] = static_cast<npy_intp>(ends[rows.size()]);
  nb::object values = column->kind == SampleKind::ragged
                          ? new_samples(*column, shape)
                          : new_array(static_cast<uint64_t>(shape[0]), NPY_UINT8);
  auto unit = static_cast<uint64_t>(PyArray_ITEMSIZE(array_of(values)));
  for (size_t d = 1; d < shape.size(); ++d) unit *= static_cast<uint64_t>(shape[d]);
  for (size_t p = 0; p < pieces.size(); ++p) {
    auto from = data_of<const uint8_t>(taken[p][0]);
    auto mine = data_of<const int64_t>(taken[p][1]);
    for (uint64_t k = 0; k < pieces[p].count(); ++k)
      if (uint64_t size = static_cast<uint64_t>(mine[k + 1] - mine[k]) * unit)
        copy_bytes(data_of<uint8_t>(values) + static_cast<uint64_t>(ends[pieces[p].place(k)]) * unit,
                   from + static_cast<uint64_t>(mine[k]) * unit, size);
  }
  return nb::make_tuple(values, offsets);
}

// ---- making them

namespace {

// The samples of a part in the dtype of all. It differs if none of them has an element, which would decide
// it.
ColumnPtr in_dtype_of(const Column& known, const ColumnPtr& column) {
  nb::handle dtype = known.layout->dtype, own = column->layout->dtype;
  const Spans& spans = column->part.spans;
  if (column->kind != SampleKind::ragged || spans.payload_size() || dtype.is_none() || own.is_none() ||
      PyArray_EquivTypes(reinterpret_cast<PyArray_Descr*>(dtype.ptr()),
                         reinterpret_cast<PyArray_Descr*>(own.ptr())))
    return column;
  Column copy = *column;
  auto layout = std::make_shared<Layout>(*column->layout);
  layout->dtype = known.layout->dtype;
  copy.layout = std::move(layout);
  copy.part.spans = {spans.payload(), 0, known.part.spans.unit(), spans.index()};
  if (column->parts)
    copy.parts = column->parts->changed(
        [known](const Column& part) { return in_dtype_of(known, std::make_shared<const Column>(part)); });
  return std::make_shared<const Column>(std::move(copy));
}

// What Python gives for a part, if it is what is known of it.
ColumnPtr given(nb::handle open, size_t part, const Column& known, uint64_t count) {
  nb::object found = may_run_python([&] { return nb::object(open(part)); });
  if (!nb::isinstance<Reader>(found))
    raise(nb::borrow(PyExc_TypeError), known.path() + ": expected a column");
  const ColumnPtr& column = nb::cast<const Reader&>(found).column;
  if (column->kind != known.kind || column->rows.count() != count)
    raise(nb::borrow(PyExc_ValueError),
          column->path() + ": part " + std::to_string(part) + ": expected " + std::to_string(count) +
              " samples of the kind of the others, found " + std::to_string(column->rows.count()));
  return in_dtype_of(known, column);
}

}  // namespace

void join(Column& column, const std::vector<uint64_t>& counts, nb::object open, bool is_nullable) {
  std::vector<uint64_t> ends(counts.size());
  std::partial_sum(counts.begin(), counts.end(), ends.begin());
  column.rows = RowMap(ends.empty() ? 0 : ends.back());
  column.is_direct = false;
  if (column.rows.count() == 0) return;
  auto opened = [open = std::move(open), known = std::make_shared<const Column>(column),
                 counts](size_t part) { return given(open, part, *known, counts[part]); };
  column.parts =
      std::make_shared<const Parts>(std::make_shared<const Sources>(std::move(ends), opened), is_nullable);
}

void join(Column& column, std::vector<ColumnPtr> open) {
  std::vector<uint64_t> ends;
  for (const ColumnPtr& part : open) ends.push_back((ends.empty() ? 0 : ends.back()) + part->rows.count());
  column.rows = RowMap(ends.back());
  column.is_direct = false;
  column.access = Access::map;
  auto opened = [open = std::move(open)](size_t part) { return open[part]; };
  column.parts =
      std::make_shared<const Parts>(std::make_shared<const Sources>(std::move(ends), opened), false);
}

std::shared_ptr<const Parts> parts_of(const Column& records) {
  const std::shared_ptr<const Parts>& first = records.fields->fields[0].column->parts;
  if (!first) return nullptr;
  auto open = [layout = records.layout, fields = records.fields](size_t part) {
    auto of_part = std::make_shared<Fields>(*fields);
    for (Fields::Field& field : of_part->fields) field.column = field.column->parts->at(part);
    return std::make_shared<const Column>(records_of(layout, std::move(of_part)));
  };
  return std::make_shared<const Parts>(std::make_shared<const Sources>(first->ends(), open), false);
}

}  // namespace mmap_ninja
