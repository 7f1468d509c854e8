// Asking for rows that are not in memory: advice that changes no result, and neither fails nor waits for
// ever.

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "check.h"
#include "lookahead.h"
#include "pages.h"

using namespace mmap_ninja;

namespace {

std::shared_ptr<Mapping> file_of(const void* data, size_t size, Access access) {
  char path[] = "/tmp/test_pages-XXXXXX";
  int fd = mkstemp(path);
  CHECK(fd >= 0);
  unlink(path);
  CHECK(pwrite(fd, data, size, 0) == static_cast<ssize_t>(size));
  std::shared_ptr<Mapping> file;
  CHECK(Mapping::open(fd, size, access, "data", &file).ok());
  close(fd);
  return file;
}

Spans spans_of(const std::string& payload, const std::vector<uint64_t>& offsets, Access access) {
  auto index = file_of(offsets.data(), offsets.size() * sizeof(uint64_t), access);
  return Spans(file_of(payload.data(), payload.size(), access), payload.size(), 1,
               {index, index, sizeof(uint64_t)});
}

void test_what_was_written_is_in_memory() {
  for (Access access : {Access::map, Access::pread}) {
    Spans spans = spans_of(std::string(100000, 'x'), {0, 10, 10, 50000, 100000}, access);
    const uint64_t rows[] = {3, 0, 1, 2};
    RowFiles files(spans);
    CHECK(!files.are_cold(rows, 4));
    files.ask_for(rows, 4);
    files.read_in(rows, 4);
    for (Residency found : {files.residency(rows, 4), files.residency_between(0, 3)})
      CHECK(found.bytes >= 100000 && found.cached == found.bytes);
  }
}

void test_damaged_offsets_are_left_to_readers() {
  for (Access access : {Access::map, Access::pread})
    for (uint64_t bad : {uint64_t{7}, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX}) {
      RowFiles files(spans_of("abbccc", {0, 1, bad, 3, 6}, access));
      const uint64_t rows[] = {0, 3, 1, 2};
      CHECK(!files.are_cold(rows, 4));
      files.ask_for(rows, 4);
      files.read_in(rows, 4);
      (void)files.residency(rows, 4);
      (void)files.residency_between(0, 3);
      (void)files.residency_between(1, 2);
    }
}

void test_memory_has_no_files() {
  std::shared_ptr<Mapping> memory;
  uint8_t* bytes;
  CHECK(Mapping::allocate(8, &memory, &bytes).ok());
  RowFiles files(Spans(memory, 8, 1, {}));
  const uint64_t rows[] = {0, 7};
  CHECK(!files.are_cold(rows, 2));
  files.ask_for(rows, 2);
  CHECK(files.residency(rows, 2).bytes == 0);
}

std::vector<Needed> needed_of(const Spans& spans, std::vector<uint64_t> rows) {
  std::vector<Needed> needed;
  needed.push_back({{RowFiles(spans)}, std::move(rows)});
  return needed;
}

void test_lookahead_makes_all_requests_in_order() {
  Spans spans(file_of(std::string(1 << 20, 'x').data(), 1 << 20, Access::map), 1 << 20, 1 << 10, {});
  for (int round = 0; round < 50; ++round) {
    Lookahead lookahead;
    uint64_t last = 0;
    for (uint64_t k = 0; k < 20; ++k) {
      uint64_t request = lookahead.ask_for(needed_of(spans, {k, 1000 - k, 5}));
      CHECK(request == last + 1);
      last = request;
    }
    lookahead.wait_for(last);
    CHECK(lookahead.warm() == 20);
    lookahead.stream(needed_of(spans, {0, 1023}));
    lookahead.wait_for(last + 1);
  }
}

void test_stopped_lookahead_forgets_the_rest_and_starts_anew() {
  Spans spans(file_of(std::string(1 << 20, 'x').data(), 1 << 20, Access::map), 1 << 20, 1 << 10, {});
  Lookahead lookahead;
  uint64_t last = 0;
  for (int round = 0; round < 50; ++round) {
    for (uint64_t k = 0; k < 100; ++k) last = lookahead.ask_for(needed_of(spans, {k}));
    lookahead.stop();
    lookahead.wait_for(last);  // none is awaited for ever
    CHECK(lookahead.is_idle());
  }
}

void test_forked_child_does_nothing() {
  Spans spans(file_of(std::string(1 << 20, 'x').data(), 1 << 20, Access::map), 1 << 20, 1 << 10, {});
  for (int round = 0; round < 20; ++round) {
    Lookahead lookahead;
    for (uint64_t k = 0; k < 20; ++k) lookahead.ask_for(needed_of(spans, {k}));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      alarm(20);
      lookahead.wait_for(lookahead.ask_for(needed_of(spans, {1})));
      lookahead.stop();
      _exit(lookahead.is_idle() ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
}

}  // namespace

int main() {
  test_what_was_written_is_in_memory();
  test_damaged_offsets_are_left_to_readers();
  test_memory_has_no_files();
  test_lookahead_makes_all_requests_in_order();
  test_stopped_lookahead_forgets_the_rest_and_starts_anew();
  test_forked_child_does_nothing();
  return 0;
}
