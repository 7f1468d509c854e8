// Iteration over samples, with read-ahead.

#include <algorithm>

#include "batch.h"
#include "decode.h"
#include "parts.h"

namespace mmap_ninja {
namespace {

// Iterates over the samples that the handle saw when the iterator was made, even if the handle changes.
struct Iterator {
  Reader reader;
  uint64_t next = 0;
  std::shared_ptr<const Decoded> ahead;  // decoded samples of a compressed column, from `ahead_first` on
  uint64_t ahead_first = 0;
  uint64_t run_first = 0;  // first position of a run of consecutively stored samples
  uint64_t run_count = 0;
  uint64_t run_row = 0;
  ColumnPtr chunk = {};  // if files are not mapped: samples from `chunk_first` on
  uint64_t chunk_first = 0;
  uint64_t next_look = 0;  // position at which the next read-ahead starts
  uint64_t populated = 0;  // bytes of the private maps, since the last fresh ones

  // The row where a sample is stored; looked up once per run.
  uint64_t row(const RowMap& rows, uint64_t position) {
    if (position - run_first >= run_count) {
      run_first = position;
      run_row = rows.row(position, &run_count);
    }
    return run_row + (position - run_first);
  }

  static constexpr uint64_t kStep = uint64_t{2} << 20;
  static constexpr uint64_t kMostUnseen = 16;

  // Reads ahead in a sequential pass, once per map: page faults cost as much as the copies.
  Status read_ahead(const Column& column, uint64_t position, uint64_t row) {
    next_look = position + kMostUnseen;
    // Not at a replaced sample, since the next one is elsewhere.
    if (!column.rows.is_ordered() || column.rows.base(position) != row) return {};
    if (!column.fields) return read_ahead_of(column, position, row);
    for (const Fields::Field& field : column.fields->fields)
      if (Status status = read_ahead_of(*field.column, position, row); !status.ok()) return status;
    return {};
  }

  Status read_ahead_of(const Column& column, uint64_t position, uint64_t row) {
    const Spans& spans = column.part.spans;
    uint64_t begin, size;
    if (!column.layout->strides.empty() || !spans.payload() || !spans.range(row, &begin, &size).ok())
      return {};
    Mapping& payload = gives_views(column) ? column.part.views->mapping() : *spans.payload();
    next_look =
        std::min(next_look, position + std::max<uint64_t>(kStep / 2 / std::max<uint64_t>(size, 1), 1));
    uint64_t end = std::min(begin + size + kStep / 2, spans.payload_size());
    if (payload.is_populated(begin, end)) [[likely]]
      return {};
    end = std::min(begin + size + kStep, spans.payload_size());
    if (gives_views(column)) populated += end - begin;
    GilReleased release;
    payload.will_need(end, std::min(end + kStep, spans.payload_size()));
    return payload.populate(begin, end);
  }

  // Goes on with fresh private maps now and then if arrays are written to, since such pages stay in memory
  // until their map goes.
  void limit_memory() {
    constexpr uint64_t kMostPopulated = uint64_t{256} << 20;
    if (populated < kMostPopulated) return;
    reader.column = without_written(reader.column, 2 * populated);
    populated = 0;
  }

