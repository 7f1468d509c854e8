// zstd for Python.

#include <string.h>

#include "column.h"

namespace mmap_ninja {
namespace {

struct PyZstd {
  std::shared_ptr<const Zstd> codec;
};

void open_codec(PyZstd* self, const std::string& library, int level, nb::bytes dictionary) {
  std::shared_ptr<const Zstd> codec;
  Span span{reinterpret_cast<const uint8_t*>(dictionary.c_str()), dictionary.size()};
  check(Zstd::open(library, level, span, &codec), library);
  new (self) PyZstd{std::move(codec)};
}

// A batch as encoded for an uncompressed column: samples back to back, and their ends.
struct Batch {
  Buffer payload;
  const uint64_t* ends;
  uint64_t count;

  Batch(nb::handle samples, nb::bytes sample_ends)
      : payload(samples),
        ends(reinterpret_cast<const uint64_t*>(sample_ends.c_str())),
        count(sample_ends.size() / sizeof(uint64_t)) {
    for (uint64_t k = 0; k < count; ++k)
      if (ends[k] < (k ? ends[k - 1] : 0) || ends[k] > payload.size())
        raise(nb::borrow(PyExc_ValueError), "expected ends of samples within the payload");
  }
  uint64_t size(uint64_t k) const { return ends[k] - (k ? ends[k - 1] : 0); }
};

// The batch for a compressed column: frames, their ends, and the sizes of the decoded samples.
nb::tuple encode(const PyZstd& self, nb::handle payload, nb::bytes ends, const std::string& path,
                 uint64_t first) {
  Batch batch(payload, ends);
  nb::object frame_ends = new_bytes(batch.count * sizeof(uint64_t));
  nb::object sizes = new_bytes(batch.count * sizeof(uint32_t));
  std::vector<std::vector<uint8_t>> pieces;
  Status status;
  {
    std::vector<Zstd::Worker> workers = batch_workers(*self.codec, batch.payload.size());
    GilReleased release;
    status = encode_batch(workers, batch.payload.data(), batch.ends, batch.count, &pieces,
                          reinterpret_cast<uint64_t*>(data_of_bytes(frame_ends)));
  }
  status.row += first;
  check(status, path);
  auto size = reinterpret_cast<uint32_t*>(data_of_bytes(sizes));
  for (uint64_t k = 0; k < batch.count; ++k) size[k] = static_cast<uint32_t>(batch.size(k));
  uint64_t total = 0;
  for (const std::vector<uint8_t>& piece : pieces) total += piece.size();
  nb::object frames = new_bytes(total);
  uint8_t* at = data_of_bytes(frames);
  for (const std::vector<uint8_t>& piece : pieces) {
    if (!piece.empty()) memcpy(at, piece.data(), piece.size());
    at += piece.size();
  }
  return nb::make_tuple(frames, frame_ends, sizes);
}

nb::bytes train(const std::string& library, nb::handle payload, nb::bytes ends, uint64_t size,
                const std::string& path) {
  Batch batch(payload, ends);
  std::vector<size_t> sizes;
  for (uint64_t k = 0; k < batch.count; ++k) sizes.push_back(batch.size(k));
  std::vector<uint8_t> dictionary;
  Status status;
  {
    GilReleased release;
    status = Zstd::train(library, batch.payload.data(), sizes, size, &dictionary);
  }
  check(status, path);
  return nb::bytes(dictionary.data(), dictionary.size());
}

}  // namespace

std::shared_ptr<const Zstd> codec_of(nb::handle codec) { return nb::cast<const PyZstd&>(codec).codec; }

void define_zstd(nb::module_& m) {
  nb::class_<PyZstd>(m, "Zstd").def("__init__", &open_codec).def("encode", &encode);
  m.def("train_zstd", &train);
}

}  // namespace mmap_ninja
