// Files that are there whole or not at all.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace s3d {

// Writes `bytes` to a new file beside `path`, forces it to the disk, and renames it to `path`: a reader, or a program
// that had mapped the old file, sees the old bytes or the new ones, never a mixture. After an error the old file is
// untouched and nothing is left behind. Errors: the folder is missing or not writable, the disk is full; each names
// the path. Thread rule: any number of threads and processes, each call with a path of its own; of several writers of
// one path the last one wins.
Status write_file_atomically(const std::string& path, std::span<const std::byte> bytes);

// The same for a file that is made piece by piece: commit() puts it in its place. Without commit(), and after an
// error, the destructor removes the temporary file; a killed process leaves it ("NAME.tmp-PID-N"). Move-only.
// Thread rule: one thread at a time. For regular files: a path that is a symbolic link is replaced by the file.
class AtomicFile {
 public:
  // `path` may exist already.
  static Result<AtomicFile> create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  const std::string& path() const { return path_; }
  size_t bytes_written() const { return written_; }

  // Appends. An error (full disk, size limit, …) says how far it got; the object can then only be destroyed.
  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);

  // Forces everything to the disk and renames; call it once, last.
  Status commit();

 private:
  AtomicFile(int fd, std::string path, std::string temporary_path)
      : fd_(fd), path_(std::move(path)), temporary_path_(std::move(temporary_path)) {}
  void discard() noexcept;

  int fd_ = -1;  // -1: committed, failed or moved from
  size_t written_ = 0;
  std::string path_;
  std::string temporary_path_;
};

// Writes all of `bytes` to an open file. Returns the errno of the failure, 0 if there was none; `written` is advanced
// by what was written, even then.
int write_fully(int fd, std::span<const std::byte> bytes, size_t& written);

// Why writing failed, for a person: the system's words, and what to do about a full disk.
std::string write_failure_text(int error_number);

}  // namespace s3d
