#include "zstd.h"

#include <dlfcn.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <new>

#include "threads.h"

namespace mmap_ninja {

// Functions that zstd.h declares stable, with its types, and one that is not stable and may be missing.
struct ZstdLibrary {
  size_t (*compress_bound)(size_t);
  unsigned (*is_error)(size_t);
  const char* (*error_name)(size_t);
  unsigned long long (*content_size)(const void*, size_t);
  void* (*create_decoder)();
  size_t (*free_decoder)(void*);
  size_t (*decode)(void*, void*, size_t, const void*, size_t);
  size_t (*decode_with)(void*, void*, size_t, const void*, size_t, const void*);
  void* (*create_dictionary)(const void*, size_t);
  void* (*refer_to_dictionary)(const void*, size_t);  // not stable
  size_t (*free_dictionary)(void*);
  void* (*create_encoder)();
  size_t (*free_encoder)(void*);
  size_t (*set)(void*, int, int);
  size_t (*load_dictionary)(void*, const void*, size_t);
  size_t (*encode)(void*, void*, size_t, const void*, size_t);
  size_t (*train)(void*, size_t, const void*, const size_t*, unsigned);
  unsigned (*is_training_error)(size_t);
  const char* (*training_error_name)(size_t);
};

namespace {

enum Parameter : int { kLevel = 100, kContentSize = 200, kChecksum = 201, kDictionaryId = 202 };

const char* const kOtherSize = "its size is not the stated one";

constexpr uint64_t kSizeUnknown = UINT64_MAX;
constexpr uint64_t kNoFrame = UINT64_MAX - 1;

template <typename Function>
bool find(void* handle, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(::dlsym(handle, name));
  return *function != nullptr;
}

bool find_all(void* handle, ZstdLibrary* found) {
  (void)find(handle, "ZSTD_createDDict_byReference", &found->refer_to_dictionary);
  return find(handle, "ZSTD_compressBound", &found->compress_bound) &&
         find(handle, "ZSTD_isError", &found->is_error) &&
         find(handle, "ZSTD_getErrorName", &found->error_name) &&
         find(handle, "ZSTD_getFrameContentSize", &found->content_size) &&
         find(handle, "ZSTD_createDCtx", &found->create_decoder) &&
         find(handle, "ZSTD_freeDCtx", &found->free_decoder) &&
         find(handle, "ZSTD_decompressDCtx", &found->decode) &&
         find(handle, "ZSTD_decompress_usingDDict", &found->decode_with) &&
         find(handle, "ZSTD_createDDict", &found->create_dictionary) &&
         find(handle, "ZSTD_freeDDict", &found->free_dictionary) &&
         find(handle, "ZSTD_createCCtx", &found->create_encoder) &&
         find(handle, "ZSTD_freeCCtx", &found->free_encoder) &&
         find(handle, "ZSTD_CCtx_setParameter", &found->set) &&
         find(handle, "ZSTD_CCtx_loadDictionary", &found->load_dictionary) &&
         find(handle, "ZSTD_compress2", &found->encode) &&
         find(handle, "ZDICT_trainFromBuffer", &found->train) &&
         find(handle, "ZDICT_isError", &found->is_training_error) &&
         find(handle, "ZDICT_getErrorName", &found->training_error_name);
}

// Libraries stay loaded: their contexts may live as long as the process.
Status load(const std::string& path, const ZstdLibrary** library) {
  struct Loaded {
    std::string path;
    std::unique_ptr<ZstdLibrary> library;
  };
  static std::mutex mutex;
  static std::vector<Loaded> all;
  std::lock_guard<std::mutex> guard(mutex);
  for (const Loaded& loaded : all) {
    *library = loaded.library.get();
    if (loaded.path == path) return {};
  }
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  auto found = std::make_unique<ZstdLibrary>();
  if (!handle || !find_all(handle, found.get())) {
    if (handle) ::dlclose(handle);
    return {.code = Code::no_library};
  }
  *library = found.get();
  all.push_back({path, std::move(found)});
  return {};
}

}  // namespace

// ---- a worker

namespace {

// Samples up to this size are decoded right after the dictionary. Then matches in it are ordinary ones, which
// libzstd copies fast: 3.2 -> 2.4 us for one read of a 1.3 kB review.
constexpr uint64_t kRoom = uint64_t{64} << 10;

}  // namespace

struct Zstd::Worker::State {
  const ZstdLibrary* library;
  void* decoder = nullptr;
  void* dictionary = nullptr;  // refers to the first bytes of `room`, or to a copy of them
  void* encoder = nullptr;
  std::unique_ptr<uint8_t[]> room;   // the dictionary, then a sample
  std::unique_ptr<uint8_t[]> large;  // a sample that does not fit in `room`