  // If files are not mapped: the chunk of samples with a position, read now if need be. Sets `position` to
  // that in the chunk.
  ColumnPtr chunk_of(uint64_t* position) {
    // Doubling: a caller that wants one sample does not wait for many, and at most twice as many are read as
    // used.
    constexpr uint64_t kMost = 256, kMostBytes = uint64_t{1} << 20;
    ColumnPtr kept = chunk;
    uint64_t first = chunk_first, count = kept ? kept->rows.count() : 0;
    if (*position - first >= count) {
      const Column& column = *reader.column;
      count = count && *position == first + count ? std::min(2 * count, kMost) : 1;
      if (!column.layout->strides.empty()) count = column.rows.count();  // each sample needs the whole file
      std::vector<uint64_t> rows(std::min(count, column.rows.count() - *position));
      for (size_t k = 0; k < rows.size(); ++k) rows[k] = column.rows.row(*position + k);
      FetchOptions options{.most_bytes = kMostBytes, .one_by_one = true};
      try {
        kept = fetch(column, rows, options);
      } catch (nb::python_error&) {  // one of them is damaged: return the others
        if (rows.size() == 1) throw;
        rows.resize(1);
        kept = fetch(column, rows, options);
      }
      chunk = kept;
      chunk_first = first = *position;
      ahead.reset();
    }
    *position -= first;
    return kept;
  }
};

PyObject* next_fetched(Iterator& iterator, uint64_t position);
PyObject* next_decoded(Iterator& iterator, const Column& column, uint64_t position, uint64_t row);

PyObject* iterator_next(PyObject* self) {
  if (!nb::inst_ready(self)) [[unlikely]] {
    PyErr_SetString(PyExc_ValueError, "iterators are only made by iter(dataset)");
    return nullptr;
  }
  Iterator* iterator = nb::inst_ptr<Iterator>(self);
  const Column* column = iterator->reader.column.get();
  if (iterator->next >= column->rows.count()) return nullptr;
  // Advanced before the GIL is released below, since other threads may share the iterator.
  uint64_t position = iterator->next++;
  if (column->access == Access::pread) return next_fetched(*iterator, position);
  if (position % 256 == 0 && !succeeds([&] { check_sizes(*column); })) return nullptr;
  uint64_t row = iterator->row(column->rows, position);
  if (position >= iterator->next_look) {
    ColumnPtr kept = iterator->reader.column;
    Status status = iterator->read_ahead(*kept, position, row);
    if (!status.ok()) {
      set_error(status, kept->path());
      return nullptr;
    }
    iterator->limit_memory();
    column = iterator->reader.column.get();
  }
  if (column->part.frames.codec) return next_decoded(*iterator, *column, position, row);
  return get(iterator->reader, *column, row);
}

// A sample of files that are not mapped.
[[gnu::noinline]] PyObject* next_fetched(Iterator& iterator, uint64_t position) {
  ColumnPtr chunk;
  if (!succeeds([&] { chunk = iterator.chunk_of(&position); })) return nullptr;
  if (chunk->part.frames.codec) return next_decoded(iterator, *chunk, position, position);
  return get(iterator.reader, *chunk, position);
}

// A sample of a compressed column. The next ones are decoded together with it, on several threads.
[[gnu::noinline]] PyObject* next_decoded(Iterator& iterator, const Column& column, uint64_t position,
                                         uint64_t row) {
  // As for chunks; for a sample in a chunk, doubling has already happened.
  constexpr uint64_t kMost = 256;
  std::shared_ptr<const Decoded> ahead = iterator.ahead;
  uint64_t at = position - iterator.ahead_first;
  if (!ahead || at >= ahead->count) {
    uint64_t count = ahead && at == ahead->count ? std::min(2 * ahead->count, kMost) : 1;
    if (column.is_fetched()) count = kMost;
    std::vector<uint64_t> rows(std::min(count, column.rows.count() - position));
    for (size_t k = 0; k < rows.size(); ++k) rows[k] = column.rows.row(position + k);
    auto decoded = std::make_shared<Decoded>();
    Status status = decoded->decode(column, rows.data(), rows.size());
    if (decoded->count == 0) {
      status.row = column.origin(status.row);
      set_error(status, column.path());
      return nullptr;
    }
    ahead = std::move(decoded);
    if (!column.is_fetched() || iterator.chunk.get() == &column) {  // no other thread has advanced meanwhile
      iterator.ahead = ahead;
      iterator.ahead_first = position;
    }
    at = 0;
  }
  Status status;
  PyObject* sample = decode_plain(column, row, ahead->at(at), &iterator.reader.hints, &status);
  if (sample || status.ok()) [[likely]]
    return sample;
  status.row = column.origin(row);
  set_error(status, column.path());
  return nullptr;
}

PyObject* itself(PyObject* self) {
  Py_INCREF(self);
  return self;
}

// Makes the private maps at once, so that the next iterator starts on others, whichever is read first.
void open_views(const Column& column) {
  if (column.fields) {
    for (const Fields::Field& field : column.fields->fields) open_views(*field.column);
  } else if (column.part.views && gives_views(column)) {
    column.part.views->open();
  }
}

// An iterator over a column that nobody has written to.
nb::object over(const Reader& reader);

// Iterates over the samples of several parts: over those of one part at a time.
struct PartsIterator {
  static constexpr uint64_t kLong = 16;  // samples that are worth an iterator of their own

