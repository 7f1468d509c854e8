#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "file.h"
#include "spans.h"

// Which bytes of files are in memory, that is in the page cache, and reading others in before they are
// needed.
//
// All of this is advice: what the system does not tell counts as in memory, and errors are left to whoever
// reads the bytes.
namespace mmap_ninja {

// Bytes, and how many of them are in memory.
struct Residency {
  double bytes = 0;
  double cached = 0;

  Residency operator*(double weight) const { return {bytes * weight, cached * weight}; }
  Residency& operator+=(Residency other) {
    bytes += other.bytes;
    cached += other.cached;
    return *this;
  }
};

// So many of some rows, here and there.
std::vector<uint64_t> some_of(const uint64_t* rows, uint64_t count, uint64_t most);

// The files of rows, for one thread: it shares nothing with others, reads no map, and opens the files when it
// needs them.
class RowFiles {
 public:
  // No files if the rows are in memory of the process.
  explicit RowFiles(const Spans& spans);

  // Whether some rows are not in memory, judging by a few of them.
  bool are_cold(const uint64_t* rows, uint64_t count) const;
  // Starts reading rows, of many those that have the first 256 MiB.
  void ask_for(const uint64_t* rows, uint64_t count) const;
  // The same, and waits for all of them.
  void read_in(const uint64_t* rows, uint64_t count) const;
  // Reads all rows from the first to the last one, unless it is stopped.
  void stream(uint64_t first, uint64_t last, const std::atomic<bool>& is_stopped) const;
  // How much of the rows is in memory, judging by one byte of each.
  Residency residency(const uint64_t* rows, uint64_t count) const;
  // How much of all rows from the first to the last one is in memory: counted if the system does that for
  // this user, else judged by some bytes; of more than 256 MiB, in 1,024 places.
  Residency residency_between(uint64_t first, uint64_t last) const;

 private:
  struct Range {
    uint64_t begin;
    uint64_t end;
  };
  // Rows of one size in a file.
  struct Table {
    std::shared_ptr<const File> file;
    uint64_t begin;  // of row 0
    uint64_t step;
    uint64_t size;

    Range range(uint64_t row) const { return {begin + row * step, begin + row * step + size}; }
  };

  // Where rows are in a table.
  static std::vector<Range> ranges_in(const Table& table, const uint64_t* rows, uint64_t count);
  // Where rows are in the payload; the index is read for that. Without those that it gives no place in the
  // file.
  std::vector<Range> ranges(const uint64_t* rows, uint64_t count) const;
  // Makes ranges ascending, and one of several that are near to each other.
  static void merge(std::vector<Range>* ranges);
  static bool are_cold(const File& file, const std::vector<Range>& few);
  static void ask_for(const File& file, std::vector<Range> ranges);
  static void read_in(const File& file, std::vector<Range> ranges);
  static Residency residency(const File& file, const std::vector<Range>& ranges);
  static Residency residency(const File& file, Range range);

  // Calls use(file, ranges) for each file, the index before it is read for the ranges in the payload.
  template <typename Use>
  void visit(const uint64_t* rows, uint64_t count, Use use) const {
    if (!payload_.file) return;
    for (const Table& table : index_) use(*table.file, ranges_in(table, rows, count));
    use(*payload_.file, ranges(rows, count));
  }

  std::vector<Table> index_;  // where rows start, and where they end if another file has that
  Table payload_;             // of rows without an index, else of its units
  uint64_t payload_size_;
};

}  // namespace mmap_ninja
