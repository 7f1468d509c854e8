// Open files and locks as Python holds them: from birth on, so that no signal's handler comes between the
// system's descriptor and its owner.

#pragma once

#include <memory>

#include "file.h"
#include "python.h"

namespace mmap_ninja {

struct PyFile {
  std::shared_ptr<File> file;
};

// What is written to, by the process that opened it.
int writer_fd(const PyFile& file, const std::string& path);

}  // namespace mmap_ninja
