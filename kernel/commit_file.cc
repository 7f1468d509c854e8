#include "commit_file.h"

#include <errno.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "file.h"
#include "io.h"

namespace mmap_ninja {
namespace {

Status doubted(Status status) {
  if (!status.ok()) status.code = Code::uncertain;
  return status;
}

}  // namespace

Status sync_or_doubt(int fd) { return doubted(io::sync_data(fd)); }

Status CommitFile::open(int fd, std::string directory) {
  fd_ = fd;
  directory_ = std::move(directory);
  io::boot_id(boot_.data());
  io::Place place;
  if (Status status = io::place_of(fd, &place); !status.ok()) return status;
  device_ = place.device;
  inode_ = place.inode;
  mount_ = place.mount;
  disk_ = place.disk;
  return {};
}

void CommitFile::sign(Slot* slot) const {
  slot->boot = boot_;
  slot->device = device_;
  slot->inode = inode_;
  slot->mount = mount_;
  slot->disk = disk_;
}

bool CommitFile::has_changed(const uint8_t* bytes) const {
  for (size_t k = 0; k < seen_.size(); ++k)
    if (memcmp(seen_[k].data(), bytes + k * kStride, Slot::kSize) != 0) return true;
  return false;
}

void CommitFile::see(const uint8_t* bytes) {
  is_copy_ = false;
  for (size_t k = 0; k < seen_.size(); ++k) {
    memcpy(seen_[k].data(), bytes + k * kStride, Slot::kSize);
    Slot slot;
    uint16_t version;
    bool valid = decode_slot(seen_[k], &slot, &version) == SlotState::valid;
    seqs_[k] = valid ? slot.seq : 0;
    is_copy_ |= valid && slot.durable && (slot.device != device_ || slot.inode != inode_);
  }
}

Status CommitFile::read() {
  std::array<uint8_t, kSize> bytes;
  Status status = io::read_at(fd_, bytes.data(), bytes.size(), 0);
  if (status.code == Code::short_file) status.what = "COMMIT";
  if (status.ok()) see(bytes.data());
  return status;
}

Status CommitFile::settle(std::span<const int> files) {
  // First what can fail without leaving doubt.
  std::vector<std::unique_ptr<File>> directories;
  if (!names_synced_ && !directory_.empty()) {
    for (const std::string& path : {directory_, directory_ + "/.."}) {
      int fd = -1;
      Status status = io::open_directory(path.c_str(), &fd);
      if (!status.ok() && status.error != EACCES) return status;
      directories.push_back(std::make_unique<File>(fd));
    }
  }
  if (!std::equal(synced_.begin(), synced_.end(), seen_.begin() + 2)) {
    if (is_copy_) {
      for (int file : files)
        if (Status status = sync_or_doubt(file); !status.ok()) return status;
    }
    if (Status status = sync_or_doubt(fd_); !status.ok()) return status;
    std::copy(seen_.begin() + 2, seen_.end(), synced_.begin());
  }
  if (names_synced_) return {};
  if (directories.empty()) directories.push_back(std::make_unique<File>(-1));
  for (const auto& directory : directories) {
    // A directory that cannot be read, or whose path is unknown, cannot be synced alone.
    Status status = directory->fd() < 0 ? io::sync_filesystem(fd_) : io::sync_directory(directory->fd());
    if (!status.ok()) return doubted(status);
  }
  names_synced_ = true;
  return {};
}

Status CommitFile::put_durable(Slot slot, std::span<const int> files) {
  if (Status status = settle(files); !status.ok()) return status;
  slot.durable = true;
  size_t older = seqs_[2] <= seqs_[3] ? 2 : 3;
  if (Status status = write(older, slot); !status.ok()) return status;
  if (Status status = sync_or_doubt(fd_); !status.ok()) return status;
  synced_[older - 2] = seen_[older];
  return {};
}

Status CommitFile::put_fast(Slot slot) {
  slot.durable = false;
  return write(seqs_[0] <= seqs_[1] ? 0 : 1, slot);
}

Status CommitFile::put_everywhere(Slot slot, std::span<const int> files, const Slot& before) {
  Status status = write_everywhere(slot, files);
  bool published = seqs_[2] == slot.seq || seqs_[3] == slot.seq;
  if (!status.ok() && published) status.code = Code::uncertain;
  if (status.code == Code::uncertain) mark_suspect(before, slot.seq);
  return status;
}

Status CommitFile::write_everywhere(Slot slot, std::span<const int> files) {
  if (Status status = put_durable(slot, files); !status.ok()) return status;
  for (size_t place = 0; place < seen_.size(); ++place) {
    slot.durable = place >= 2;
    if (seqs_[place] == slot.seq) continue;
    if (Status status = write(place, slot); !status.ok()) return status;
  }
  if (Status status = sync_or_doubt(fd_); !status.ok()) return status;
  std::copy(seen_.begin() + 2, seen_.end(), synced_.begin());
  return {};
}

void CommitFile::mark_suspect(Slot before, uint64_t seq) {
  before.seq = seq + 1;
  before.flags |= kSuspect;
  sign(&before);
  (void)put_fast(before);
}

Status CommitFile::write(size_t place, const Slot& slot) {
  SlotBytes bytes = encode_slot(slot);
  Status status = io::write_at(fd_, bytes.data(), bytes.size(), place * kStride);
  if (!status.ok()) return status;
  seen_[place] = bytes;
  seqs_[place] = slot.seq;
  return {};
}

}  // namespace mmap_ninja
