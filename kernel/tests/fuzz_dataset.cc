// A dataset made from bytes, read in all the ways in which the binding reads one: every sample is refused, or
// is within its files. Files shorter than their extents are not made, since opening refuses them.

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <tuple>
#include <vector>

#include "check.h"
#include "edits.h"
#include "fetch.h"
#include "fuzz_input.h"
#include "mapping.h"
#include "rows.h"
#include "shapes.h"
#include "spans.h"
#include "utf8.h"
#include "zstd.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#if defined(HAS_ASAN)
#include <sanitizer/asan_interface.h>
#endif

using namespace mmap_ninja;

namespace {

constexpr uint64_t kMostRows = 600;
constexpr uint64_t kAlone = 8;            // so many are also read one by one by system calls
constexpr uint64_t kMostBytes = 1 << 20;  // copied or decoded per batch

// As in NumPy, an empty array has an address, too.
using Bytes = std::unique_ptr<uint8_t[]>;
Bytes allocate(uint64_t size) { return Bytes(new uint8_t[size]); }

int memory_file(const std::vector<uint8_t>& content) {
#if defined(__linux__)
  int fd = ::memfd_create("fuzz", MFD_CLOEXEC);
#else
  char path[] = "/tmp/fuzz-XXXXXX";
  int fd = ::mkstemp(path);
  ::unlink(path);
#endif
  CHECK(fd >= 0);
  auto size = static_cast<ssize_t>(content.size());
  CHECK(::pwrite(fd, content.data(), content.size(), 0) == size);
  return fd;
}

// A file that is mapped, and read by system calls. ASan forbids reading past its end in the last page of the
// map.
class StoredFile {
 public:
  explicit StoredFile(const std::vector<uint8_t>& content) : size_(content.size()) {
    int fd = memory_file(content);
    CHECK(Mapping::open(fd, size_, Access::map, "file", &mapped_).ok());
    CHECK(Mapping::open(fd, size_, Access::pread, "file", &read_).ok());
    ::close(fd);
#if defined(HAS_ASAN)
    ASAN_POISON_MEMORY_REGION(mapped_->data() + size_, past());
#endif
  }
  ~StoredFile() {
#if defined(HAS_ASAN)
    ASAN_UNPOISON_MEMORY_REGION(mapped_->data() + size_, past());
#endif
  }
  StoredFile(const StoredFile&) = delete;
  StoredFile& operator=(const StoredFile&) = delete;

  uint64_t size() const { return size_; }
  const std::shared_ptr<Mapping>& as(Access access) const { return access == Access::map ? mapped_ : read_; }

 private:
  uint64_t past() const {
    auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    return page - size_ % page;
  }

  uint64_t size_;
  std::shared_ptr<Mapping> mapped_, read_;
};

// The column, as described by the first bytes of the input.
struct Header {
  uint8_t index;  // 0: rows of one size. 1: offsets. 2: starts and ends, as 0.x had them
  uint8_t form;   // of the shapes
  bool text, nullable, compressed, with_sizes, with_dictionary;
  uint64_t rows, unit, width, edits;
};

Header read_header(Input& input) {
  Header header{};
  header.index = static_cast<uint8_t>(input.below(3));
  header.form = static_cast<uint8_t>(input.below(5));
  auto flags = input.take<uint8_t>();
  header.text = flags & 1;
  header.nullable = flags & 2;
  header.compressed = flags & 4 && header.index != 0;
  header.with_sizes = flags & 8;
  header.with_dictionary = flags & 16;
  header.rows = input.below(kMostRows);
  header.unit = header.compressed || header.text ? 1 : 1 + input.below(33);
  header.width = 1 + input.below(5);
  header.edits = input.below(64);
  return header;
}

std::shared_ptr<const Zstd> open_codec(bool with_dictionary) {
  std::shared_ptr<const Zstd> codec;
  static const uint8_t dictionary[] = "the samples of a dataset often begin with the same words as this one";
  Span span{dictionary, with_dictionary ? sizeof dictionary - 1 : 0};
  for (const char* path : {"libzstd.so.1", "libzstd.1.dylib"})
    if (Zstd::open(path, 3, span, &codec).ok()) break;
  return codec;
}

// Null if this machine has no libzstd.
std::shared_ptr<const Zstd> codec_of(bool with_dictionary) {
  static const std::shared_ptr<const Zstd> codecs[] = {open_codec(false), open_codec(true)};
  return codecs[with_dictionary];
}

// Reads every byte; the compiler cannot remove that, since the result depends on them.
uint64_t touch(const uint8_t* data, uint64_t size) {
  uint64_t sum = 0;
  for (uint64_t k = 0; k < size; ++k) sum += data[k];
  static volatile uint64_t sink;
  sink = sum;
  return sum;
}

void read_text(Span span) {
  Bytes ascii = allocate(span.size);
  uint64_t prefix = copy_ascii(ascii.get(), span.data, span.size);
  CHECK(prefix <= span.size);
  TextMeasure measure = measure_utf8(span.data + prefix, span.size - prefix);
  if (!measure.valid) {
    CHECK(measure.error_offset <= span.size - prefix);
    return;
  }
  std::vector<uint8_t> latin1(prefix + measure.num_chars);
  std::vector<uint16_t> ucs2(prefix + measure.num_chars);
  std::vector<uint32_t> ucs4(prefix + measure.num_chars);
  if (measure.width == 1) decode_latin1(span.data, span.size, latin1.data());
  if (measure.width == 2) decode_ucs2(span.data, span.size, ucs2.data());
  if (measure.width == 4) decode_ucs4(span.data, span.size, ucs4.data());
}

struct Dataset {
  Header header;
  Spans spans;
  Shapes shapes;
  Frames frames;
  std::shared_ptr<Mapping> nulls;
  RowMap rows;

