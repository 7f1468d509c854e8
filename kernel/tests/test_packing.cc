// Every document is in the rows once, whole, and no row is too long.

#include <algorithm>
#include <vector>

#include "../orders.h"
#include "../packing.h"
#include "check.h"

using namespace mmap_ninja;

namespace {

// Checks a packing, and returns the share of its rows that is filled.
double filled(const std::vector<int64_t>& lengths, uint64_t length) {
  Packing packing = pack(lengths.data(), lengths.size(), length, 7);
  CHECK(packing.documents.size() == packing.pieces.size());
  CHECK(packing.ends.empty() ? packing.documents.empty() : packing.ends.back() == packing.documents.size());
  std::vector<uint64_t> found(lengths.size());
  uint64_t segment = 0, all = 0;
  for (uint64_t end : packing.ends) {
    uint64_t row = 0;
    CHECK(end > segment);
    for (; segment < end; ++segment) {
      auto whole = static_cast<uint64_t>(lengths[packing.documents[segment]]);
      uint64_t begin = packing.pieces[segment] * length;
      CHECK(begin < whole);
      uint64_t size = std::min(length, whole - begin);
      CHECK(packing.lengths[segment] == size);
      row += size;
      found[packing.documents[segment]] += size;
    }
    CHECK(row <= length);
    all += row;
  }
  for (size_t k = 0; k < lengths.size(); ++k) CHECK(found[k] == static_cast<uint64_t>(lengths[k]));
  return packing.ends.empty() ? 1
                              : static_cast<double>(all) / static_cast<double>(packing.ends.size() * length);
}

void test_rows_hold_every_document() {
  for (uint64_t length : {1, 2, 63, 64, 65, 100, 4097, 300000})
    for (uint64_t count : {0, 1, 2, 70, 3000}) {
      std::vector<int64_t> lengths(count);
      Permutation order(1000, length);
      for (size_t k = 0; k < count; ++k) order.at({k % 1000, 1, 1}, &lengths[k]);
      filled(lengths, length);
    }
}

void test_rows_are_nearly_full() {
  std::vector<int64_t> lengths(30000);
  Permutation(lengths.size(), 3).at({0, 1, lengths.size()}, lengths.data());
  for (int64_t& length : lengths) length %= 900;
  CHECK(filled(lengths, 2048) > 0.995);
}

void test_long_documents_fill_rows() {
  CHECK(filled({1000, 10, 990}, 10) == 1);
  CHECK(filled({25, 5, 0}, 10) == 1);
}

void test_rows_are_found_by_their_numbers() {
  std::vector<int64_t> lengths{25, 5, 0, 10, 3};
  Packing packing = pack(lengths.data(), lengths.size(), 10, 1);
  std::vector<uint64_t> rows{packing.ends.size() - 1, 0, 0};
  Pieces pieces = packing.in(rows.data(), rows.size(), 10);
  CHECK(pieces.rows() == 3);
  size_t at = 0;
  uint64_t most = 0;
  for (uint64_t row : rows) {
    uint64_t first = row ? packing.ends[row - 1] : 0;
    most = std::max(most, packing.ends[row] - first);
    for (uint64_t k = first; k < packing.ends[row]; ++k, ++at) {
      CHECK(pieces.documents[at] == packing.documents[k]);
      CHECK(pieces.starts[at] == packing.pieces[k] * 10);
      CHECK(pieces.lengths[at] == packing.lengths[k]);
    }
  }
  CHECK(at == pieces.lengths.size() && at == pieces.offsets.back());
  CHECK(packing.most_segments >= most && packing.most_segments <= 2);
}

}  // namespace

int main() {
  test_rows_are_found_by_their_numbers();
  test_rows_hold_every_document();
  test_rows_are_nearly_full();
  test_long_documents_fill_rows();
}
