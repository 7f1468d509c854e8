#include "spans.h"

#include <string.h>

#include <algorithm>
#include <atomic>

#include "copies.h"
#include "threads.h"

namespace mmap_ninja {
namespace {

// The rows that one thread checks.
struct Order {
  const uint64_t* offsets;
  uint64_t count, threads;
  std::atomic<bool> holds{true};

  static void check(void* context, uint64_t thread) {
    auto& order = *static_cast<Order*>(context);
    uint64_t begin = order.count * thread / order.threads;
    uint64_t end = order.count * (thread + 1) / order.threads;
    bool holds = true;
    for (uint64_t row = begin; row < end; ++row) holds &= order.offsets[row] <= order.offsets[row + 1];
    if (!holds) order.holds = false;
  }
};

}  // namespace

Status Spans::check_sizes(uint64_t rows) const {
  Status status = payload_ ? payload_->check_size(payload_size_) : Status{};
  if (!index_.starts || !status.ok()) return status;
  if (index_.starts != index_.ends) status = index_.starts->check_size(rows * sizeof(uint64_t));
  return status.ok() ? index_.ends->check_size(rows * sizeof(uint64_t) + index_.lead) : status;
}

Status check_order(const uint64_t* offsets, uint64_t first, uint64_t count, uint64_t payload_units) {
  constexpr uint64_t kRowsPerThread = uint64_t{1} << 20;  // a few hundred microseconds
  uint64_t threads = std::clamp<uint64_t>(count / kRowsPerThread, 1, most_threads());
  Order order{offsets, count, threads};
  run_threads(threads, Order::check, &order);
  uint64_t end = offsets[count];
  if (order.holds && end <= payload_units) return {};
  for (uint64_t k = 0; k < count; ++k)
    if (offsets[k] > offsets[k + 1] || offsets[k + 1] > payload_units)
      return {.code = Code::bad_offsets, .row = first + k, .found = offsets[k], .expected = offsets[k + 1]};
  return {.code = Code::bad_offsets, .row = first + count, .found = end, .expected = payload_units};
}

void Spans::prefetch_payload(uint64_t row) const {
  Span span;
  if (at(row, &span).ok()) prefetch_span(span);
}

void prefetch_span(Span span) {
  // The CPU's own prefetcher takes over after the first lines of a long sample.
  constexpr uint64_t kLine = 64;
  constexpr uint64_t kLines = 24;
  const uint8_t* end = span.data + std::min(span.size, kLine * kLines);
  for (const uint8_t* line = span.data; line < end; line += kLine) __builtin_prefetch(line);
}

Status measure(const Spans& spans, const uint64_t* rows, uint64_t count, uint64_t unit, int64_t* offsets) {
  constexpr uint64_t kAhead = 16;
  uint64_t total = 0;
  offsets[0] = 0;
  for (uint64_t k = 0; k < count; ++k) {
    if (k + kAhead < count) spans.prefetch_offsets(rows[k + kAhead]);
    uint64_t begin, size;
    if (Status status = spans.range(rows[k], &begin, &size); !status.ok()) return status;
    if (__builtin_add_overflow(total, size, &total) || total > INT64_MAX)
      return {.code = Code::overflow, .what = "batch"};
    offsets[k + 1] = static_cast<int64_t>(total / unit);
  }
  return {};
}

Status gather(const Spans& spans, const uint64_t* rows, uint64_t count, uint64_t unit, const int64_t* offsets,
              uint8_t* values) {
  Into where = into(static_cast<uint64_t>(offsets[count]) * unit);
  return visit(spans, rows, count, [&](uint64_t k, Span span) -> Status {
    // `measure` read the same offsets; if the file changed since, the copy must not leave its buffer.
    if (span.size != static_cast<uint64_t>(offsets[k + 1] - offsets[k]) * unit)
      return {.code = Code::bad_offsets, .row = rows[k], .found = 0, .expected = span.size};
    copy_bytes(values + static_cast<uint64_t>(offsets[k]) * unit, span.data, span.size, where);
    return {};
  });
}

namespace {

// With a size known to the compiler, a copy is one or two instructions.
template <uint64_t size>
void gather_small(const Spans& spans, const uint64_t* rows, uint64_t count, uint8_t* values) {
  const uint8_t* base = spans.payload()->data();
  for (uint64_t k = 0; k < count; ++k) memcpy(values + k * size, base + rows[k] * size, size);
}

}  // namespace

void gather_rows(const Spans& spans, const uint64_t* rows, uint64_t count, uint8_t* values) {
  uint64_t size = spans.unit();
  switch (spans.is_dense() ? size : 0) {
    case 1:
      return gather_small<1>(spans, rows, count, values);
    case 2:
      return gather_small<2>(spans, rows, count, values);
    case 4:
      return gather_small<4>(spans, rows, count, values);
    case 8:
      return gather_small<8>(spans, rows, count, values);
    default:
      (void)visit(spans, rows, count, [&, where = into(count * size)](uint64_t k, Span span) -> Status {
        copy_bytes(values + k * size, span.data, size, where);
        return {};
      });
  }
}

Status find(const Spans& spans, const uint64_t* rows, uint64_t count, Span wanted, uint64_t* k) {
  for (*k = 0; *k < count; ++*k) {
    Span span;
    if (Status status = spans.at(rows[*k], &span); !status.ok()) return status;
    if (span.size == wanted.size && memcmp(span.data, wanted.data, wanted.size) == 0) break;
  }
  return {};
}

}  // namespace mmap_ninja