  bool holds(Span span) const {
    const uint8_t* base = spans.payload()->data();
    return span.data >= base && span.size <= spans.payload_size() &&
           static_cast<uint64_t>(span.data - base) <= spans.payload_size() - span.size;
  }

  void read_plain(Span span) const {
    touch(span.data, span.size);
    if (header.text) read_text(span);
  }

  // Reads the sample at a position; false if it is refused.
  bool read_sample(uint64_t position) const {
    uint64_t row = rows.row(position), run = 0;
    CHECK(row < header.rows && rows.row(position, &run) == row && run > 0);
    CHECK(rows.base(position) < header.rows);
    Span span;
    if (!spans.at(row, &span).ok()) return false;
    CHECK(holds(span));
    if (nulls && nulls->data()[row]) return true;
    if (!frames.codec) {
      Shape shape;
      read_plain(span);
      if (!shapes.at(row, span.size / spans.unit(), &shape).ok()) return false;
      uint64_t product = 1;
      bool empty = false;
      for (int d = 0; d < shape.rank; ++d) {
        auto extent = static_cast<uint64_t>(shape.dims[static_cast<size_t>(d)]);
        empty |= extent == 0;
        if (!empty) product *= extent;
      }
      CHECK((empty ? 0 : product) * spans.unit() == span.size);
      return true;
    }
    uint64_t size;
    if (!frames.size(row, span, &size).ok()) return false;
    if (size > kMostBytes) return true;
    const uint8_t* sample;
    Zstd::Worker worker = frames.codec->worker();
    if (!worker.decode(span, size, &sample).ok()) return false;
    read_plain({sample, size});
    return true;
  }

  void read_batch(const std::vector<uint64_t>& chosen) const {
    std::vector<int64_t> offsets(chosen.size() + 1);
    if (frames.codec) return read_frames(chosen, offsets);
    if (header.index == 0) {
      Bytes values = allocate(chosen.size() * spans.unit());
      gather_rows(spans, chosen.data(), chosen.size(), values.get());
    }
    if (!measure(spans, chosen.data(), chosen.size(), spans.unit(), offsets.data()).ok()) return;
    uint64_t bytes = static_cast<uint64_t>(offsets.back()) * spans.unit();
    if (bytes > kMostBytes) return;
    Bytes values = allocate(bytes);
    CHECK(gather(spans, chosen.data(), chosen.size(), spans.unit(), offsets.data(), values.get()).ok());
    read_boxes(chosen);
  }

  void read_frames(const std::vector<uint64_t>& chosen, std::vector<int64_t>& offsets) const {
    uint64_t count = 0, done = 0;
    Status status = measure_decoded(spans, frames, chosen.data(), chosen.size(), offsets.data(), &count);
    CHECK(count <= chosen.size() && status.ok() == (count == chosen.size()));
    auto bytes = static_cast<uint64_t>(offsets[count]);
    if (bytes > kMostBytes) return;
    Bytes values = allocate(bytes);
    std::vector<Zstd::Worker> workers = batch_workers(*frames.codec, bytes);
    status = decode_batch(spans, workers, chosen.data(), count, offsets.data(), values.get(), &done);
    CHECK(done <= count && status.ok() == (done == count));
  }

