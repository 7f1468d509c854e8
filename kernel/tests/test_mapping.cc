// Files that are let go, and the maps of such files.

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "check.h"
#include "mapping.h"

using namespace mmap_ninja;

namespace {

const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));

// A file with a name, until the end of its scope.
struct Temporary {
  std::string path = "/tmp/test_mapping-XXXXXX";
  int fd = mkstemp(path.data());

  explicit Temporary(const std::string& content) {
    CHECK(fd >= 0);
    write(content, 0);
  }
  ~Temporary() {
    close(fd);
    unlink(path.c_str());
  }
  void write(const std::string& bytes, uint64_t at) const {
    CHECK(pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at)) ==
          static_cast<ssize_t>(bytes.size()));
  }
  std::shared_ptr<File> opened(bool writable = false) const {
    std::shared_ptr<File> file;
    CHECK(File::open(path.c_str(), writable, false, &file).ok());
    return file;
  }
};

std::shared_ptr<Mapping> alone(const std::shared_ptr<File>& file, uint64_t size) {
  std::shared_ptr<Mapping> mapping;
  CHECK(Mapping::open_alone(file, size, "nulls", &mapping).ok());
  return mapping;
}

void test_a_file_that_was_let_go_is_found_again_by_its_path() {
  Temporary temporary("abc");
  std::shared_ptr<File> file = temporary.opened(), again;
  int fd;
  CHECK(file->borrow(&fd, &again).ok() && fd == file->fd() && !again);
  file->let_go();
  CHECK(file->fd() == -1 && file->borrow(&fd, &again).ok() && fd == again->fd());
  again.reset();
  CHECK(file->hold().ok() && file->fd() >= 0);
}

void test_another_file_at_the_path_is_not_taken_for_it() {
  Temporary temporary("abc"), other("abc");
  std::shared_ptr<File> file = temporary.opened(), again;
  file->let_go();
  int fd;
  CHECK(rename(other.path.c_str(), temporary.path.c_str()) == 0);
  CHECK(file->borrow(&fd, &again).code == Code::replaced);
  CHECK(unlink(temporary.path.c_str()) == 0);
  CHECK(file->borrow(&fd, &again).code == Code::replaced && file->hold().code == Code::replaced);
}

void test_a_named_file_is_the_first_one_that_is_found() {
  std::shared_ptr<File> file = File::named("/tmp/test_mapping-missing", false), again;
  int fd;
  CHECK(file->borrow(&fd, &again).error == ENOENT);
  Temporary temporary("abc"), other("abc");
  file = File::named(temporary.path.c_str(), false);
  CHECK(file->borrow(&fd, &again).ok());
  CHECK(rename(other.path.c_str(), temporary.path.c_str()) == 0);
  CHECK(file->borrow(&fd, &again).code == Code::replaced);
}

void test_a_closed_file_is_not_opened_again() {
  Temporary temporary("abc");
  std::shared_ptr<File> file = temporary.opened(), again;
  file->close();
  int fd;
  CHECK(file->borrow(&fd, &again).code == Code::closed);
}

void test_a_reader_keeps_its_number_when_its_file_is_opened_for_writing() {
  Temporary temporary("abc");
  std::shared_ptr<File> reader = temporary.opened(), writer = temporary.opened(true);
  int fd = reader->fd();
  CHECK(reader->take_over(writer.get()).ok() && reader->fd() == fd && writer->fd() == -1);
  CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
  reader->let_go();
  CHECK(reader->fd() == fd);  // the writer needs it
}

#if defined(__linux__)

void test_a_map_alone_keeps_no_descriptor_and_shows_what_is_appended() {
  Temporary temporary("abc");
  std::shared_ptr<File> file = temporary.opened();
  std::shared_ptr<Mapping> mapping = alone(file, 3);
  CHECK(file->fd() == -1 && mapping->check_size(3).ok());
  temporary.write(std::string(2 * page, 'x'), 3);
  CHECK(mapping->grow(3 + 2 * page).ok() && mapping->check_size(3 + 2 * page).ok());
  CHECK(mapping->data()[2 * page] == 'x');
}

void test_a_map_alone_tells_whenever_bytes_are_gone() {
  for (const std::string& content : {std::string(3, 'x'), std::string(page, 'x'), std::string(page + 1, 'x'),
                                     std::string(3 * page, 'x'), std::string(page - 1, '\0') + "x"}) {
    Temporary temporary(content);
    std::shared_ptr<Mapping> mapping = alone(temporary.opened(), content.size());
    for (uint64_t cut : {uint64_t{0}, uint64_t{1}, page - 1, page, content.size() - 1}) {
      if (cut >= content.size()) continue;
      CHECK(ftruncate(temporary.fd, static_cast<off_t>(cut)) == 0);
      CHECK(mapping->check_size(content.size()).code == Code::cut_file);
      temporary.write(content, 0);
      CHECK(mapping->check_size(content.size()).ok());
    }
  }
}

void test_a_map_alone_does_not_miss_zeros_at_the_end() {
  Temporary temporary("ab" + std::string(page - 2, '\0'));
  std::shared_ptr<Mapping> mapping = alone(temporary.opened(), page);
  CHECK(ftruncate(temporary.fd, 2) == 0);
  CHECK(mapping->check_size(page).ok() && mapping->data()[page - 1] == 0);  // nothing is lost
  CHECK(ftruncate(temporary.fd, 1) == 0);
  CHECK(mapping->check_size(page).code == Code::cut_file);
}

void test_a_map_alone_that_grows_looks_at_its_last_page() {
  Temporary temporary("ab");
  std::shared_ptr<Mapping> mapping = alone(temporary.opened(), 2);
  temporary.write(std::string(6, '\0'), 2);
  CHECK(mapping->grow(8).ok());
  CHECK(ftruncate(temporary.fd, 1) == 0 && mapping->check_size(8).code == Code::cut_file);
  temporary.write("b" + std::string(page + 100, '\0'), 1);
  CHECK(mapping->grow(page + 102).ok());  // a page of zeros
  CHECK(ftruncate(temporary.fd, static_cast<off_t>(page) + 1) == 0 && mapping->check_size(page + 102).ok());
  CHECK(ftruncate(temporary.fd, static_cast<off_t>(page)) == 0);
  CHECK(mapping->check_size(page + 102).code == Code::cut_file);
  CHECK(mapping->grow(page + 200).code == Code::cut_file);
}

#endif

}  // namespace

int main() {
  test_a_file_that_was_let_go_is_found_again_by_its_path();
  test_another_file_at_the_path_is_not_taken_for_it();
  test_a_named_file_is_the_first_one_that_is_found();
  test_a_closed_file_is_not_opened_again();
  test_a_reader_keeps_its_number_when_its_file_is_opened_for_writing();
#if defined(__linux__)
  test_a_map_alone_keeps_no_descriptor_and_shows_what_is_appended();
  test_a_map_alone_tells_whenever_bytes_are_gone();
  test_a_map_alone_does_not_miss_zeros_at_the_end();
  test_a_map_alone_that_grows_looks_at_its_last_page();
#endif
}
