#include "fetch.h"

#include <string.h>

#include <vector>

namespace mmap_ninja {
namespace {

constexpr uint64_t kNumber = sizeof(uint64_t);

// How many of the rows, from the first one on, are consecutive.
uint64_t run_of(const uint64_t* rows, uint64_t count) {
  uint64_t run = 1;
  while (run < count && rows[run] == rows[0] + run) ++run;
  return run;
}

Status allocate_numbers(uint64_t count, std::shared_ptr<Mapping>* memory, uint64_t** numbers) {
  uint8_t* bytes;
  Status status = Mapping::allocate(count * kNumber, memory, &bytes);
  if (status.ok()) *numbers = reinterpret_cast<uint64_t*>(bytes);
  return status;
}

// The first bytes of a file: its map, or memory that they are read into.
Status load(const std::shared_ptr<Mapping>& file, uint64_t size, std::shared_ptr<Mapping>* memory) {
  if (file->data()) {
    *memory = file;
    return file->check_size(size);
  }
  uint8_t* bytes;
  Status status = Mapping::allocate(size, memory, &bytes);
  return status.ok() ? file->read(0, size, bytes) : status;
}

}  // namespace

Status locate(const Spans& spans, const uint64_t* rows, uint64_t count, Range* ranges) {
  const Index& index = spans.index();
  if (!index.starts || index.starts->data()) {
    for (uint64_t k = 0; k < count; ++k)
      if (Status status = spans.range(rows[k], &ranges[k].begin, &ranges[k].size); !status.ok())
        return status;
    return {};
  }
  std::vector<uint64_t> numbers;
  uint64_t payload_units = spans.payload_size() / spans.unit();
  for (uint64_t k = 0, run; k < count; k += run) {
    run = run_of(rows + k, count - k);
    bool shared = index.starts == index.ends;
    numbers.resize(shared ? run + 1 : 2 * run);
    auto bytes = reinterpret_cast<uint8_t*>(numbers.data());
    Status status = index.starts->read(rows[k] * kNumber, (run + shared) * kNumber, bytes);
    if (status.ok() && !shared)
      status = index.ends->read(rows[k] * kNumber + index.lead, run * kNumber, bytes + run * kNumber);
    if (!status.ok()) return status;
    const uint64_t* starts = numbers.data();
    const uint64_t* ends = starts + (shared ? 1 : run);
    for (uint64_t j = 0; j < run; ++j) {
      if (starts[j] > ends[j] || ends[j] > payload_units)
        return {.code = Code::bad_offsets, .row = rows[k + j], .found = starts[j], .expected = ends[j]};
      ranges[k + j] = {starts[j] * spans.unit(), (ends[j] - starts[j]) * spans.unit()};
    }
  }
  return {};
}

Status fetch(const Spans& spans, const Range* ranges, uint64_t count, Spans* fetched) {
  uint64_t unit = spans.unit(), total = 0;
  Index index;
  uint64_t* offsets = nullptr;
  if (spans.index().starts) {
    if (Status status = allocate_numbers(count + 1, &index.starts, &offsets); !status.ok()) return status;
    index.ends = index.starts;
    index.lead = kNumber;
    offsets[0] = 0;
  }
  for (uint64_t k = 0; k < count; ++k) {
    if (__builtin_add_overflow(total, ranges[k].size, &total))
      return {.code = Code::overflow, .what = "batch"};
    if (offsets) offsets[k + 1] = total / unit;
  }
  std::shared_ptr<Mapping> payload;
  uint8_t* out;
  if (Status status = Mapping::allocate(total, &payload, &out); !status.ok()) return status;
  for (uint64_t k = 0; k < count;) {
    Range part = ranges[k++];
    for (; k < count && ranges[k].begin == part.begin + part.size; ++k) part.size += ranges[k].size;
    if (Status status = spans.payload()->read(part.begin, part.size, out); !status.ok()) return status;
    out += part.size;
  }
  *fetched = Spans(std::move(payload), total, unit, std::move(index));
  return {};
}

Status fetch_scattered(const Spans& spans, const uint64_t* rows, uint64_t count, Spans* fetched) {
  Index index;
  uint64_t *starts, *ends;
  Status status = allocate_numbers(count, &index.starts, &starts);
  if (status.ok()) status = allocate_numbers(count, &index.ends, &ends);
  std::shared_ptr<Mapping> payload;
  if (status.ok()) status = load(spans.payload(), spans.payload_size(), &payload);
  if (!status.ok()) return status;
  for (uint64_t k = 0; k < count; ++k) {
    starts[k] = rows[k];
    ends[k] = rows[k] + 1;
  }
  *fetched = Spans(std::move(payload), spans.payload_size(), spans.unit(), std::move(index));
  return {};
}

Status fetch(const Shapes& shapes, const uint64_t* rows, uint64_t count, Shapes* fetched) {
  Spans spans(nullptr, 0, 0, {});
  if (shapes.spans().payload()) {
    std::vector<Range> ranges(count);
    Status status = locate(shapes.spans(), rows, count, ranges.data());
    if (status.ok()) status = fetch(shapes.spans(), ranges.data(), count, &spans);
    if (!status.ok()) return status;
  }
  *fetched = Shapes(shapes.form(), std::move(spans));
  return {};
}

Status fetch(const std::shared_ptr<Mapping>& file, uint64_t unit, const uint64_t* rows, uint64_t count,
             std::shared_ptr<Mapping>* fetched) {
  std::shared_ptr<Mapping> memory;
  uint8_t* bytes;
  Status status = Mapping::allocate(count * unit, &memory, &bytes);
  if (status.ok()) status = read_rows(*file, unit, rows, count, bytes);
  *fetched = std::move(memory);
  return status;
}

Status read_rows(const Mapping& file, uint64_t unit, const uint64_t* rows, uint64_t count, uint8_t* out) {
  for (uint64_t k = 0, run; k < count; k += run) {
    run = run_of(rows + k, count - k);
    if (file.data()) {
      memcpy(out + k * unit, file.data() + rows[k] * unit, run * unit);
    } else if (Status status = file.read(rows[k] * unit, run * unit, out + k * unit); !status.ok()) {
      return status;
    }
  }
  return {};
}

}  // namespace mmap_ninja