  // Reads samples padded to boxes, as `take_padded` does.
  void read_boxes(const std::vector<uint64_t>& chosen) const {
    std::vector<Shape> all;
    std::vector<Span> samples;
    for (uint64_t row : chosen) {
      Span span;
      Shape shape;
      if (!spans.at(row, &span).ok() || !shapes.at(row, span.size / spans.unit(), &shape).ok()) return;
      if (shape.rank == 0 || (!all.empty() && shape.rank != all[0].rank)) return;
      all.push_back(shape);
      samples.push_back(span);
    }
    if (all.empty()) return;
    std::vector<uint8_t> element(spans.unit(), 7);
    Box box{.rank = all[0].rank, .unit = spans.unit(), .fill = element.data(), .sample_unit = spans.unit()};
    uint64_t size = spans.unit();
    for (int d = 0; d < box.rank; ++d) {
      auto at = static_cast<size_t>(d);
      box.dims[at] = 0;
      for (const Shape& shape : all) box.dims[at] = std::max(box.dims[at], shape.dims[at]);
      if (d == 0) box.dims[at] = std::min(box.dims[at], int64_t{5});  // larger samples are cut off
      if (__builtin_mul_overflow(size, static_cast<uint64_t>(box.dims[at]), &size)) return;
    }
    if (size == 0 || size > kMostBytes / all.size()) return;
    for (size_t k = 0; k < all.size(); ++k) {
      std::vector<uint8_t> out(size);
      if (pad(box, all[k].dims.data(), samples[k].data, out.data())) abort();
      box.zero = !box.zero;
      box.at_end = k % 3 == 0;
    }
  }

  void read_all(Input& input) {
    uint64_t count = rows.count();
    bool whole = true;
    std::vector<uint64_t> chosen;
    for (uint64_t k = 0; k < count; ++k) {
      whole &= read_sample(k);
      chosen.push_back(rows.row(k));
    }
    read_batch(chosen);
    if (header.index == 1 && rows.is_contiguous()) {
      uint64_t first = count ? rows.row(0) : 0;
      auto offsets = reinterpret_cast<const uint64_t*>(spans.index().starts->data()) + first;
      Status status = check_order(offsets, first, count, spans.payload_size() / spans.unit());
      if (whole && count == header.rows) CHECK(status.ok() || count == 0);
    }
    if (count == 0) return;
    // A view by steps, and then one by positions.
    auto start = static_cast<int64_t>(input.below(count)), step = static_cast<int64_t>(input.below(7)) - 3;
    int64_t most = step > 0 ? (static_cast<int64_t>(count) - 1 - start) / step : step < 0 ? start / -step : 0;
    rows = rows.select(start, step, static_cast<uint64_t>(most) + 1);
    chosen.clear();
    for (uint64_t k = 0; k < rows.count() && k < kMostRows; ++k) chosen.push_back(rows.row(k));
    read_batch(chosen);
    std::vector<uint64_t> some;
    for (uint64_t k = input.below(20); k > 0; --k) some.push_back(chosen[input.below(chosen.size())]);
    read_batch(some);
    std::shared_ptr<int64_t[]> picked(new int64_t[chosen.size()]);
    std::copy(chosen.begin(), chosen.end(), picked.get());
    rows = RowMap(chosen.size(), picked);
    for (uint64_t k = 0; k < rows.count(); ++k) read_sample(k);
    std::vector<uint8_t> wanted = input.bytes(input.below(8));
    wanted.reserve(1);  // so that it has an address
    uint64_t found = 0;
    Span sought{wanted.data(), wanted.size()};
    if (frames.codec) {
      Zstd::Worker worker = frames.codec->worker();
      (void)find_decoded(spans, frames, worker, chosen.data(), chosen.size(), sought, &found);
    } else {
      (void)find(spans, chosen.data(), chosen.size(), sought, &found);
    }
    CHECK(found <= chosen.size());
  }
};

bool same(Span a, Span b) { return a.size == b.size && memcmp(a.data, b.data, a.size) == 0; }

bool same(const Status& a, const Status& b) {
  return a.code == b.code && a.row == b.row && a.found == b.found && a.expected == b.expected;
}

// System calls and maps must give the same bytes.
void compare(const Dataset& mapped, const Dataset& file, const std::vector<uint64_t>& rows) {
  std::vector<Range> ranges(rows.size()), expected(rows.size());
  Status status = locate(file.spans, rows.data(), rows.size(), ranges.data());
  CHECK(same(status, locate(mapped.spans, rows.data(), rows.size(), expected.data())));
  if (!status.ok()) return;
  Spans spans(nullptr, 0, 0, {});
  Shapes shapes(ShapeForm::flat, spans);
  uint64_t bytes = 0;
  for (const Range& range : ranges) bytes += range.size;
  if (bytes > kMostBytes) return;
  CHECK(fetch(file.spans, ranges.data(), ranges.size(), &spans).ok());
  for (uint64_t k = 0; k < rows.size(); ++k) {
    Span a, b;
    CHECK(spans.at(k, &a).ok() && mapped.spans.at(rows[k], &b).ok() && same(a, b));
    CHECK(ranges[k].begin == expected[k].begin && ranges[k].size == expected[k].size);
  }
  if (file.header.index == 0 && !rows.empty()) {
    CHECK(fetch_scattered(file.spans, rows.data(), rows.size(), &spans).ok());
    for (uint64_t k = 0; k < rows.size(); ++k) {
      Span a, b;
      CHECK(spans.at(k, &a).ok() && mapped.spans.at(rows[k], &b).ok() && same(a, b));
    }
  }
  if (fetch(file.shapes, rows.data(), rows.size(), &shapes).ok()) {
    for (uint64_t k = 0; k < rows.size(); ++k) {
      Shape a, b;
      uint64_t elements = ranges[k].size / file.spans.unit();
      Status found = shapes.at(k, elements, &a), shown = mapped.shapes.at(rows[k], elements, &b);
      CHECK(found.code == shown.code && a.rank == b.rank);
      CHECK(!found.ok() || std::equal(a.dims.begin(), a.dims.begin() + a.rank, b.dims.begin()));
    }
  }
  for (auto [a, b, unit] : {std::tuple{file.nulls, mapped.nulls, uint64_t{1}},
                            std::tuple{file.frames.sizes, mapped.frames.sizes, uint64_t{4}}}) {
    std::shared_ptr<Mapping> fetched;
    if (!a) continue;
    CHECK(fetch(a, unit, rows.data(), rows.size(), &fetched).ok());
    for (uint64_t k = 0; k < rows.size(); ++k)
      CHECK(memcmp(fetched->data() + k * unit, b->data() + rows[k] * unit, unit) == 0);
  }
}

using FilePtr = std::unique_ptr<const StoredFile>;

// The files of a column; null for those that it does not have.
struct Column {
  FilePtr payload, starts, ends, numbers, number_starts, number_ends, sizes, nulls;

