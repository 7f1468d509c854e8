// Reading for a call: mapped files are guarded against truncation, others are read into memory.

#include <numeric>

#include "batch.h"

namespace mmap_ninja {
namespace {

Status sizes_of_files(const Column& column) {
  uint64_t rows = column.part.stored;
  Status status = column.part.spans.check_sizes(rows);
  if (status.ok()) status = column.part.shapes.spans().check_sizes(rows);
  if (status.ok() && column.part.frames.sizes)
    status = column.part.frames.sizes->check_size(rows * sizeof(uint32_t));
  return status.ok() && column.part.nulls ? column.part.nulls->check_size(rows) : status;
}

// A column, perhaps of records, and the rows to read.
struct Wanted {
  const Column& column;
  std::vector<Range> ranges{};

  std::shared_ptr<Column> fetch(const std::vector<uint64_t>& rows, const FetchOptions& options) const;
};

std::shared_ptr<Column> Wanted::fetch(const std::vector<uint64_t>& rows, const FetchOptions& options) const {
  auto fetched = std::make_shared<Column>();
  uint64_t count = rows.size();
  fetched->kind = column.kind;
  fetched->rows = RowMap(count);
  fetched->part.stored = count;
  fetched->layout = column.layout;
  fetched->wrapper = column.wrapper;
  fetched->part.frames.codec = column.part.frames.codec;
  fetched->copies = column.copies || options.one_by_one;
  fetched->is_frozen = column.is_frozen || (options.one_by_one && !column.copies);
  fetched->origins = rows;
  if (!column.part.spans.payload()) return fetched;
  Status status;
  {
    GilReleased release;
    status = column.layout->strides.empty()
                 ? mmap_ninja::fetch(column.part.spans, ranges.data(), count, &fetched->part.spans)
                 : fetch_scattered(column.part.spans, rows.data(), count, &fetched->part.spans);
    if (status.ok())
      status = mmap_ninja::fetch(column.part.shapes, rows.data(), count, &fetched->part.shapes);
    if (status.ok() && column.part.frames.sizes)
      status = mmap_ninja::fetch(column.part.frames.sizes, sizeof(uint32_t), rows.data(), count,
                                 &fetched->part.frames.sizes);
    if (status.ok() && column.part.nulls)
      status = mmap_ninja::fetch(column.part.nulls, 1, rows.data(), count, &fetched->part.nulls);
  }
  check(status, column.path());
  if (!column.layout->dtype.is_none()) fetched->renew_views();
  return fetched;
}

}  // namespace

void check(const Status& status, const Column& column) {
  if (status.ok()) [[likely]]
    return;
  Status named = status;
  named.row = column.origin(status.row);
  raise(named, column.path());
}

void check_sizes(const Column& column) {
  if (column.access == Access::map) check_files(column);
}

void check_files(const Column& column) {
  check(sizes_of_files(column), column.path());
  if (!column.fields) return;
  for (const Fields::Field& field : column.fields->fields)
    check(sizes_of_files(*field.column), field.column->path());
}

ColumnPtr fetch(const Column& column, const std::vector<uint64_t>& asked, const FetchOptions& options) {
  std::vector<Wanted> wanted;
  if (column.fields) {
    for (const Fields::Field& field : column.fields->fields) wanted.push_back({*field.column});
  } else {
    wanted.push_back({column});
  }
  for (Wanted& from : wanted) {
    from.ranges.resize(asked.size());
    Status status;
    {
      GilReleased release;
      status = locate(from.column.part.spans, asked.data(), asked.size(), from.ranges.data());
    }
    check(status, from.column.path());
  }
  uint64_t bytes = 0;
  size_t count = 0;
  for (; count < asked.size(); ++count) {
    for (const Wanted& from : wanted)
      if (__builtin_add_overflow(bytes, from.ranges[count].size, &bytes))
        raise({.code = Code::overflow, .what = "batch"}, column.path());
    if (count && bytes > options.most_bytes) break;
  }
  std::vector<uint64_t> rows(asked.begin(), asked.begin() + static_cast<std::ptrdiff_t>(count));
  if (!column.fields) return wanted[0].fetch(rows, options);
  auto fields = std::make_shared<Fields>(*column.fields);
  for (size_t k = 0; k < wanted.size(); ++k) fields->fields[k].column = wanted[k].fetch(rows, options);
  auto fetched = std::make_shared<Column>();
  fetched->kind = column.kind;
  fetched->copies = column.copies || options.one_by_one;
  fetched->rows = RowMap(count);
  fetched->layout = column.layout;
  fetched->fields = std::move(fields);
  fetched->is_direct = false;
  fetched->origins = std::move(rows);
  return fetched;
}

Batch read_rows(const ColumnPtr& column, std::vector<uint64_t> rows) {
  if (column->access == Access::map) {
    check_sizes(*column);
    return {column, std::move(rows)};
  }
  Batch batch{fetch(*column, rows, {}), std::move(rows)};
  std::iota(batch.rows.begin(), batch.rows.end(), 0);
  return batch;
}

Batch read_batch(const ColumnPtr& column, std::vector<uint64_t> rows, Hints& hints) {
  ask_if_cold(*column, rows, hints);
  return read_rows(column, std::move(rows));
}

Batch read_batch(Reader& reader, nb::handle indices) {
  ColumnPtr column = reader.column;
  return read_batch(column, rows_of(*column, indices), reader.hints);
}

}  // namespace mmap_ninja
