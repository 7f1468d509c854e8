// Rows read into memory: the same as over a map, for any index, and an error if the file is too short.

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "check.h"
#include "fetch.h"

using namespace mmap_ninja;

namespace {

using MapPtr = std::shared_ptr<Mapping>;

int temporary(const void* data, size_t size) {
  char path[] = "/tmp/test_fetch-XXXXXX";
  int fd = mkstemp(path);
  CHECK(fd >= 0);
  unlink(path);
  CHECK(pwrite(fd, data, size, 0) == static_cast<ssize_t>(size));
  return fd;
}

MapPtr file_of(const void* data, size_t size, Access access, const char* what) {
  int fd = temporary(data, size);
  MapPtr file;
  CHECK(Mapping::open(fd, size, access, what, &file).ok());
  CHECK(file->access() == access);
  close(fd);
  return file;
}

MapPtr numbers(const std::vector<uint64_t>& values, Access access, const char* what) {
  return file_of(values.data(), values.size() * sizeof(uint64_t), access, what);
}

Spans spans_of(const std::string& payload, const std::vector<uint64_t>& offsets, Access access) {
  MapPtr index = numbers(offsets, access, "offsets");
  return {file_of(payload.data(), payload.size(), access, "data"), payload.size(), 1, {index, index, 8}};
}

std::string text(const Spans& spans, uint64_t row) {
  Span span;
  CHECK(spans.at(row, &span).ok());
  return {reinterpret_cast<const char*>(span.data), span.size};
}

// The rows by `locate` and `fetch`.
std::vector<std::string> texts(const Spans& spans, const std::vector<uint64_t>& rows) {
  std::vector<Range> ranges(rows.size());
  CHECK(locate(spans, rows.data(), rows.size(), ranges.data()).ok());
  Spans fetched(nullptr, 0, 0, {});
  CHECK(fetch(spans, ranges.data(), rows.size(), &fetched).ok());
  std::vector<std::string> found;
  for (size_t k = 0; k < rows.size(); ++k) found.push_back(text(fetched, k));
  return found;
}

void test_rows_are_the_same_as_over_a_map() {
  for (const std::vector<uint64_t>& rows : std::vector<std::vector<uint64_t>>{
           {}, {0}, {3}, {0, 1, 2, 3}, {3, 2, 1, 0}, {1, 2, 0, 1}, {2, 2}, {0, 2, 3}}) {
    Spans mapped = spans_of("abbccc", {0, 1, 3, 3, 6}, Access::map);
    std::vector<std::string> expected;
    for (uint64_t row : rows) expected.push_back(text(mapped, row));
    CHECK(texts(spans_of("abbccc", {0, 1, 3, 3, 6}, Access::pread), rows) == expected);
    std::vector<Range> over_map(rows.size()), read(rows.size());
    CHECK(locate(mapped, rows.data(), rows.size(), over_map.data()).ok());
    CHECK(locate(spans_of("abbccc", {0, 1, 3, 3, 6}, Access::pread), rows.data(), rows.size(), read.data())
              .ok());
    for (size_t k = 0; k < rows.size(); ++k)
      CHECK(over_map[k].begin == read[k].begin && over_map[k].size == read[k].size);
  }
}

void test_starts_and_ends_may_be_two_files() {
  MapPtr starts = numbers({4, 0, 2}, Access::pread, "starts"),
         ends = numbers({6, 3, 2}, Access::pread, "ends");
  Spans spans(file_of("abbccc", 6, Access::pread, "data"), 6, 1, {starts, ends, 0});
  CHECK((texts(spans, {0, 1, 2}) == std::vector<std::string>{"cc", "abb", ""}));
  CHECK((texts(spans, {2, 0}) == std::vector<std::string>{"", "cc"}));
}

void test_rows_of_one_size_need_no_index() {
  Spans spans(file_of("aabbcc", 6, Access::pread, "data"), 6, 2, {});
  CHECK((texts(spans, {2, 0, 1}) == std::vector<std::string>{"cc", "aa", "bb"}));
  Spans empty(file_of("", 0, Access::pread, "data"), 0, 0, {});
  CHECK((texts(empty, {5, 1}) == std::vector<std::string>{"", ""}));
}

void test_units_scale_ranges() {
  MapPtr index = numbers({0, 1, 4}, Access::pread, "offsets");
  Spans spans(file_of("aabbccdd", 8, Access::pread, "data"), 8, 2, {index, index, 8});
  CHECK((texts(spans, {1, 0}) == std::vector<std::string>{"bbccdd", "aa"}));
}

void test_samples_in_several_pieces_have_all_of_the_payload() {
  const uint64_t rows[] = {2, 0};
  for (Access access : {Access::map, Access::pread}) {
    MapPtr payload = file_of("abcdef", 6, access, "data");
    Spans spans(payload, 6, 1, {}), fetched(nullptr, 0, 0, {});
    CHECK(fetch_scattered(spans, rows, 2, &fetched).ok());
    CHECK((fetched.payload() == payload) == (access == Access::map));
    Span span;
    CHECK(fetched.at(0, &span).ok() && memcmp(span.data, "cdef", 4) == 0);
    CHECK(fetched.at(1, &span).ok() && memcmp(span.data, "abcdef", 6) == 0);
    Spans cut(payload, 7, 1, {});
    CHECK(fetch_scattered(cut, rows, 2, &fetched).code == Code::short_file);
  }
}

void test_bad_offsets_are_refused_by_their_row() {
  for (uint64_t bad : {uint64_t{7}, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX}) {
    Spans spans = spans_of("abbccc", {0, 1, bad, 3, 6}, Access::pread);
    Range ranges[4];
    for (const std::vector<uint64_t>& rows :
         std::vector<std::vector<uint64_t>>{{0, 1}, {3, 2}, {0, 1, 2, 3}}) {
      Status status = locate(spans, rows.data(), rows.size(), ranges);
      CHECK(status.code == Code::bad_offsets && (status.row == 1 || status.row == 2));
    }
    const uint64_t good[] = {0, 3};
    CHECK(locate(spans, good, 2, ranges).ok());
  }
}

void test_short_files_are_reported_with_their_length() {
  std::string payload(10000, 'x');
  std::vector<uint64_t> offsets(10001);
  for (size_t k = 0; k < offsets.size(); ++k) offsets[k] = k;
  int fd = temporary(payload.data(), payload.size());
  MapPtr data;
  CHECK(Mapping::open(fd, payload.size(), Access::pread, "data", &data).ok());
  MapPtr index = numbers(offsets, Access::pread, "offsets");
  Spans spans(data, payload.size(), 1, {index, index, 8}), fetched(nullptr, 0, 0, {});
  CHECK(ftruncate(fd, 5000) == 0);
  const uint64_t rows[] = {4999, 5000};
  Range ranges[2];
  CHECK(locate(spans, rows, 2, ranges).ok());
  CHECK(fetch(spans, ranges, 1, &fetched).ok() && text(fetched, 0) == "x");
  Status status = fetch(spans, ranges, 2, &fetched);
  CHECK(status.code == Code::short_file && status.found == 5000 && status.expected == 5001);
  CHECK(strcmp(status.what, "data") == 0);
  CHECK(spans.check_sizes(10000).found == 5000);
  CHECK(spans.check_sizes(20000).code == Code::short_file);
  close(fd);
}

void test_rows_of_a_file_are_read_in_any_order() {
  for (Access access : {Access::map, Access::pread}) {
    MapPtr file = file_of("aabbccdd", 8, access, "sizes");
    const uint64_t rows[] = {3, 0, 1, 1};
    char out[9] = {};
    CHECK(read_rows(*file, 2, rows, 4, reinterpret_cast<uint8_t*>(out)).ok());
    CHECK(std::string(out) == "ddaabbbb");
    MapPtr memory;
    CHECK(fetch(file, 2, rows, 4, &memory).ok() && memcmp(memory->data(), "ddaabbbb", 8) == 0);
  }
}

void test_shapes_are_read_with_their_form() {
  MapPtr table = numbers({2, 3, 0, 4, 1, 1}, Access::pread, "shapes");
  Shapes shapes(ShapeForm::rows, Spans(table, 48, 16, {})),
      fetched(ShapeForm::flat, Spans(nullptr, 0, 0, {}));
  const uint64_t rows[] = {2, 0};
  CHECK(fetch(shapes, rows, 2, &fetched).ok());
  Shape shape;
  CHECK(fetched.at(1, 6, &shape).ok() && shape.rank == 2 && shape.dims[0] == 2 && shape.dims[1] == 3);
  CHECK(fetched.at(0, 2, &shape).code == Code::bad_shape);
}

void test_too_much_memory_is_refused() {
  MapPtr memory;
  uint8_t* bytes;
  CHECK(Mapping::allocate(UINT64_MAX, &memory, &bytes).code == Code::no_memory);
  Spans spans(file_of("", 0, Access::pread, "data"), 0, 1, {}), fetched(nullptr, 0, 0, {});
  const Range ranges[] = {{0, UINT64_MAX}, {0, 2}};
  CHECK(fetch(spans, ranges, 2, &fetched).code == Code::overflow);
}

}  // namespace

int main() {
  test_rows_are_the_same_as_over_a_map();
  test_starts_and_ends_may_be_two_files();
  test_rows_of_one_size_need_no_index();
  test_units_scale_ranges();
  test_samples_in_several_pieces_have_all_of_the_payload();
  test_bad_offsets_are_refused_by_their_row();
  test_short_files_are_reported_with_their_length();
  test_rows_of_a_file_are_read_in_any_order();
  test_shapes_are_read_with_their_form();
  test_too_much_memory_is_refused();
}