  Dataset as(Access access, const Header& header, const std::shared_ptr<const Zstd>& codec,
             const RowMap& rows) const {
    auto open = [&](const FilePtr& file) { return file ? file->as(access) : nullptr; };
    auto size = [](const FilePtr& file) { return file ? file->size() : 0; };
    auto index = [&](const FilePtr& from, const FilePtr& to) -> Index {
      if (!to && from) return {open(from), open(from), sizeof(uint64_t)};
      return {open(from), open(to), 0};
    };
    bool are_spans = number_starts != nullptr;
    uint64_t unit = are_spans ? sizeof(uint64_t) : header.width * sizeof(uint64_t);
    Spans shapes(open(numbers), size(numbers), numbers ? unit : 0, index(number_starts, number_ends));
    return {header,
            Spans(open(payload), size(payload), header.unit, index(starts, ends)),
            Shapes(static_cast<ShapeForm>(header.form), shapes),
            {codec, open(sizes)},
            open(nulls),
            rows};
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  Header header = read_header(input);
  std::vector<Edit> log(header.edits);
  for (Edit& edit : log) {
    edit = {1 + input.below(2), input.below(header.rows + 1), 1 + input.below(3), 0};
    if (edit.op == kReplace) edit.new_row = edit.row + edit.count + input.below(header.rows + 1);
  }
  std::shared_ptr<const Edits> edits;
  if (!Edits::apply({}, log, header.rows, &edits).ok()) return 0;

  auto add = [&](uint64_t bytes) { return std::make_unique<const StoredFile>(input.bytes(bytes)); };
  Column column;
  uint64_t payload_size = header.rows * header.unit, numbers = header.rows * sizeof(uint64_t);
  if (header.index == 1) column.starts = add(numbers + sizeof(uint64_t));
  if (header.index == 2) column.starts = add(numbers), column.ends = add(numbers);
  if (header.index != 0) payload_size = input.take<uint16_t>() % 4096 * header.unit;
  column.payload = add(payload_size);
  auto form = static_cast<ShapeForm>(header.form);
  if (form >= ShapeForm::rows) column.numbers = add(header.width * numbers);
  // Of mixed ranks, as 0.x stored them: spans of extents.
  if (form == ShapeForm::legacy && header.index == 2)
    column.number_starts = add(numbers), column.number_ends = add(numbers);
  std::shared_ptr<const Zstd> codec = header.compressed ? codec_of(header.with_dictionary) : nullptr;
  if (codec && header.with_sizes) column.sizes = add(numbers / 2);
  if (header.nullable) column.nulls = add(header.rows);
  RowMap rows(header.rows, edits);

  Dataset mapped = column.as(Access::map, header, codec, rows);
  Dataset file = column.as(Access::pread, header, codec, rows);
  std::vector<uint64_t> all;
  for (uint64_t k = 0; k < rows.count(); ++k) all.push_back(rows.row(k));
  compare(mapped, file, all);
  for (uint64_t k = 0; k < all.size() && k < kAlone; ++k) compare(mapped, file, {all[k]});
  mapped.read_all(input);
  return 0;
}
