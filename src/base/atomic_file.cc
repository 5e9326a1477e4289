#include "base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace s3d {
namespace {

constexpr int kMaxNames = 1000;                     // tries for a temporary name that nobody uses or left behind
constexpr size_t kMaxWriteBytes = size_t{1} << 30;  // Linux writes at most 2 GiB at once

Error failure(const std::string& path, std::string_view what, int error_number) {
  return Error{fmt::format("{}: {}: {}", path, what, write_failure_text(error_number))};
}

// A rename lasts through a power cut only when its folder is on the disk too. Some file systems cannot do that for
// folders; then there is nothing better, so a failure is not an error.
void sync_folder(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  (void)::fsync(fd);
  ::close(fd);
}

}  // namespace

std::string write_failure_text(int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
  return fmt::format("{}{}", std::strerror(error_number), full ? "; free some space and try again" : "");
}

int write_fully(int fd, std::span<const std::byte> bytes, size_t& written) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), std::min(bytes.size(), kMaxWriteBytes));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) return EIO;
    written += static_cast<size_t>(count);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return 0;
}

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  // mkstemp would make a file that other users cannot read, whatever the umask.
  for (int attempt = 0; attempt < kMaxNames; ++attempt) {
    std::string temporary_path = fmt::format("{}.tmp-{}-{}", path, ::getpid(), attempt);
    const int fd = ::open(temporary_path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return AtomicFile(fd, path, std::move(temporary_path));
    if (errno != EEXIST) return failure(path, "cannot be written", errno);
  }
  return failure(path, "its temporary names are all taken; remove the files *.tmp-* beside it", EEXIST);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      written_(other.written_),
      path_(std::move(other.path_)),
      temporary_path_(std::move(other.temporary_path_)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this == &other) return *this;
  discard();
  fd_ = std::exchange(other.fd_, -1);
  written_ = other.written_;
  path_ = std::move(other.path_);
  temporary_path_ = std::move(other.temporary_path_);
  return *this;
}

AtomicFile::~AtomicFile() {
  discard();
}

void AtomicFile::discard() noexcept {
  if (fd_ < 0) return;
  ::close(std::exchange(fd_, -1));
  ::unlink(temporary_path_.c_str());
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  S3D_CHECK(fd_ >= 0, "write() after commit() or an error");
  const int error_number = write_fully(fd_, bytes, written_);
  if (error_number == 0) return Ok();
  discard();
  return failure(path_, fmt::format("writing failed after {} bytes", written_), error_number);
}

Status AtomicFile::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

Status AtomicFile::commit() {
  S3D_CHECK(fd_ >= 0, "commit() twice or after an error");
  // A full disk may show only here: some file systems look for room when they flush.
  int error_number = ::fsync(fd_) == 0 ? 0 : errno;
  if (::close(std::exchange(fd_, -1)) != 0 && error_number == 0) error_number = errno;
  if (error_number == 0 && std::rename(temporary_path_.c_str(), path_.c_str()) != 0) error_number = errno;
  if (error_number != 0) {
    ::unlink(temporary_path_.c_str());
    return failure(path_, "the finished file could not be put in its place", error_number);
  }
  sync_folder(path_);
  return Ok();
}

Status write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  S3D_ASSIGN(AtomicFile file, AtomicFile::create(path));
  S3D_TRY(file.write(bytes));
  return file.commit();
}

}  // namespace s3d
