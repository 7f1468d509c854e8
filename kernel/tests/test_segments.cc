// Rows of segments hold what they should, and are described as a look at each element describes them.

#include <algorithm>
#include <numeric>
#include <vector>

#include "../orders.h"
#include "../segments.h"
#include "check.h"

using namespace mmap_ninja;

namespace {

// Rows of `length` elements with segments of arbitrary lengths, some of them not full.
Pieces some_pieces(uint64_t rows, uint64_t length, uint64_t key) {
  Pieces pieces;
  for (uint64_t row = 0; row < rows; ++row) {
    uint64_t left = length;
    for (uint64_t k = 0; left && k < 5; ++k) {
      int64_t size;
      Permutation(left, key + row + k).at({0, 1, 1}, &size);
      pieces.documents.push_back(pieces.lengths.size());
      pieces.starts.push_back(k);
      pieces.lengths.push_back(static_cast<uint64_t>(size) + 1);
      left -= pieces.lengths.back();
    }
    pieces.offsets.push_back(pieces.lengths.size());
  }
  return pieces;
}

void test_rows_are_described_element_by_element() {
  for (uint64_t length : {1, 7, 64, 1000})
    for (uint64_t rows : {0, 1, 5}) {
      Pieces pieces = some_pieces(rows, length, length);
      uint64_t elements = rows * length, bound_count = rows * 6 + 3;
      std::vector<int32_t> numbers(elements, -1), positions(elements, -1), bounds(bound_count, -1);
      uint64_t longest =
          describe(pieces, length, {numbers.data(), positions.data(), bounds.data(), bound_count});
      size_t bound = 0;
      uint64_t greatest = 0, at = 0;
      for (uint64_t row = 0; row < rows; ++row) {
        int32_t number = 0;
        auto expect = [&](uint64_t size, int32_t of, bool counts) {
          CHECK(bounds[bound++] == static_cast<int32_t>(at));
          greatest = std::max(greatest, size);
          for (uint64_t k = 0; k < size; ++k, ++at) {
            CHECK(numbers[at] == of);
            CHECK(positions[at] == static_cast<int32_t>(counts ? k : 0));
          }
        };
        for (uint64_t k = pieces.offsets[row]; k < pieces.offsets[row + 1]; ++k)
          expect(pieces.lengths[k], ++number, true);
        if (at < (row + 1) * length) expect((row + 1) * length - at, 0, false);
      }
      for (; bound < bound_count; ++bound) CHECK(bounds[bound] == static_cast<int32_t>(elements));
      CHECK(longest == greatest);
    }
}

void test_rows_are_gathered_and_padded() {
  for (uint64_t unit : {1, 4, 24})
    for (uint64_t length : {1, 30, 2000}) {
      Pieces pieces = some_pieces(4, length, 9);
      std::vector<uint8_t> bytes((length + 5) * unit);
      std::iota(bytes.begin(), bytes.end(), 1);
      std::vector<Span> documents(pieces.lengths.size(), {bytes.data(), bytes.size()});
      std::vector<uint8_t> rows(4 * length * unit, 255), expected(rows.size());
      for (uint64_t row = 0, at; row < 4; ++row) {
        at = row * length * unit;
        for (uint64_t k = pieces.offsets[row]; k < pieces.offsets[row + 1]; ++k)
          for (uint64_t byte = 0; byte < pieces.lengths[k] * unit; ++byte)
            expected[at++] = bytes[pieces.starts[k] * unit + byte];
      }
      gather(pieces, documents.data(), unit, length, rows.data());
      CHECK(rows == expected);
    }
}

void test_windows_are_cut_where_documents_end() {
  std::vector<uint64_t> ends{13, 14, 20, 26};  // the first one begins at 10
  for (uint64_t size = 1; size <= 16; ++size) {
    Documents documents(ends, size);
    Segments segments;
    uint64_t most = 0;
    for (uint64_t first = 10; first + size <= 26; ++first) {
      uint64_t before = segments.lengths.size();
      documents.cut(first, size, 1, &segments);
      std::vector<uint64_t> expected;
      for (uint64_t at = first; at < first + size; ++at) {
        bool begins = at == first || std::find(ends.begin(), ends.end(), at) != ends.end();
        if (begins) expected.push_back(0);
        ++expected.back();
      }
      most = std::max<uint64_t>(most, expected.size());
      CHECK(std::vector<uint64_t>(segments.lengths.begin() + static_cast<std::ptrdiff_t>(before),
                                  segments.lengths.end()) == expected);
      CHECK(segments.offsets.back() == segments.lengths.size());
    }
    CHECK(documents.most() >= most);
    CHECK(documents.most() <= size);
  }
}

void test_windows_are_cut_in_steps() {
  Segments segments;
  Documents({6, 24, 30}, 18).cut(0, 18, 6, &segments);
  CHECK((segments.lengths == std::vector<uint64_t>{1, 2}));
}

}  // namespace

int main() {
  test_rows_are_described_element_by_element();
  test_rows_are_gathered_and_padded();
  test_windows_are_cut_where_documents_end();
  test_windows_are_cut_in_steps();
}
