// Shapes from disk: every form and every wrong number; and padding of samples.

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vector>

#include "check.h"
#include "shapes.h"

using namespace mmap_ninja;

namespace {

std::shared_ptr<Mapping> map(const void* data, size_t size) {
  char path[] = "/tmp/test_shapes-XXXXXX";
  int fd = mkstemp(path);
  CHECK(fd >= 0);
  unlink(path);
  CHECK(pwrite(fd, data, size, 0) == static_cast<ssize_t>(size));
  std::shared_ptr<Mapping> mapping;
  CHECK(Mapping::open(fd, size, Access::map, "shapes", &mapping).ok());
  close(fd);
  return mapping;
}

Shapes shapes_of(ShapeForm form, const std::vector<uint64_t>& numbers, uint64_t width) {
  uint64_t size = numbers.size() * sizeof(uint64_t);
  return {form, Spans(map(numbers.data(), size), size, width * sizeof(uint64_t), {})};
}

bool is(const Shapes& shapes, uint64_t row, uint64_t elements, const std::vector<int64_t>& expected) {
  Shape shape;
  if (!shapes.at(row, elements, &shape).ok()) return false;
  return static_cast<size_t>(shape.rank) == expected.size() &&
         std::equal(expected.begin(), expected.end(), shape.dims.begin());
}

bool is_bad(const Shapes& shapes, uint64_t row, uint64_t elements) {
  Shape shape;
  Status status = shapes.at(row, elements, &shape);
  return status.code == Code::bad_shape && status.found == elements;
}

void test_forms_without_a_file() {
  Shapes flat(ShapeForm::flat, Spans(nullptr, 0, 0, {}));
  CHECK(is(flat, 0, 5, {5}) && is(flat, 1, 0, {0}));
  Shapes scalar(ShapeForm::scalar, Spans(nullptr, 0, 0, {}));
  CHECK(is(scalar, 0, 1, {}) && is_bad(scalar, 1, 0) && is_bad(scalar, 2, 2));
}

void test_rows_must_fit_their_elements() {
  Shapes rows = shapes_of(ShapeForm::rows, {2, 3, 0, 7, 1ull << 62, 4, 1ull << 63, 1, UINT64_MAX, 1}, 2);
  CHECK(is(rows, 0, 6, {2, 3}) && is_bad(rows, 0, 5));
  CHECK(is(rows, 1, 0, {0, 7}) && is_bad(rows, 1, 7));
  for (uint64_t elements : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
    CHECK(is_bad(rows, 2, elements));  // the product wraps to 0
    CHECK(is_bad(rows, 3, elements));  // negative
    CHECK(is_bad(rows, 4, elements));
  }
  Shapes huge = shapes_of(ShapeForm::rows, {1ull << 40, 1ull << 40, 0}, 3);
  CHECK(is(huge, 0, 0, {1ll << 40, 1ll << 40, 0}));
}

void test_ranked_rows_must_have_room_for_their_rank() {
  Shapes rows = shapes_of(ShapeForm::ranked, {0, 0, 0, 1, 5, 0, 2, 2, 2, 3, 1, 1, UINT64_MAX, 1, 1}, 3);
  CHECK(is(rows, 0, 1, {}) && is(rows, 1, 5, {5}) && is(rows, 2, 4, {2, 2}));
  CHECK(is_bad(rows, 0, 0) && is_bad(rows, 3, 1) && is_bad(rows, 4, 1));
  Shapes wide = shapes_of(ShapeForm::ranked, std::vector<uint64_t>(80, 70), 80);
  CHECK(is_bad(wide, 0, 1));
  Shapes none = shapes_of(ShapeForm::ranked, {}, 0);
  CHECK(is_bad(none, 0, 1));
}

void test_legacy_zero_over_one_element_is_a_scalar() {
  Shapes rows = shapes_of(ShapeForm::legacy, {0, 4}, 1);
  CHECK(is(rows, 0, 1, {}) && is(rows, 0, 0, {0}) && is(rows, 1, 4, {4}) && is_bad(rows, 0, 2));
}

std::vector<uint8_t> padded(const std::vector<int64_t>& box_dims, const std::vector<int64_t>& dims,
                            const std::vector<uint8_t>& sample, uint16_t element, bool at_end = false) {
  Box box{.rank = static_cast<int>(box_dims.size()),
          .unit = 2,
          .fill = reinterpret_cast<const uint8_t*>(&element),
          .zero = element == 0,
          .sample_unit = 2,
          .at_end = at_end};
  size_t size = 2;
  for (size_t k = 0; k < box_dims.size(); ++k) {
    box.dims[k] = box_dims[k];
    size *= static_cast<size_t>(box_dims[k]);
  }
  std::vector<uint8_t> out(size, 0xee);
  CHECK(!pad(box, dims.data(), sample.data(), out.data()));
  return out;
}

void test_samples_are_at_the_origin_of_their_box() {
  const std::vector<uint8_t> sample{1, 0, 2, 0, 3, 0, 4, 0};
  CHECK((padded({6}, {4}, sample, 0x0909) == std::vector<uint8_t>{1, 0, 2, 0, 3, 0, 4, 0, 9, 9, 9, 9}));
  CHECK((padded({2}, {4}, sample, 0) == std::vector<uint8_t>{1, 0, 2, 0}));
  CHECK((padded({3}, {0}, sample, 0x0102) == std::vector<uint8_t>{2, 1, 2, 1, 2, 1}));
  CHECK((padded({2, 3}, {2, 2}, sample, 7) == std::vector<uint8_t>{1, 0, 2, 0, 7, 0, 3, 0, 4, 0, 7, 0}));
  CHECK((padded({1, 1}, {2, 2}, sample, 7) == std::vector<uint8_t>{1, 0}));
  CHECK((padded({3, 1}, {1, 4}, sample, 7) == std::vector<uint8_t>{1, 0, 7, 0, 7, 0}));
  CHECK((padded({2, 1, 2}, {1, 2, 2}, sample, 0) == std::vector<uint8_t>{1, 0, 2, 0, 0, 0, 0, 0}));
}

void test_samples_are_at_the_end_of_their_box() {
  const std::vector<uint8_t> sample{1, 0, 2, 0, 3, 0, 4, 0};
  CHECK((padded({6}, {4}, sample, 0x0909, true) == std::vector<uint8_t>{9, 9, 9, 9, 1, 0, 2, 0, 3, 0, 4, 0}));
  CHECK((padded({2}, {4}, sample, 0, true) == std::vector<uint8_t>{1, 0, 2, 0}));
  CHECK(
      (padded({3, 2}, {2, 2}, sample, 7, true) == std::vector<uint8_t>{7, 0, 7, 0, 1, 0, 2, 0, 3, 0, 4, 0}));
  CHECK(
      (padded({2, 3}, {2, 2}, sample, 7, true) == std::vector<uint8_t>{7, 0, 1, 0, 2, 0, 7, 0, 3, 0, 4, 0}));
}

void test_elements_are_converted_up_to_the_first_that_does_not_fit() {
  const std::vector<uint16_t> sample{1, 2, 3, 300};
  const uint8_t* data = reinterpret_cast<const uint8_t*>(sample.data());
  const int64_t filled = -100;
  Box box{.rank = 2,
          .dims = {2, 3},
          .unit = 8,
          .fill = reinterpret_cast<const uint8_t*>(&filled),
          .sample_unit = 2,
          .convert = converter(Number::u2, Number::i8)};
  const int64_t dims[] = {2, 2};
  std::vector<int64_t> out(6);
  CHECK(!pad(box, dims, data, reinterpret_cast<uint8_t*>(out.data())));
  CHECK((out == std::vector<int64_t>{1, 2, -100, 3, 300, -100}));
  box.unit = 1;
  box.convert = converter(Number::u2, Number::i1);
  CHECK(pad(box, dims, data, reinterpret_cast<uint8_t*>(out.data())) == data + 6);
  box.dims = {2, 1};  // what is cut off need not fit
  CHECK(!pad(box, dims, data, reinterpret_cast<uint8_t*>(out.data())));
}

}  // namespace

int main() {
  test_forms_without_a_file();
  test_rows_must_fit_their_elements();
  test_ranked_rows_must_have_room_for_their_rank();
  test_legacy_zero_over_one_element_is_a_scalar();
  test_samples_are_at_the_origin_of_their_box();
  test_samples_are_at_the_end_of_their_box();
  test_elements_are_converted_up_to_the_first_that_does_not_fit();
  return 0;
}
