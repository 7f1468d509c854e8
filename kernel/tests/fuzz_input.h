#pragma once

#include <string.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

// A fuzzer's bytes as numbers and files; zeros when they run out.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  bool empty() const { return left_ == 0; }

  template <typename Number>
  Number take() {
    Number number{};
    copy(&number, sizeof number);
    return number;
  }
  // A number below `end`, from as few bytes as possible.
  uint64_t below(uint64_t end) { return (end > 256 ? take<uint16_t>() : take<uint8_t>()) % end; }

  std::vector<uint8_t> bytes(uint64_t size) {
    std::vector<uint8_t> bytes(size);
    copy(bytes.data(), size);
    return bytes;
  }

 private:
  void copy(void* out, size_t size) {
    size_t given = std::min(size, left_);
    if (given == 0) return;
    memcpy(out, data_, given);
    data_ += given;
    left_ -= given;
  }

  const uint8_t* data_;
  size_t left_;
};
