#include "check_utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check_bytes(data, size);

  // The same bytes as units to encode, including surrogates and values that are too large.
  Text of_two, of_four;
  for (size_t i = 0; i + 2 <= size; i += 2) of_two.push_back(data[i] | uint32_t{data[i + 1]} << 8);
  for (size_t i = 0; i + 4 <= size; i += 4) {
    of_four.push_back(data[i] | uint32_t{data[i + 1]} << 8 | uint32_t{data[i + 2]} << 16 |
                      uint32_t{data[i + 3]} << 24);
  }
  check_text(Text(data, data + size));
  check_text(of_two);
  check_text(of_four);
  return 0;
}
