// Open files and locks as Python objects: they own descriptors from the system call on, so that no signal
// handler runs in between.

#pragma once

#include <memory>

#include "file.h"
#include "python.h"

namespace mmap_ninja {

struct PyFile {
  std::shared_ptr<File> file;
};

// The descriptor for writing; only for the process that opened the file.
int writer_fd(const PyFile& file, const std::string& path);

}  // namespace mmap_ninja