  Reader reader;
  uint64_t next = 0;
  uint64_t one_by_one = 0;  // how many of the next ones are read without an iterator
  nb::object of_part = {};  // an iterator over the samples before `next`

  uint64_t left() const { return reader.column->rows.count() - next; }

  // Goes on with the next run of samples of one part.
  void advance() {
    ColumnPtr column = reader.column;
    const Parts& parts = *column->parts;
    uint64_t first = next, row = column->rows.row(first);
    size_t part = parts.of(row).part;
    ColumnPtr opened = parts.at(part);  // which may run Python code, meanwhile other threads go on
    uint64_t count = 1, most = std::min(left(), kLong), size = parts.ends()[part] - parts.start(part);
    while (count < most && column->rows.row(first + count) - parts.start(part) < size) ++count;
    if (count < kLong) {
      check_sizes(*opened);
      if (next == first) one_by_one = count;
      return;
    }
    Piece piece = run_at(*column, first);
    nb::object iterator = over({piece.column, reader.hints});
    if (next != first) return;
    next += piece.count();
    of_part = std::move(iterator);
  }
};

PyObject* parts_iterator_next(PyObject* self) {
  if (!nb::inst_ready(self)) [[unlikely]] {
    PyErr_SetString(PyExc_ValueError, "iterators are only made by iter(dataset)");
    return nullptr;
  }
  PartsIterator* iterator = nb::inst_ptr<PartsIterator>(self);
  for (;;) {
    if (iterator->of_part.is_valid()) {
      nb::object of_part = iterator->of_part;  // another thread may replace it
      PyObject* sample = Py_TYPE(of_part.ptr())->tp_iternext(of_part.ptr());
      if (sample || PyErr_Occurred()) return sample;
      if (iterator->of_part.is(of_part)) iterator->of_part.reset();
    } else if (iterator->one_by_one) {
      --iterator->one_by_one;
      return get_of_parts(iterator->reader, iterator->reader.column->rows.row(iterator->next++));
    } else if (iterator->left() == 0) {
      return nullptr;
    } else if (!succeeds([&] { iterator->advance(); })) {
      return nullptr;
    }
  }
}

nb::object over(const Reader& reader) {
  if (reader.column->parts) return nb::cast(PartsIterator{reader});
  open_views(*reader.column);
  return nb::cast(Iterator{reader});
}

}  // namespace

PyObject* new_iterator(Reader& reader) {
  try {
    reader.column = fresh(reader.column);
    return over(reader).release().ptr();
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_MemoryError, error.what());
  }
  return nullptr;
}

void define_iterator(nb::module_& m) {
  static PyType_Slot iterator_slots[] = {
      {Py_tp_iter, reinterpret_cast<void*>(itself)},
      {Py_tp_iternext, reinterpret_cast<void*>(iterator_next)},
      {0, nullptr},
  };
  nb::class_<Iterator>(m, "SamplesIterator", nb::type_slots(iterator_slots))
      .def("__length_hint__", [](const Iterator& it) { return it.reader.column->rows.count() - it.next; });
  static PyType_Slot parts_iterator_slots[] = {
      {Py_tp_iter, reinterpret_cast<void*>(itself)},
      {Py_tp_iternext, reinterpret_cast<void*>(parts_iterator_next)},
      {0, nullptr},
  };
  nb::class_<PartsIterator>(m, "PartsIterator", nb::type_slots(parts_iterator_slots))
      .def("__length_hint__", [](const PartsIterator& it) {
        Py_ssize_t of_part = it.of_part.is_valid() ? PyObject_LengthHint(it.of_part.ptr(), 0) : 0;
        if (of_part < 0) throw nb::python_error();
        return it.left() + static_cast<uint64_t>(of_part);
      });
}

}  // namespace mmap_ninja