  explicit State(const ZstdLibrary* of) : library(of) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    library->free_decoder(decoder);
    library->free_dictionary(dictionary);
    library->free_encoder(encoder);
  }
};

Zstd::Worker::Worker(std::shared_ptr<const Zstd> codec, std::unique_ptr<State> state)
    : codec_(std::move(codec)), state_(std::move(state)) {}

Zstd::Worker::Worker(Worker&& other) noexcept = default;

Zstd::Worker::~Worker() {
  if (!state_) return;
  state_->large.reset();
  std::lock_guard<std::mutex> guard(codec_->mutex_);
  codec_->idle_.push_back(std::move(state_));
}

Status Zstd::Worker::prepare() {
  if (state_->decoder) return {};
  const ZstdLibrary& library = *codec_->library_;
  const std::vector<uint8_t>& dictionary = codec_->dictionary_;
  state_->room.reset(new (std::nothrow) uint8_t[dictionary.size() + kRoom]);
  if (!state_->room) return {.code = Code::no_memory};
  if (!dictionary.empty() && !state_->dictionary) {
    memcpy(state_->room.get(), dictionary.data(), dictionary.size());
    auto create = library.refer_to_dictionary ? library.refer_to_dictionary : library.create_dictionary;
    state_->dictionary = create(state_->room.get(), dictionary.size());
    if (!state_->dictionary) return {.code = Code::bad_codec, .what = "the dictionary is damaged"};
  }
  state_->decoder = library.create_decoder();
  return state_->decoder ? Status{} : Status{.code = Code::no_memory};
}

Status Zstd::Worker::decode(Span frame, uint8_t* out, uint64_t size) {
  if (size > kRoom) return decode_to(frame, out, size);
  const uint8_t* sample;
  Status status = decode(frame, size, &sample);
  if (status.ok() && size) memcpy(out, sample, size);
  return status;
}

Status Zstd::Worker::decode(Span frame, uint64_t size, const uint8_t** sample) {
  if (Status status = prepare(); !status.ok()) return status;
  uint8_t* out = state_->room.get() + codec_->dictionary_.size();
  if (size > kRoom) {
    state_->large.reset(new (std::nothrow) uint8_t[size]);
    out = state_->large.get();
    if (!out) return {.code = Code::no_memory};
  }
  *sample = out;
  return decode_to(frame, out, size);
}

Status Zstd::Worker::decode_to(Span frame, uint8_t* out, uint64_t size) {
  if (Status status = prepare(); !status.ok()) return status;
  const ZstdLibrary& library = *codec_->library_;
  // Directly to `out`: no window is allocated, whatever size the frame states.
  size_t found = state_->dictionary ? library.decode_with(state_->decoder, out, size, frame.data, frame.size,
                                                          state_->dictionary)
                                    : library.decode(state_->decoder, out, size, frame.data, frame.size);
  if (library.is_error(found)) return {.code = Code::bad_frame, .what = library.error_name(found)};
  if (found != size) return {.code = Code::bad_frame, .what = kOtherSize};
  return {};
}

Status Zstd::Worker::encode(Span sample, std::vector<uint8_t>* out) {
  const ZstdLibrary& library = *codec_->library_;
  if (sample.size > kMaxSample)
    return {.code = Code::too_large, .found = sample.size, .expected = kMaxSample};
  if (sample.size == 0) return {};
  if (!state_->encoder) {
    void* encoder = library.create_encoder();
    if (!encoder) return {.code = Code::no_memory};
    const std::vector<uint8_t>& dictionary = codec_->dictionary_;
    size_t failed = library.set(encoder, kLevel, codec_->level_);
    if (!library.is_error(failed)) failed = library.set(encoder, kContentSize, 1);
    if (!library.is_error(failed)) failed = library.set(encoder, kChecksum, 0);
    if (!library.is_error(failed)) failed = library.set(encoder, kDictionaryId, 0);
    if (!library.is_error(failed))
      failed = library.load_dictionary(encoder, dictionary.data(), dictionary.size());
    if (library.is_error(failed)) {
      library.free_encoder(encoder);
      return {.code = Code::bad_codec, .what = library.error_name(failed)};
    }
    state_->encoder = encoder;
  }
  size_t before = out->size();
  out->resize(before + library.compress_bound(sample.size));
  size_t found =
      library.encode(state_->encoder, out->data() + before, out->size() - before, sample.data, sample.size);
  if (library.is_error(found)) return {.code = Code::bad_codec, .what = library.error_name(found)};
  out->resize(before + found);
  return {};
}

