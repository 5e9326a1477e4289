#include "base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace s3d {
namespace {

Error failure(const std::string& path, const char* what, int code) {
  const char* hint = code == ENOSPC || code == EDQUOT ? "; free some space and try again" : "";
  return Error{fmt::format("cannot {} {}: {}{}", what, path, std::strerror(code), hint)};
}

// A new file of a name that no other call and no other program uses. (mkstemp would make it unreadable for others.)
int create_beside(const std::string& path, std::string& temporary) {
  for (int attempt = 0;; ++attempt) {
    temporary = fmt::format("{}.tmp-{}-{}", path, ::getpid(), attempt);
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
}

// Writes all bytes and waits for the disk. Returns 0 or an errno value.
int write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    if (written == 0) return EIO;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return ::fsync(fd) == 0 ? 0 : errno;
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

Status write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  std::string temporary;
  const int fd = create_beside(path, temporary);
  if (fd < 0) return failure(path, "create a temporary file beside", errno);
  int code = write_all(fd, bytes);
  if (::close(fd) != 0 && code == 0) code = errno;
  if (code == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) code = errno;
  if (code != 0) {
    ::unlink(temporary.c_str());
    return failure(path, "write", code);
  }
  sync_folder(path);
  return Ok();
}

}  // namespace s3d
