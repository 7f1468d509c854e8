// Spans over real maps: every wrong offset is refused, in every function, and nothing outside is read.

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "check.h"
#include "rows.h"
#include "spans.h"

using namespace mmap_ninja;

namespace {

int temporary(const void* data, size_t size) {
  char path[] = "/tmp/test_spans-XXXXXX";
  int fd = mkstemp(path);
  CHECK(fd >= 0);
  unlink(path);
  CHECK(pwrite(fd, data, size, 0) == static_cast<ssize_t>(size));
  return fd;
}

std::shared_ptr<Mapping> map(const void* data, size_t size) {
  int fd = temporary(data, size);
  std::shared_ptr<Mapping> mapping;
  CHECK(Mapping::open(fd, size, Access::map, "data", &mapping).ok());
  close(fd);
  return mapping;
}

Spans spans_of(const std::string& payload, const std::vector<uint64_t>& offsets) {
  auto index = map(offsets.data(), offsets.size() * sizeof(uint64_t));
  return {map(payload.data(), payload.size()), payload.size(), 1, {index, index, sizeof(uint64_t)}};
}

std::string text(const Spans& spans, uint64_t row) {
  Span span;
  CHECK(spans.at(row, &span).ok());
  return {reinterpret_cast<const char*>(span.data), span.size};
}

void test_rows_and_maps_of_rows() {
  Spans spans = spans_of("abbccc", {0, 1, 3, 3, 6});
  CHECK(text(spans, 0) == "a" && text(spans, 1) == "bb" && text(spans, 2).empty() && text(spans, 3) == "ccc");
  RowMap all(4), backwards = all.select(3, -2, 2), again = backwards.select(1, -1, 2);
  CHECK(backwards.row(0) == 3 && backwards.row(1) == 1 && again.row(0) == 1 && again.row(1) == 3);
  std::shared_ptr<int64_t[]> chosen(new int64_t[2]{3, 2});
  RowMap mapped(2, std::move(chosen)), turned = mapped.select(1, -1, 2);
  CHECK(mapped.row(0) == 3 && mapped.base(1) == 2 && turned.row(0) == 2 && turned.row(1) == 3);
  CHECK(all.is_contiguous() && all.is_range() && all.select(1, 1, 2).is_contiguous());
  CHECK(backwards.is_range() && !backwards.is_contiguous() && !mapped.is_range() && !mapped.is_ordered());
}

void test_bad_offsets_are_refused_everywhere() {
  for (uint64_t bad : {uint64_t{7}, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX}) {
    Spans spans = spans_of("abbccc", {0, 1, bad, 3, 6});
    Span span;
    for (uint64_t row : {1, 2}) {
      Status status = spans.at(row, &span);
      CHECK(status.code == Code::bad_offsets && status.row == row);
    }
    CHECK(text(spans, 0) == "a" && text(spans, 3) == "ccc");
    const uint64_t rows[] = {0, 3, 1, 2};
    int64_t ends[5];
    CHECK(measure(spans, rows, 4, 1, ends).code == Code::bad_offsets);
    CHECK(measure(spans, rows, 2, 1, ends).ok() && ends[2] == 4);
    const int64_t promised[] = {0, 1, 4, 5, 6};
    uint8_t values[8] = {};
    CHECK(gather(spans, rows, 4, 1, promised, values).code == Code::bad_offsets);
    uint64_t found;
    CHECK(find(spans, rows, 4, {reinterpret_cast<const uint8_t*>("zz"), 2}, &found).code ==
          Code::bad_offsets);
    for (uint64_t row = 0; row < 4; ++row) spans.prefetch_payload(row);
  }
}

void test_gather_copies_in_the_asked_order() {
  Spans spans = spans_of("abbccc", {0, 1, 3, 3, 6});
  const uint64_t rows[] = {3, 2, 0, 3};
  int64_t ends[5];
  CHECK(measure(spans, rows, 4, 1, ends).ok());
  std::vector<uint8_t> values(static_cast<size_t>(ends[4]));
  CHECK(gather(spans, rows, 4, 1, ends, values.data()).ok());
  CHECK(std::string(values.begin(), values.end()) == "cccaccc");
  // If offsets changed since they were measured, the copy must not leave its buffer.
  const int64_t shorter[] = {0, 2, 2, 3, 6};
  CHECK(gather(spans, rows, 4, 1, shorter, values.data()).code == Code::bad_offsets);
}

void test_units_scale_offsets_and_bounds() {
  auto payload = map("aabbccdd", 8);
  const std::vector<uint64_t> offsets{0, 1, 4, 5};
  auto index = map(offsets.data(), offsets.size() * sizeof(uint64_t));
  Spans spans(payload, 8, 2, {index, index, sizeof(uint64_t)});
  CHECK(text(spans, 0) == "aa" && text(spans, 1) == "bbccdd");
  Span span;
  CHECK(spans.at(2, &span).code == Code::bad_offsets);
}

void test_starts_and_ends_may_be_two_arrays() {
  const uint64_t starts[] = {4, 0}, ends[] = {6, 3};
  Spans spans(map("abbccc", 6), 6, 1, {map(starts, 16), map(ends, 16), 0});
  CHECK(text(spans, 0) == "cc" && text(spans, 1) == "abb");
}

void test_rows_of_one_size_need_no_index() {
  Spans spans(map("aabbcc", 6), 6, 2, {});
  CHECK(text(spans, 0) == "aa" && text(spans, 2) == "cc");
  for (uint64_t size : {1, 2, 3, 4, 8, 16}) {
    std::vector<uint8_t> bytes(size * 5);
    for (size_t k = 0; k < bytes.size(); ++k) bytes[k] = static_cast<uint8_t>(k);
    Spans fixed(map(bytes.data(), bytes.size()), bytes.size(), size, {});
    const uint64_t rows[] = {4, 0, 4};
    std::vector<uint8_t> values(size * 3);
    gather_rows(fixed, rows, 3, values.data());
    for (size_t k = 0; k < 3; ++k)
      CHECK(memcmp(values.data() + k * size, bytes.data() + rows[k] * size, size) == 0);
  }
}

void test_windows_start_at_every_unit_and_runs_say_where() {
  Spans spans = spans_of("abbccc", {0, 1, 3, 3, 6}), windows = spans.windows(2);
  CHECK(text(windows, 0) == "ab" && text(windows, 3) == "cc" && spans.is_dense() && !windows.is_dense());
  const uint64_t rows[] = {3, 0, 1};
  uint8_t values[6];
  gather_rows(windows, rows, 3, values);
  CHECK(memcmp(values, "ccabbb", 6) == 0);
  uint64_t begin, size, count;
  CHECK(windows.range(3, &begin, &size).ok() && begin == 3 && size == 2);
  auto runs = std::make_shared<Runs>();
  runs->step = 2;
  runs->add(10, 2);
  runs->add(0, 0);
  runs->add(20, 3);
  CHECK(runs->is_ordered);
  RowMap map(runs), turned = map.select(4, -2, 3);
  CHECK(map.count() == 5 && map.row(0) == 10 && map.row(1) == 12 && map.row(2) == 20 && map.row(4) == 24);
  CHECK(turned.row(0) == 24 && turned.row(2) == 10 && map.row(3, &count) == 22 && count == 1);
  CHECK(map.base(3) == 22 && map.is_ordered() && !turned.is_ordered() && !map.is_range());
  runs->add(5, 1);
  CHECK(!map.is_ordered());
}

void test_find_stops_at_the_first_match() {
  Spans spans = spans_of("abaaba", {0, 1, 3, 4, 6});
  const uint64_t rows[] = {0, 1, 2, 3};
  uint64_t found;
  CHECK(find(spans, rows, 4, {reinterpret_cast<const uint8_t*>("ba"), 2}, &found).ok() && found == 1);
  CHECK(find(spans, rows + 2, 2, {reinterpret_cast<const uint8_t*>("ba"), 2}, &found).ok() && found == 1);
  CHECK(find(spans, rows, 4, {reinterpret_cast<const uint8_t*>("x"), 1}, &found).ok() && found == 4);
}

void test_a_map_shows_what_is_appended_within_its_capacity() {
  int fd = temporary("ab", 2);
  std::shared_ptr<Mapping> mapping;
  CHECK(Mapping::open(fd, 2, Access::map, "data", &mapping).ok());
  CHECK(mapping->capacity() >= 2);
  std::string more(10000, 'x');
  CHECK(pwrite(fd, more.data(), more.size(), 2) == 10000);
  if (mapping->capacity() >= 10002) {
    CHECK(mapping->populate(0, 10002).ok());
    CHECK(mapping->is_populated(0, 10002) && memcmp(mapping->data() + 2, more.data(), more.size()) == 0);
  }
  close(fd);
}

void test_offsets_out_of_order_are_found_by_every_thread() {
  constexpr uint64_t kRows = uint64_t{1} << 22;
  std::vector<uint64_t> offsets(kRows + 1, 3);
  offsets[0] = 0;
  CHECK(check_order(offsets.data(), 0, kRows, 6).ok());
  for (uint64_t bad : {uint64_t{1}, kRows / 4, kRows / 2, kRows - 1}) {
    std::vector<uint64_t> damaged = offsets;
    damaged[bad] = 4;
    Status status = check_order(damaged.data(), 0, kRows, 6);
    CHECK(status.code == Code::bad_offsets && status.row == bad);
    CHECK(check_order(damaged.data() + bad + 1, bad + 1, kRows - bad - 1, 6).ok());
  }
  const uint64_t past_the_end[] = {7, 7};
  CHECK(check_order(past_the_end, 0, 0, 6).code == Code::bad_offsets);
  CHECK(check_order(past_the_end, 0, 1, 6).code == Code::bad_offsets);
}

}  // namespace

int main() {
  test_rows_and_maps_of_rows();
  test_bad_offsets_are_refused_everywhere();
  test_offsets_out_of_order_are_found_by_every_thread();
  test_gather_copies_in_the_asked_order();
  test_units_scale_offsets_and_bounds();
  test_starts_and_ends_may_be_two_arrays();
  test_rows_of_one_size_need_no_index();
  test_windows_start_at_every_unit_and_runs_say_where();
  test_find_stops_at_the_first_match();
  test_a_map_shows_what_is_appended_within_its_capacity();
}