// ---- a codec

Zstd::Zstd(const ZstdLibrary* library, int level, Span dictionary)
    : library_(library), level_(level), dictionary_(dictionary.data, dictionary.data + dictionary.size) {}

Zstd::~Zstd() = default;

Status Zstd::open(const std::string& path, int level, Span dictionary, std::shared_ptr<const Zstd>* codec) {
  const ZstdLibrary* library;
  if (Status status = load(path, &library); !status.ok()) return status;
  std::shared_ptr<Zstd> opened(new Zstd(library, level, dictionary));
  // A damaged dictionary is reported now.
  if (Status status = opened->worker().prepare(); !status.ok()) return status;
  *codec = std::move(opened);
  return {};
}

Status Zstd::train(const std::string& path, const uint8_t* samples, const std::vector<size_t>& sizes,
                   uint64_t size, std::vector<uint8_t>* dictionary) {
  const ZstdLibrary* library;
  if (Status status = load(path, &library); !status.ok()) return status;
  dictionary->resize(size);
  size_t found =
      library->train(dictionary->data(), size, samples, sizes.data(), static_cast<unsigned>(sizes.size()));
  if (library->is_training_error(found))
    return {.code = Code::untrained, .what = library->training_error_name(found)};
  dictionary->resize(found);
  return {};
}

