// Spans over real maps: every offset that is wrong is refused, at every place, and nothing outside is read.

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "check.h"
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
  CHECK(Mapping::open(fd, size, &mapping).ok());
  close(fd);
  return mapping;
}

Spans spans_of(const std::string& payload, const std::vector<uint64_t>& offsets, RowMap rows) {
  auto index = map(offsets.data(), offsets.size() * sizeof(uint64_t));
  return {map(payload.data(), payload.size()),
          payload.size(),
          1,
          {index, index, sizeof(uint64_t)},
          std::move(rows)};
}

std::string text(const Spans& spans, uint64_t position) {
  Span span;
  CHECK(spans.at(position, &span).ok());
  return {reinterpret_cast<const char*>(span.data), span.size};
}

void test_rows_and_maps_of_rows() {
  const std::vector<uint64_t> offsets{0, 1, 3, 3, 6};
  Spans all = spans_of("abbccc", offsets, RowMap(4));
  CHECK(text(all, 0) == "a" && text(all, 1) == "bb" && text(all, 2).empty() && text(all, 3) == "ccc");
  Spans backwards = spans_of("abbccc", offsets, RowMap(2, 3, -2));
  CHECK(text(backwards, 0) == "ccc" && text(backwards, 1) == "bb");
  std::shared_ptr<int64_t[]> chosen(new int64_t[2]{3, 3});
  Spans twice = spans_of("abbccc", offsets, RowMap(2, std::move(chosen)));
  CHECK(text(twice, 0) == "ccc" && text(twice, 1) == "ccc");
  CHECK(all.rows().is_contiguous() && !backwards.rows().is_contiguous() && !twice.rows().is_contiguous());
}

void test_bad_offsets_are_refused_everywhere() {
  for (uint64_t bad : {uint64_t{7}, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX}) {
    Spans spans = spans_of("abbccc", {0, 1, bad, 3, 6}, RowMap(4));
    Span span;
    for (uint64_t row : {1, 2}) {
      Status status = spans.at(row, &span);
      CHECK(status.code == Code::bad_offsets && status.row == row);
    }
    CHECK(text(spans, 0) == "a" && text(spans, 3) == "ccc");
    const uint64_t positions[] = {0, 3, 1, 2};
    int64_t ends[5];
    CHECK(measure(spans, positions, 4, 1, ends).code == Code::bad_offsets);
    CHECK(measure(spans, positions, 2, 1, ends).ok() && ends[2] == 4);
    const int64_t promised[] = {0, 1, 4, 5, 6};
    uint8_t values[8] = {};
    CHECK(gather(spans, positions, 4, 1, promised, values).code == Code::bad_offsets);
    uint64_t found;
    CHECK(find(spans, {reinterpret_cast<const uint8_t*>("zz"), 2}, 0, 4, &found).code == Code::bad_offsets);
    will_need(spans, positions, 4);
    for (uint64_t position = 0; position < 4; ++position) spans.prefetch_payload(position);
  }
}

void test_gather_copies_in_the_asked_order() {
  Spans spans = spans_of("abbccc", {0, 1, 3, 3, 6}, RowMap(4));
  const uint64_t positions[] = {3, 2, 0, 3};
  int64_t ends[5];
  CHECK(measure(spans, positions, 4, 1, ends).ok());
  std::vector<uint8_t> values(static_cast<size_t>(ends[4]));
  CHECK(gather(spans, positions, 4, 1, ends, values.data()).ok());
  CHECK(std::string(values.begin(), values.end()) == "cccaccc");
  // Offsets that changed since they were measured must not move the copy out of its buffer.
  const int64_t shorter[] = {0, 2, 2, 3, 6};
  CHECK(gather(spans, positions, 4, 1, shorter, values.data()).code == Code::bad_offsets);
}

void test_units_scale_offsets_and_bounds() {
  auto payload = map("aabbccdd", 8);
  const std::vector<uint64_t> offsets{0, 1, 4, 5};
  auto index = map(offsets.data(), offsets.size() * sizeof(uint64_t));
  Spans spans(payload, 8, 2, {index, index, sizeof(uint64_t)}, RowMap(3));
  CHECK(text(spans, 0) == "aa" && text(spans, 1) == "bbccdd");
  Span span;
  CHECK(spans.at(2, &span).code == Code::bad_offsets);
}

void test_starts_and_ends_may_be_two_arrays() {
  const uint64_t starts[] = {4, 0}, ends[] = {6, 3};
  Spans spans(map("abbccc", 6), 6, 1, {map(starts, 16), map(ends, 16), 0}, RowMap(2));
  CHECK(text(spans, 0) == "cc" && text(spans, 1) == "abb");
}

void test_rows_of_one_size_need_no_index() {
  Spans spans(map("aabbcc", 6), 6, 2, {}, RowMap(2, 2, -2));
  CHECK(text(spans, 0) == "cc" && text(spans, 1) == "aa");
  for (uint64_t size : {1, 2, 3, 4, 8, 16}) {
    std::vector<uint8_t> bytes(size * 5);
    for (size_t k = 0; k < bytes.size(); ++k) bytes[k] = static_cast<uint8_t>(k);
    Spans rows(map(bytes.data(), bytes.size()), bytes.size(), size, {}, RowMap(5));
    const uint64_t positions[] = {4, 0, 4};
    std::vector<uint8_t> values(size * 3);
    gather_rows(rows, positions, 3, values.data());
    for (size_t k = 0; k < 3; ++k)
      CHECK(memcmp(values.data() + k * size, bytes.data() + positions[k] * size, size) == 0);
  }
}

void test_find_stops_at_the_first_match() {
  Spans spans = spans_of("abaaba", {0, 1, 3, 4, 6}, RowMap(4));
  uint64_t found;
  CHECK(find(spans, {reinterpret_cast<const uint8_t*>("ba"), 2}, 0, 4, &found).ok() && found == 1);
  CHECK(find(spans, {reinterpret_cast<const uint8_t*>("ba"), 2}, 2, 4, &found).ok() && found == 3);
  CHECK(find(spans, {reinterpret_cast<const uint8_t*>("x"), 1}, 0, 4, &found).ok() && found == 4);
}

void test_a_map_shows_what_is_appended_within_its_capacity() {
  int fd = temporary("ab", 2);
  std::shared_ptr<Mapping> mapping;
  CHECK(Mapping::open(fd, 2, &mapping).ok());
  CHECK(mapping->capacity() >= 2);
  std::string more(10000, 'x');
  CHECK(pwrite(fd, more.data(), more.size(), 2) == 10000);
  if (mapping->capacity() >= 10002) {
    mapping->populate(0, 10002);
    CHECK(mapping->is_populated(0, 10002) && memcmp(mapping->data() + 2, more.data(), more.size()) == 0);
  }
  close(fd);
}

}  // namespace

int main() {
  test_rows_and_maps_of_rows();
  test_bad_offsets_are_refused_everywhere();
  test_gather_copies_in_the_asked_order();
  test_units_scale_offsets_and_bounds();
  test_starts_and_ends_may_be_two_arrays();
  test_rows_of_one_size_need_no_index();
  test_find_stops_at_the_first_match();
  test_a_map_shows_what_is_appended_within_its_capacity();
}
