// The commit engine without Python: what it writes, how writers see each other, and failing system calls.

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "io.h"
#include "log.h"

using namespace mmap_ninja;

namespace {

constexpr const char* kNames[] = {"COMMIT", "LOCK", "data", "offsets", "edits", "sums"};

// The files of a dataset in a new directory.
struct Files {
  std::string directory;

  explicit Files(uint32_t flags = kComplete) {
    char path[] = "/tmp/test_log-XXXXXX";
    CHECK(mkdtemp(path) != nullptr);
    directory = path;
    Slot first{};
    first.seq = 1;
    first.generation = 1;
    first.flags = flags;
    for (const char* name : kNames) {
      int fd = ::open((directory + "/" + name).c_str(), O_RDWR | O_CREAT, 0600);
      CHECK(fd >= 0);
      if (name == std::string("offsets")) CHECK(io::write_at(fd, "\0\0\0\0\0\0\0", 8, 0).ok());
      if (name == std::string("COMMIT")) {
        CHECK(io::truncate(fd, CommitFile::kSize).ok());
        for (int place = 0; place < CommitFile::kSlots; ++place) {
          first.durable = place >= 2;
          first.digest = xxh64("\0\0\0\0\0\0\0", 8, uint64_t{2} << 48);
          SlotBytes bytes = encode_slot(first);
          CHECK(
              io::write_at(fd, bytes.data(), bytes.size(), static_cast<uint64_t>(place) * CommitFile::kStride)
                  .ok());
        }
      }
      close(fd);
    }
  }

  ~Files() {
    for (const char* name : kNames) unlink((directory + "/" + name).c_str());
    rmdir(directory.c_str());
  }

  int open(const char* name) const {
    int fd = ::open((directory + "/" + name).c_str(), O_RDWR);
    CHECK(fd >= 0);
    return fd;
  }

  std::shared_ptr<File> shared(const char* name) const { return std::make_shared<File>(open(name)); }

  Slot newest() const {
    int fd = open("COMMIT");
    Slot best{};
    for (uint64_t place = 0; place < CommitFile::kSlots; ++place) {
      SlotBytes bytes;
      Slot slot;
      uint16_t version;
      CHECK(io::read_at(fd, bytes.data(), bytes.size(), place * CommitFile::kStride).ok());
      if (decode_slot(bytes, &slot, &version) == SlotState::valid && slot.seq >= best.seq) best = slot;
    }
    close(fd);
    return best;
  }

  std::vector<std::string> contents() const {
    std::vector<std::string> found;
    for (const char* name : kNames) {
      int fd = open(name);
      struct stat info;
      CHECK(fstat(fd, &info) == 0);
      found.emplace_back(static_cast<size_t>(info.st_size), '\0');
      CHECK(io::read_at(fd, found.back().data(), found.back().size(), 0).ok());
      close(fd);
    }
    return found;
  }

  // Overwrites the files, like restoring a backup in place.
  void restore(const std::vector<std::string>& contents) const {
    for (size_t k = 0; k < contents.size(); ++k) {
      int fd = open(kNames[k]);
      CHECK(io::write_at(fd, contents[k].data(), contents[k].size(), 0).ok());
      CHECK(io::truncate(fd, contents[k].size()).ok());
      close(fd);
    }
  }

  Status start(Log* log, bool builds = false) const {
    std::vector<FileRule> rules{{1, LengthRule::payload, 1, 1, true, shared("data")},
                                {2, LengthRule::offsets, 8, 0, true, shared("offsets")},
                                {3, LengthRule::edits, 32, 0, true, shared("edits")},
                                {4, LengthRule::sums, 24, 0, false, shared("sums")}};
    Slot state = newest();
    LogPaths paths{directory, directory + "/LOCK", directory + "/COMMIT"};
    return log->open(std::move(rules), open("COMMIT"), open("LOCK"), -1, paths, state, state.seq + 1, true,
                     builds);
  }

