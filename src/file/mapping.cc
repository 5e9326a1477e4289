#include "file/mapping.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/index.h"

namespace s3d {
namespace {

Error open_error(const std::string& path, int error) {
  if (error == ENOENT) return Error{path + ": no such file; check the path, or fetch the model first"};
  return Error{fmt::format("{}: cannot be opened: {}", path, std::strerror(error))};
}

// Maps the open file `fd`, whose path is for messages.
Result<std::span<const std::byte>> map_file(int fd, const std::string& path) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return open_error(path, errno);
  if (S_ISDIR(info.st_mode)) return Error{path + ": this is a directory, expected a file; name the file inside it"};
  if (!S_ISREG(info.st_mode)) return Error{path + ": this is not a regular file and cannot be mapped"};
  if (info.st_size == 0) return Error{path + ": the file is empty; download it again"};
  const auto size = usize(info.st_size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) {
    return Error{fmt::format("{}: {} bytes cannot be mapped: {}", path, size, std::strerror(errno))};
  }
  return std::span<const std::byte>(static_cast<const std::byte*>(data), size);
}

}  // namespace

Result<Mapping> Mapping::open(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return open_error(path, errno);
  auto bytes = map_file(fd, path);
  ::close(fd);
  if (!bytes.ok()) return bytes.error();
  Mapping mapping;
  mapping.bytes_ = *bytes;
  return mapping;
}

Mapping::Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void Mapping::release(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  // Only advice: if it fails, the pages merely stay.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace s3d