Zstd::Worker Zstd::worker() const {
  std::unique_ptr<Worker::State> state;
  {
    std::lock_guard<std::mutex> guard(mutex_);
    if (!idle_.empty()) {
      state = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!state) state = std::make_unique<Worker::State>(library_);
  return {shared_from_this(), std::move(state)};
}

Status Zstd::stated_size(Span frame, uint64_t* size) const {
  constexpr uint64_t kSmallestBlock = 4, kLargestBlock = uint64_t{1} << 17;  // of run lengths
  *size = library_->content_size(frame.data, frame.size);
  if (*size == kNoFrame) return {.code = Code::bad_frame, .what = "it has no frame header"};
  if (*size == kSizeUnknown) return {.code = Code::bad_frame, .what = "it does not state its size"};
  if (*size > kMaxSample || *size > frame.size / kSmallestBlock * kLargestBlock)
    return {.code = Code::bad_frame, .what = "it states an impossible size"};
  return {};
}

// ---- columns and batches

Status Frames::size(uint64_t row, Span frame, uint64_t* size) const {
  Status status;
  *size = 0;
  if (!sizes || frame.size) status = codec->stated_size(frame, size);
  uint64_t said = *size;
  if (status.ok() && sizes) status = said_size(row, frame, &said);
  if (status.ok() && *size != said) status = {.code = Code::bad_frame, .what = kOtherSize};
  status.row = row;
  return status;
}

Status Frames::said_size(uint64_t row, Span frame, uint64_t* size) const {
  if (!sizes) {
    Status status = codec->stated_size(frame, size);
    status.row = row;
    return status;
  }
  *size = reinterpret_cast<const uint32_t*>(sizes->data())[row];
  if (*size > Zstd::kMaxSample) return {.code = Code::bad_frame, .what = kOtherSize, .row = row};
  return {};
}

Status measure_decoded(const Spans& spans, const Frames& frames, const uint64_t* rows, uint64_t count,
                       int64_t* offsets, uint64_t* measured) {
  uint64_t total = 0;
  offsets[0] = 0;
  *measured = 0;
  return visit(spans, rows, count, [&](uint64_t k, Span frame) -> Status {
    uint64_t size;
    if (Status status = frames.size(rows[k], frame, &size); !status.ok()) return status;
    if (__builtin_add_overflow(total, size, &total) || total > INT64_MAX)
      return {.code = Code::overflow, .what = "batch"};
    offsets[k + 1] = static_cast<int64_t>(total);
    *measured = k + 1;
    return {};
  });
}

std::vector<Zstd::Worker> batch_workers(const Zstd& codec, uint64_t bytes) {
  constexpr uint64_t kWorthAThread = uint64_t{48} << 10;  // 0.1 ms of decoding; a thread costs 0.02 ms
  uint64_t count = bytes / kWorthAThread;
  count = count < 2 ? 1 : std::min(most_threads(), count);
  std::vector<Zstd::Worker> workers;
  workers.reserve(count);
  for (uint64_t k = 0; k < count; ++k) workers.push_back(codec.worker());
  return workers;
}

namespace {

// Shared by the threads of a batch: each takes the next few samples, until one fails.
template <typename Act>
struct Shared {
  Act act;  // act(worker, first, count, &done): Status
  uint64_t count;
  uint64_t at_once;
  std::atomic<uint64_t> next{0};
  std::mutex mutex{};
  uint64_t failed;  // the first sample that failed
  Status status{};

  static void work(void* context, uint64_t worker) {
    auto& shared = *static_cast<Shared*>(context);
    while (true) {
      uint64_t first = shared.next.fetch_add(shared.at_once, std::memory_order_relaxed);
      if (first >= shared.count) return;
      uint64_t done = 0;
      Status status = shared.act(worker, first, std::min(shared.at_once, shared.count - first), &done);
      if (status.ok()) continue;
      shared.next.store(shared.count, std::memory_order_relaxed);  // earlier samples are taken already
      std::lock_guard<std::mutex> guard(shared.mutex);
      if (first + done < shared.failed) {
        shared.failed = first + done;
        shared.status = status;
      }
      return;
    }
  }
};

template <typename Act>
Status share(uint64_t threads, uint64_t count, uint64_t at_once, uint64_t* done, Act act) {
  Shared<Act> shared{.act = act, .count = count, .at_once = at_once, .failed = count};
  run_threads(threads, Shared<Act>::work, &shared);
  *done = shared.failed;
  return shared.status;
}

}  // namespace

Status decode_batch(const Spans& spans, std::vector<Zstd::Worker>& workers, const uint64_t* rows,
                    uint64_t count, const int64_t* offsets, uint8_t* values, uint64_t* decoded) {
  constexpr uint64_t kAtOnce = 16;
  auto decode = [&](uint64_t worker, uint64_t first, uint64_t some, uint64_t* done) {
    return visit(spans, rows + first, some, [&](uint64_t k, Span frame) -> Status {
      const int64_t* offset = offsets + first + k;
      Status status =
          workers[worker].decode(frame, values + offset[0], static_cast<uint64_t>(offset[1] - offset[0]));
      if (status.ok()) *done = k + 1;
      status.row = rows[first + k];
      return status;
    });
  };
  return share(workers.size(), count, kAtOnce, decoded, decode);
}

Status find_decoded(const Spans& spans, const Frames& frames, Zstd::Worker& worker, const uint64_t* rows,
                    uint64_t count, Span wanted, uint64_t* k) {
  for (*k = 0; *k < count; ++*k) {
    uint64_t row = rows[*k], size;
    Span frame;
    if (Status status = spans.at(row, &frame); !status.ok()) return status;
    if (Status status = frames.said_size(row, frame, &size); !status.ok()) return status;
    if (size != wanted.size) continue;
    if (Status status = frames.size(row, frame, &size); !status.ok()) return status;
    const uint8_t* sample;
    Status status = worker.decode(frame, size, &sample);
    status.row = row;
    if (!status.ok()) return status;
    if (memcmp(sample, wanted.data, size) == 0) break;
  }
  return {};
}

Status encode_batch(std::vector<Zstd::Worker>& workers, const uint8_t* samples, const uint64_t* ends,
                    uint64_t count, std::vector<std::vector<uint8_t>>* pieces, uint64_t* frame_ends) {
  constexpr uint64_t kAtOnce = 64;
  pieces->resize((count + kAtOnce - 1) / kAtOnce);
  auto encode = [&](uint64_t worker, uint64_t first, uint64_t some, uint64_t* done) -> Status {
    std::vector<uint8_t>& piece = (*pieces)[first / kAtOnce];
    for (uint64_t k = first; k < first + some; ++k) {
      uint64_t start = k ? ends[k - 1] : 0;
      Status status = workers[worker].encode({samples + start, ends[k] - start}, &piece);
      status.row = k;
      if (!status.ok()) return status;
      frame_ends[k] = piece.size();
      ++*done;
    }
    return {};
  };
  uint64_t done;
  if (Status status = share(workers.size(), count, kAtOnce, &done, encode); !status.ok()) return status;
  uint64_t before = 0;
  for (uint64_t k = 0; k < count; ++k) {
    if (k && k % kAtOnce == 0) before += (*pieces)[k / kAtOnce - 1].size();
    frame_ends[k] += before;
  }
  return {};
}

}  // namespace mmap_ninja