  // The sums computed from the files must be those that the writer kept up to date.
  void check_digest() const {
    Slot slot = newest();
    uint64_t total = 0, content = 0, edits_end = 0;
    std::vector<BlockSum> complete;
    auto offset = [&](uint64_t row) {
      uint64_t value;
      int fd = open("offsets");
      CHECK(io::read_at(fd, &value, 8, row * 8).ok());
      close(fd);
      return value;
    };
    struct Range {
      const char* name;
      uint64_t id, durable, extent;
    };
    for (const Range& range : {Range{"data", 1, offset(slot.durable_rows), offset(slot.rows)},
                               Range{"offsets", 2, (slot.durable_rows + 1) * 8, (slot.rows + 1) * 8},
                               Range{"edits", 3, slot.durable_edits * 32, slot.edits * 32}}) {
      int fd = open(range.name);
      uint64_t part;
      CHECK(range_digest(range.id, fd, range.durable, range.extent, &part, &complete).ok());
      total += part;
      CHECK(range_digest(range.id, fd, 0, range.extent, &part, &complete).ok());
      content += part;
      if (range.id == 3) {
        CHECK(range_digest(3, fd, range.extent / kBlock * kBlock, range.extent, &part, &complete).ok());
        edits_end = part;
      }
      close(fd);
    }
    CHECK(total == slot.digest);
    CHECK((slot.carries & kSums) && content == slot.content && edits_end == slot.edits_end);
  }
};

Status append(Log* log, const std::vector<std::string>& samples, CommitRequest request = {}) {
  std::string payload;
  std::vector<uint64_t> ends;
  for (const std::string& sample : samples) {
    payload += sample;
    ends.push_back(payload.size());
  }
  // Each edit deletes the first sample again; only the lines matter here.
  std::vector<Edit> edits(request.edits, Edit{kDelete, 0, 1, 0});
  const FilePart parts[] = {{payload.data(), payload.size()},
                            {ends.data(), ends.size() * sizeof(uint64_t)},
                            {edits.data(), edits.size() * sizeof(Edit)}};
  request.parts = parts;
  request.rows = samples.size();
  return log->commit(request);
}

void test_appends_of_all_sizes_keep_the_digest_right() {
  Files files;
  Log log;
  CHECK(files.start(&log).ok());
  uint64_t bytes = 0, rows = 0;
  for (uint64_t size : {0u, 1u, 100u, 65535u, 65536u, 65537u, 7u, 200000u, 8000u, 131072u}) {
    CHECK(append(&log, {std::string(size, 'x'), "y"}).ok());
    bytes += size + 1;
    rows += 2;
    CHECK(log.state().rows == rows && log.extent(0) == bytes && log.extent(1) == (rows + 1) * 8);
    CHECK(log.extent(3) == (bytes / kBlock + (rows + 1) * 8 / kBlock) * sizeof(BlockSum));
    files.check_digest();
    if (size == 65537) CHECK(append(&log, {}, {.durable = true}).ok());
    files.check_digest();
  }
}

void test_two_writers_in_turn_see_each_other() {
  Files files;
  Log first, second;
  CHECK(files.start(&first).ok() && files.start(&second).ok());
  for (uint64_t turn = 0; turn < 60; ++turn) {
    Log* log = turn % 2 ? &second : &first;
    CHECK(append(log, {std::string(turn * 300, 'z')}, {.durable = turn % 7 == 6}).ok());
    CHECK(log->state().rows == turn + 1);
    files.check_digest();
  }
}

Base seen_by(const Log& log) { return {log.state().rows, log.state().edits, log.state().content}; }

void test_content_sum_and_edits_end_are_carried_along_by_writers_in_turn() {
  Files files;
  std::unique_ptr<Log> logs[2];
  for (auto& log : logs) CHECK(files.start((log = std::make_unique<Log>()).get()).ok());
  uint64_t random = 1;
  for (uint64_t turn = 0; turn < 400; ++turn) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    std::unique_ptr<Log>& log = logs[random >> 63];
    std::vector<std::string> samples(random >> 20 & 3, std::string(random >> 30 & 0x7fff, 's'));
    uint64_t edits = turn == 0 ? 0 : random >> 50 & 0x3f;
    CHECK(append(log.get(), samples, {.edits = edits, .durable = turn % 11 == 10}).ok());
    if (!samples.empty() || edits > 0) files.check_digest();
    if (turn % 50 == 49) CHECK(files.start((log = std::make_unique<Log>()).get()).ok());
  }
}

