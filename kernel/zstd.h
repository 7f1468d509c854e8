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

// zstd with one level and one dictionary. It calls the stable functions of libzstd in a shared library that
// is found at run time, so that neither building nor installing this one needs it. Safe from several threads.
// Workers are taken and given back by threads that hold the GIL, if there is one: then no fork can leave the
// lock of a child taken.
class Zstd : public std::enable_shared_from_this<Zstd> {
 public:
  // Bytes of a sample: larger ones are refused when they are written and when they are read.
  static constexpr uint64_t kMaxSample = INT32_MAX;

  // What one thread needs to decode and encode; goes back to its codec, which it keeps alive.
  class Worker {
   public:
    Worker(Worker&& other) noexcept;
    Worker& operator=(Worker&&) = delete;
    ~Worker();

    // Decodes a frame to exactly `size` bytes at `out`.
    Status decode(Span frame, uint8_t* out, uint64_t size);
    // Appends a frame of at most kMaxSample bytes; an empty sample is no frame at all.
    Status encode(Span sample, std::vector<uint8_t>* out);
    // Decodes a frame to exactly `size` bytes at `sample`: memory of the worker's own, until its next call.
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

  // Code::no_library if `path` is no shared library with the functions of libzstd.
  static Status open(const std::string& path, int level, Span dictionary, std::shared_ptr<const Zstd>* codec);
  // A dictionary of at most `size` bytes for samples like these, which lie back to back. Code::untrained if
  // they are too few or too short.
  static Status train(const std::string& path, const uint8_t* samples, const std::vector<size_t>& sizes,
                      uint64_t size, std::vector<uint8_t>* dictionary);
  ~Zstd();
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;

  Worker worker() const;
  // How many bytes a frame says that it holds, if it could and is within kMaxSample; memory of that size is
  // safe to ask for. Else Code::bad_frame.
  Status stated_size(Span frame, uint64_t* size) const;

 private:
  Zstd(const ZstdLibrary* library, int level, Span dictionary);

  const ZstdLibrary* library_;
  int level_;
  std::vector<uint8_t> dictionary_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Worker::State>> idle_;
};

// How the spans of a column become samples, where they are compressed.
struct Frames {
  std::shared_ptr<const Zstd> codec;  // none: they are the samples
  std::shared_ptr<Mapping> sizes;     // u32 per row; none: only the frames say it

  // Bytes of a decoded sample; checked, so that memory of that size is safe to ask for.
  Status size(uint64_t row, Span frame, uint64_t* size) const;
  // The same unchecked, and without a look at the frame where there is a file of sizes.
  Status said_size(uint64_t row, Span frame, uint64_t* size) const;
};

// Fills offsets[0..count] with the running sizes of the decoded rows. `measured`: how many are known, which
// is all unless the next one is damaged.
Status measure_decoded(const Spans& spans, const Frames& frames, const uint64_t* rows, uint64_t count,
                       int64_t* offsets, uint64_t* measured);

// The workers for a batch that decodes to, or encodes, `bytes`: one per thread that is worth it.
std::vector<Zstd::Worker> batch_workers(const Zstd& codec, uint64_t bytes);

// Decodes the rows one after the other to `values`, as `measure_decoded` found them, on
// several threads. `decoded`: how many are there, which is all unless the next one is damaged.
Status decode_batch(const Spans& spans, std::vector<Zstd::Worker>& workers, const uint64_t* rows,
                    uint64_t count, const int64_t* offsets, uint8_t* values, uint64_t* decoded);

// As `find` for spans that are not compressed.
Status find_decoded(const Spans& spans, const Frames& frames, Zstd::Worker& worker, const uint64_t* rows,
                    uint64_t count, Span wanted, uint64_t* k);

// Encodes samples that lie back to back on several threads: the frames back to back, and where each ends.
// A failure names the sample by its position in the batch.
Status encode_batch(std::vector<Zstd::Worker>& workers, const uint8_t* samples, const uint64_t* ends,
                    uint64_t count, std::vector<std::vector<uint8_t>>* pieces, uint64_t* frame_ends);

}  // namespace mmap_ninja
