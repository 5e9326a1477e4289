// Downloads one file over HTTP: resumed, checked, and under its name only when complete.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"

namespace s3d {

// How far a download is, in bytes of the whole file; `total` is 0 while unknown.
struct DownloadProgress {
  uint64_t received = 0;
  uint64_t total = 0;
};

struct DownloadRequest {
  std::string url;
  std::string path;    // where the file goes; its folder is made
  std::string token;   // bearer token for the host of `url`; "" = none
  std::string sha256;  // what the file must have, 64 hexadecimal digits; "" = what the server states, if it does
  int attempts = 5;    // in a row without any new byte, before giving up
  std::chrono::milliseconds retry_delay{1000};  // before the second attempt; doubled each time
  // Called some times a second, from the calling thread; false stops the download, which can be resumed later.
  std::function<bool(const DownloadProgress&)> progress;
};

struct DownloadedFile {
  std::string path;
  uint64_t bytes = 0;
  std::string sha256;        // of the file as it lies on the disk
  bool verified = false;     // sha256 was compared with a stated one
  bool was_present = false;  // the file was there already, complete, and nothing was downloaded
};

// Downloads `url` to `path`. Bytes go to `path`.partial, beside it `path`.partial.id says of which version of the file
// they are; a later call goes on where an earlier one was cut, in this process or another, as long as the server still
// has that version and can send parts. The size and the SHA-256 (where one is known) are checked, then the file gets
// its name in one step. The SHA-256 a server states is that of the header X-Linked-Etag or ETag with 64 hexadecimal
// digits, as model hubs send it.
// Errors: no connection, a status other than success (with advice for 401, 403, 404), full disk, wrong checksum (the
// bytes are then removed), stopped by `progress`. Thread rule: any thread; one download of a path at a time.
Result<DownloadedFile> download(const DownloadRequest& request);

}  // namespace s3d