void test_a_commit_continues_its_base() {
  Files files;
  Log log, other;
  CHECK(files.start(&log).ok() && append(&log, {"a", "b"}).ok());
  Base early = seen_by(log);
  std::vector<std::string> backup = files.contents();
  CHECK(append(&log, {std::string(100'000, 'c')}, {.edits = 3}).ok());
  CHECK(append(&log, {"d"}).ok());
  Base late = seen_by(log);
  CHECK(append(&log, {"e"}, {.base = &late}).ok());
  CHECK(append(&log, {"f"}, {.base = &early}).ok());
  Base never{late.rows, late.edits, late.content + 1};
  CHECK(append(&log, {"g"}, {.base = &never}).code == Code::moved);
  Base more{late.rows + 9, late.edits, late.content};
  CHECK(append(&log, {"g"}, {.base = &more}).code == Code::moved);

  files.restore(backup);

  CHECK(append(&log, {"g"}, {.base = &early}).code == Code::moved);  // with a number that was used before
  CHECK(files.start(&other).ok());
  for (int k = 0; k < 5; ++k) CHECK(append(&other, {"of another"}, {.edits = 1}).ok());
  CHECK(append(&log, {"g"}, {.base = &late}).code == Code::moved);
  CHECK(append(&log, {"g"}, {.base = &early}).ok());
  CHECK(files.newest().rows == 8);
  files.check_digest();
}

void test_another_writers_commit_is_a_conflict_where_none_was_expected() {
  Files files;
  Log first, second;
  CHECK(files.start(&first).ok() && files.start(&second).ok());
  CHECK(append(&first, {"a"}, {.expected_rows = 0}).ok());
  Status status = append(&second, {"b"}, {.expected_rows = 0});
  CHECK(status.code == Code::conflict && status.found == 1 && status.expected == 0);
  CHECK(append(&second, {"b"}, {.expected_rows = 1}).ok());
}

int failing_call = 0;  // counts down to the system call that fails
int fail_with = 0;

int64_t fail_one(const io::Call&) { return --failing_call == 0 ? -fail_with : 0; }

void test_a_failing_call_leaves_nothing_and_the_next_append_works() {
  for (int error : {ENOSPC, EIO, EFBIG}) {
    for (int call = 2; call <= 6; ++call) {  // call 1 takes the lock
      Files files;
      Log log;
      CHECK(files.start(&log).ok() && append(&log, {"kept"}).ok());
      failing_call = call;
      fail_with = error;
      io::set_hook(fail_one);
      Status status = append(&log, {"lost", "lost too"});
      io::set_hook(nullptr);
      uint64_t rows = status.ok() ? 3 : 1;
      CHECK(status.ok() || (status.code == Code::system && status.error == error));
      CHECK(append(&log, {"next"}).ok() && files.newest().rows == rows + 1);
      files.check_digest();
    }
  }
}

void test_a_failing_sync_ends_all_writing() {
  Files files;
  Log log, other;
  CHECK(files.start(&log).ok() && files.start(&other).ok() && append(&log, {"kept"}).ok());
  failing_call = 2;
  fail_with = EIO;
  io::set_hook(fail_one);
  Status status = append(&log, {}, {.durable = true});
  io::set_hook(nullptr);
  CHECK(status.code == Code::uncertain);
  CHECK(append(&log, {"x"}).code == Code::suspect && append(&other, {"x"}).code == Code::suspect);
  CHECK(files.newest().rows == 1 && (files.newest().flags & kSuspect));
}

// The synced inodes, in order.
std::vector<uint64_t> waits;

int64_t note_waits(const io::Call& call) {
  struct stat info;
  if (call.name == std::string("fdatasync") || call.name == std::string("fsync"))
    waits.push_back(fstat(call.fd, &info) == 0 ? info.st_ino : 0);
  return 0;
}

std::vector<uint64_t> waits_of(Log* log, const std::vector<std::string>& samples) {
  waits.clear();
  io::set_hook(note_waits);
  CHECK(append(log, samples, {.durable = true}).ok());
  io::set_hook(nullptr);
  return waits;
}

void test_a_durable_slot_is_settled_once_when_it_is_acknowledged() {
  Files files;
  auto inode = [&](const char* name) {
    struct stat info;
    CHECK(stat((files.directory + "/" + name).c_str(), &info) == 0);
    return static_cast<uint64_t>(info.st_ino);
  };
  const uint64_t data = inode("data"), offsets = inode("offsets"), commit = inode("COMMIT");
  const std::vector<uint64_t> none, names{inode("."), inode("..")};
  auto with_names = [&](std::vector<uint64_t> some) {
    some.insert(some.end(), names.begin(), names.end());
    return some;
  };
  Log writer, first, second;

  // The first slots are from another file, as in a copy.
  CHECK(files.start(&writer).ok() && files.start(&first).ok());
  CHECK(waits_of(&writer, {}) == with_names({data, offsets, inode("edits"), inode("sums"), commit}));
  CHECK(waits_of(&writer, {}) == none);
  for (int k = 0; k < 2; ++k)
    CHECK(waits_of(&writer, {"x"}) == (std::vector<uint64_t>{data, offsets, commit}));

  CHECK(waits_of(&first, {}) == with_names({commit}));
  CHECK(waits_of(&first, {}) == none);
  CHECK(append(&writer, {"fast"}).ok());
  CHECK(waits_of(&first, {}) == (std::vector<uint64_t>{data, offsets, commit}));  // it publishes them itself
  CHECK(waits_of(&first, {}) == none);
  CHECK(waits_of(&writer, {"y"}) ==
        (std::vector<uint64_t>{data, offsets, commit, commit}));  // first its slot
  CHECK(waits_of(&first, {}) == (std::vector<uint64_t>{commit}));

  CHECK(files.start(&second).ok() && append(&second, {"fast"}).ok());
  CHECK(waits_of(&second, {}) == (std::vector<uint64_t>{data, offsets, commit, names[0], names[1], commit}));
}

std::string failing_name;  // of the counted calls

int64_t fail_named(const io::Call& call) {
  return call.name == failing_name && --failing_call == 0 ? -fail_with : 0;
}

void test_a_switch_that_may_not_be_on_the_disk_marks_the_commit_before() {
  for (const char* name : {"fdatasync", "fsync", "pwrite"}) {
    for (int call = 1;; ++call) {
      Files files;
      int fd = files.open("COMMIT");
      CommitFile commits;
      CHECK(commits.open(fd, files.directory).ok() && commits.read().ok());
      const Slot before = files.newest();
      Slot next = before;
      next.generation = 2;
      next.seq = before.seq + 1;
      failing_name = name;
      failing_call = call;
      fail_with = EIO;
      io::set_hook(fail_named);
      Status status = commits.put_everywhere(next, {}, before);
      io::set_hook(nullptr);
      close(fd);
      const Slot newest = files.newest();
      if (status.ok()) {
        CHECK(call > 1 && newest.generation == 2 && newest.flags == before.flags);
        break;
      }
      // A failing write before anything was written leaves no doubt.
      bool plain = name == std::string("pwrite") && call == 1;
      CHECK(status.code == (plain ? Code::system : Code::uncertain));
      CHECK(newest.generation == 1 && newest.rows == before.rows);
      CHECK(newest.flags == (plain ? before.flags : before.flags | kSuspect));
      CHECK(newest.seq == (plain ? before.seq : next.seq + 1));
    }
  }
}

int64_t write_three_bytes(const io::Call& call) { return call.name == std::string("pwrite") ? 3 : 0; }

void test_short_writes_are_continued() {
  Files files;
  Log log;
  CHECK(files.start(&log).ok());
  io::set_hook(write_three_bytes);
  Status status = append(&log, {"a sample of more than three bytes", "and another"}, {.durable = true});
  io::set_hook(nullptr);
  CHECK(status.ok());
  files.check_digest();
}

void test_a_taken_lock_times_out() {
  Files files;
  Log log;
  CHECK(files.start(&log).ok());
  int holder = files.open("LOCK");
  bool taken;
  CHECK(io::try_lock(holder, &taken).ok() && taken);
  CHECK(append(&log, {"x"}, {.lock_seconds = 0.01}).code == Code::timed_out);
  CHECK(io::unlock(holder).ok() && append(&log, {"x"}).ok());
  close(holder);
}

void test_an_append_beside_a_first_build_is_refused() {
  Files files(0);
  Log builder, other;
  int held = files.open("COMMIT");
  bool taken;
  CHECK(io::try_lock(held, &taken).ok() && taken);
  CHECK(files.start(&builder, true).ok() && files.start(&other).ok());
  CHECK(append(&builder, {"a"}).ok());
  CHECK(append(&other, {"x"}).code == Code::building);
  CHECK(append(&other, {}, {.durable = true}).ok());
  CHECK(append(&builder, {"b"}, {.set_flags = kComplete}).ok());
  CHECK(append(&other, {"c"}).ok() && files.newest().rows == 3);
  close(held);
}

void test_an_append_to_an_ended_first_build_leaves_its_lock_free() {
  Files files(0);
  Log log;
  CHECK(files.start(&log).ok() && append(&log, {"a"}).ok());
  int builder = files.open("COMMIT");
  bool taken;
  CHECK(io::try_lock(builder, &taken).ok() && taken);
  CHECK(append(&log, {"x"}).code == Code::building);
  close(builder);
  CHECK(append(&log, {"b"}).ok() && files.newest().rows == 2);
}

void test_a_forked_child_may_not_write() {
  Files files;
  Log log;
  CHECK(files.start(&log).ok());
  pid_t child = fork();
  if (child == 0) _exit(append(&log, {"x"}).code == Code::forked ? 0 : 1);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(append(&log, {"x"}).ok());
}

void test_sizes_past_63_bits_are_refused() {
  Files files;
  Log log;
  CHECK(files.start(&log).ok());
  uint64_t end = 1;
  const FilePart parts[] = {{"x", uint64_t{1} << 63}, {&end, 8}};
  CHECK(log.commit({.parts = parts, .rows = 1}).code == Code::overflow);
  const FilePart mismatched[] = {{"x", 1}, {&end, 8}};
  CHECK(log.commit({.parts = mismatched, .rows = 2}).code == Code::bad_batch);
}

void test_a_closed_log_refuses() {
  Files files;
  Log log;
  CHECK(files.start(&log).ok());
  log.close();
  log.close();
  CHECK(append(&log, {"x"}).code == Code::closed);
}

}  // namespace

int main() {
  test_appends_of_all_sizes_keep_the_digest_right();
  test_two_writers_in_turn_see_each_other();
  test_content_sum_and_edits_end_are_carried_along_by_writers_in_turn();
  test_a_commit_continues_its_base();
  test_another_writers_commit_is_a_conflict_where_none_was_expected();
  test_a_failing_call_leaves_nothing_and_the_next_append_works();
  test_a_failing_sync_ends_all_writing();
  test_a_durable_slot_is_settled_once_when_it_is_acknowledged();
  test_a_switch_that_may_not_be_on_the_disk_marks_the_commit_before();
  test_short_writes_are_continued();
  test_a_taken_lock_times_out();
  test_an_append_beside_a_first_build_is_refused();
  test_an_append_to_an_ended_first_build_leaves_its_lock_free();
  test_a_forked_child_may_not_write();
  test_sizes_past_63_bits_are_refused();
  test_a_closed_log_refuses();
}
