#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "spans.h"
#include "status.h"

namespace mmap_ninja {

struct ZstdLibrary;  // the functions that are called

// zstd with a level and perhaps a dictionary. Calls the stable functions of libzstd in a shared library that
// is found at run time, so that neither building nor installing this one needs it. Thread-safe. Threads hold
// the GIL, if there is one, when they take or return workers, so that a fork cannot leave the lock of a child
// locked.
class Zstd : public std::enable_shared_from_this<Zstd> {
 public:
  // The maximum size of a sample in bytes; larger ones are refused by writers and readers.
  static constexpr uint64_t kMaxSample = INT32_MAX;

  // The state of one thread for decoding and encoding; returned to its codec, which it keeps alive.
  class Worker {
   public:
    Worker(Worker&& other) noexcept;
    Worker& operator=(Worker&&) = delete;
    ~Worker();

    // Decodes a frame to exactly `size` bytes at `out`.
    Status decode(Span frame, uint8_t* out, uint64_t size);
    // Appends the frame of a sample of at most kMaxSample bytes; an empty sample has no frame.
    Status encode(Span sample, std::vector<uint8_t>* out);
    // Decodes a frame to exactly `size` bytes at `sample`: memory of the worker, valid until its next call.
    Status decode(Span frame, uint64_t size, const uint8_t** sample);

   private:
    friend class Zstd;
    struct State;
    Status prepare();
    Status decode_to(Span frame, uint8_t* out, uint64_t size);
    Worker(std::shared_ptr<const Zstd> codec, std::unique_ptr<State> state);
    std::shared_ptr<const Zstd> codec_;
    std::unique_ptr<State> state_;
  };

  // Code::no_library if `path` is not a shared library with the functions of libzstd.
  static Status open(const std::string& path, int level, Span dictionary, std::shared_ptr<const Zstd>* codec);
  // A dictionary of at most `size` bytes for samples like these, given back to back. Code::untrained if they
  // are too few or too short.
  static Status train(const std::string& path, const uint8_t* samples, const std::vector<size_t>& sizes,
                      uint64_t size, std::vector<uint8_t>* dictionary);
  ~Zstd();
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;

  Worker worker() const;
  // The size that a frame states, if it is possible and at most kMaxSample; memory of that size is safe to
  // allocate. Else Code::bad_frame.
  Status stated_size(Span frame, uint64_t* size) const;

 private:
  Zstd(const ZstdLibrary* library, int level, Span dictionary);

  const ZstdLibrary* library_;
  int level_;
  std::vector<uint8_t> dictionary_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Worker::State>> idle_;
};

// How the spans of a compressed column become samples.
struct Frames {
  std::shared_ptr<const Zstd> codec;  // null: the spans are the samples
  std::shared_ptr<Mapping> sizes;     // u32 per row; null: only the frames state their sizes

  // The size of a decoded sample in bytes, checked, so that memory of that size is safe to allocate.
  Status size(uint64_t row, Span frame, uint64_t* size) const;
  // The same, unchecked, and from the sizes file without reading the frame if there is one.
  Status said_size(uint64_t row, Span frame, uint64_t* size) const;
};

// Fills offsets[0..count] with the running sizes of the decoded rows. `measured`: how many are known; fewer
// than `count` if the next one is damaged.
Status measure_decoded(const Spans& spans, const Frames& frames, const uint64_t* rows, uint64_t count,
                       int64_t* offsets, uint64_t* measured);

// The workers for a batch that decodes to, or encodes, `bytes`: one for each thread that is worthwhile.
std::vector<Zstd::Worker> batch_workers(const Zstd& codec, uint64_t bytes);

// Decodes the rows back to back to `values`, as `measure_decoded` found them, on several threads. `decoded`:
// how many are done; fewer than `count` if the next one is damaged.
Status decode_batch(const Spans& spans, std::vector<Zstd::Worker>& workers, const uint64_t* rows,
                    uint64_t count, const int64_t* offsets, uint8_t* values, uint64_t* decoded);

// As `find`, for compressed spans.
Status find_decoded(const Spans& spans, const Frames& frames, Zstd::Worker& worker, const uint64_t* rows,
                    uint64_t count, Span wanted, uint64_t* k);

// Encodes samples, given back to back, on several threads: returns the frames back to back, and their ends.
// An error names the position of the sample in the batch.
Status encode_batch(std::vector<Zstd::Worker>& workers, const uint8_t* samples, const uint64_t* ends,
                    uint64_t count, std::vector<std::vector<uint8_t>>* pieces, uint64_t* frame_ends);

}  // namespace mmap_ninja
