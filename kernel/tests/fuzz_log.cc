// The commit engine on files and slots made from bytes: it refuses them, or appends after the committed
// bytes, which do not change, and a second log finds the same state as the first one.

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "check.h"
#include "fuzz_input.h"
#include "io.h"
#include "log.h"

using namespace mmap_ninja;

namespace {

using Bytes = std::vector<uint8_t>;
constexpr size_t kFiles = 5;  // files of the rules, without COMMIT

// The dataset's files, which each run fills again. They have names, since a log refuses unlinked files.
class Files {
 public:
  Files() {
    const char* folder = ::getenv("TMPDIR");
    directory_ = std::string(folder ? folder : "/tmp") + "/fuzz_log-XXXXXX";
    CHECK(::mkdtemp(directory_.data()) != nullptr);
    for (size_t k = 0; k <= kFiles; ++k) ::close(open(k, O_CREAT));
  }
  ~Files() {
    for (size_t k = 0; k <= kFiles; ++k) ::unlink(path(k).c_str());
    ::rmdir(directory_.c_str());
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  int open(size_t file, int flags = 0) const {
    int fd = ::open(path(file).c_str(), O_RDWR | flags, 0600);
    CHECK(fd >= 0);
    return fd;
  }
  std::shared_ptr<File> shared(size_t file) const { return std::make_shared<File>(open(file)); }
  void fill(size_t file, const Bytes& content) const {
    int fd = open(file, O_TRUNC);
    CHECK(io::write_at(fd, content.data(), content.size(), 0).ok());
    ::close(fd);
  }
  Bytes read(size_t file) const {
    int fd = open(file);
    Bytes content(static_cast<size_t>(::lseek(fd, 0, SEEK_END)));
    CHECK(io::read_at(fd, content.data(), content.size(), 0).ok());
    ::close(fd);
    return content;
  }
  std::vector<Bytes> read_all() const {
    std::vector<Bytes> all;
    for (size_t k = 0; k <= kFiles; ++k) all.push_back(read(k));
    return all;
  }

 private:
  std::string path(size_t file) const { return directory_ + "/" + std::to_string(file); }

  std::string directory_;
};

Status open_log(const Files& files, const Slot& state, uint64_t unit, Log* log) {
  std::vector<FileRule> rules{{1, LengthRule::payload, unit, 1, true, files.shared(0)},
                              {2, LengthRule::offsets, 8, 0, true, files.shared(1)},
                              {3, LengthRule::rows, 4, 0, true, files.shared(2)},
                              {4, LengthRule::edits, 32, 0, true, files.shared(3)},
                              {5, LengthRule::sums, 24, 0, false, files.shared(4)}};
  return log->open(std::move(rules), files.open(kFiles), -1, -1, {}, state, state.seq + 1, true);
}

uint64_t number(Input& input) {
  auto kind = input.take<uint8_t>();
  return kind < 240 ? kind % 20 : input.take<uint64_t>();
}

// The correct digest of a slot whose rows are all durable, from the files.
uint64_t true_digest(const std::vector<Bytes>& content, const Slot& slot, uint64_t unit) {
  uint64_t end = 0, total = 0;
  if (slot.rows < content[1].size() / 8) memcpy(&end, content[1].data() + slot.rows * 8, 8);
  const uint64_t extents[] = {end * unit, slot.rows * 8 + 8, slot.rows * 4, slot.edits * 32};
  for (size_t k = 0; k < 4; ++k) {
    if (extents[k] > content[k].size()) return 0;
    uint64_t block = extents[k] / kBlock, rest = extents[k] % kBlock;
    if (rest) total += xxh64(content[k].data() + block * kBlock, rest, uint64_t{k + 1} << 48 | block);
  }
  return total;
}

Slot take_slot(Input& input) {
  Slot slot;
  slot.durable = input.below(2);
  slot.flags = static_cast<uint32_t>(input.below(16) ? 1 : 3);
  slot.seq = number(input);
  slot.generation = input.below(8) ? 1 : 2;
  slot.rows = number(input);
  slot.edits = input.below(4) ? 0 : number(input);
  slot.durable_rows = input.below(4) ? slot.rows : number(input);
  slot.durable_edits = input.below(4) ? slot.edits : number(input);
  return slot;
}

bool begins_with(const Bytes& bytes, const Bytes& start, uint64_t size) {
  return size <= bytes.size() && size <= start.size() &&
         std::equal(start.begin(), start.begin() + static_cast<ptrdiff_t>(size), bytes.begin());
}

void append(const Files& files, Input& input, uint64_t unit, Log* log) {
  std::vector<Bytes> before = files.read_all();

  std::vector<uint64_t> ends;
  uint64_t end = 0;
  for (uint64_t k = input.below(5); k > 0; --k) ends.push_back(end += input.below(9));
  Bytes payload = input.bytes(end * unit), fixed = input.bytes(ends.size() * 4);
  std::vector<Edit> edits(input.below(3));
  const FilePart parts[] = {{payload.data(), payload.size()},
                            {ends.data(), ends.size() * 8},
                            {fixed.data(), fixed.size()},
                            {edits.data(), edits.size() * sizeof(Edit)}};
  CommitRequest request{.parts = parts, .rows = ends.size(), .edits = edits.size()};
  request.durable = input.below(8) == 0;
  Status status = log->commit(request);

  std::vector<Bytes> after = files.read_all();
  for (size_t k = 0; k < kFiles; ++k) {
    // It may first have adopted a commit of another writer, to which it then appended.
    uint64_t added = status.ok() && k < std::size(parts) ? parts[k].size : 0;
    CHECK(added <= log->extent(k) && begins_with(after[k], before[k], log->extent(k) - added));
    CHECK(log->extent(k) <= after[k].size());
  }
  if (!status.ok()) return;
  Log other;
  Slot state = log->state();
  CHECK(open_log(files, state, unit, &other).ok());
  for (size_t k = 0; k < kFiles; ++k) CHECK(other.extent(k) == log->extent(k));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Files files;
  Input input(data, size);
  uint64_t unit = 1 + input.below(8);
  Slot state = take_slot(input);
  std::vector<Bytes> content;
  for (size_t k = 0; k < kFiles; ++k) {
    static const uint64_t most[] = {200, 24, 24, 4, 2}, units[] = {1, 8, 4, 32, 24};
    uint64_t count = input.below(most[k]);
    content.push_back(input.bytes(count * units[k]));
    if (k == 1) {  // mostly meaningful numbers
      for (size_t at = 0; at + 8 <= content[k].size(); at += 8)
        if (content[k][at + 7] < 250)
          std::fill_n(content[k].begin() + static_cast<ptrdiff_t>(at) + 1, 7, uint8_t{0});
    }
    files.fill(k, content[k]);
  }
  if (input.below(8)) state.digest = true_digest(content, state, unit);
  // Written to COMMIT by others meanwhile.
  Bytes commit(CommitFile::kSize);
  for (uint64_t place = 0; place < CommitFile::kSlots; ++place) {
    Slot slot = state;
    if (input.below(4) == 0) slot = take_slot(input);
    slot.durable = place >= 2;
    SlotBytes bytes = encode_slot(slot);
    std::copy(bytes.begin(), bytes.end(),
              commit.begin() + static_cast<ptrdiff_t>(place * CommitFile::kStride));
  }
  files.fill(kFiles, commit);

  Log log;
  if (!open_log(files, state, unit, &log).ok()) return 0;
  for (int k = 0; k < 3 && !input.empty(); ++k) append(files, input, unit, &log);
  return 0;
}
