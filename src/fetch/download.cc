#include "fetch/download.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <span>
#include <system_error>
#include <thread>

#include "base/atomic_file.h"
#include "fetch/http.h"
#include "fetch/sha256.h"

namespace s3d {
namespace {

namespace fs = std::filesystem;

// What a server says about a file before it is sent.
struct RemoteFile {
  uint64_t size = 0;   // 0 when unknown
  std::string id;      // changes when the content changes; "" when the server tells nothing
  std::string etag;    // of the answer itself: the id may come from a redirection before it
  std::string sha256;  // "" when not stated
};

std::string without_quotes(std::string tag) {
  if (tag.starts_with("W/")) tag.erase(0, 2);
  std::erase(tag, '"');
  return tag;
}

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

RemoteFile describe(const HttpResponse& response) {
  RemoteFile file;
  file.size = response.number("x-linked-size").value_or(response.number("content-length").value_or(0));
  file.id = without_quotes(response.header("x-linked-etag"));
  file.etag = without_quotes(response.header("etag"));
  if (file.id.empty()) file.id = file.etag;
  if (is_sha256(file.id)) file.sha256 = file.id;
  return file;
}

std::string advice_for(int status, bool has_token) {
  switch (status) {
    case 401:
    case 403:
      return has_token ? "the token gives no access to it; accept the model's licence on its page, or use another token"
                       : "it needs a token (HF_TOKEN), or there is nothing of this name";
    case 404:
      return "there is nothing of this name; check user, repository and file";
    case 429:
      return "too many requests; wait some minutes and run this again";
    default:
      return status >= 500 ? "the server has a problem; run this again later" : "this answer was not expected";
  }
}

bool worth_retry(int status) {
  return status >= 500 || status == 429 || status == 408;
}

// The file that receives the bytes. Remembers the first error of the operating system.
class PartialFile {
 public:
  explicit PartialFile(const std::string& path) : path_(path) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0) error_ = errno;
    const off_t end = descriptor_ < 0 ? 0 : ::lseek(descriptor_, 0, SEEK_END);
    size_ = end > 0 ? static_cast<size_t>(end) : 0;
  }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  ~PartialFile() { close(); }

  uint64_t size() const { return size_; }

  bool restart() {
    if (::ftruncate(descriptor_, 0) != 0 || ::lseek(descriptor_, 0, SEEK_SET) != 0) error_ = errno;
    size_ = 0;
    return error_ == 0;
  }

  bool append(std::string_view bytes) {
    const int error = write_fully(descriptor_, std::as_bytes(std::span(bytes.data(), bytes.size())), size_);
    if (error_ == 0) error_ = error;
    return error == 0;
  }

  // Brings everything to the disk and closes the file.
  Status finish() {
    if (descriptor_ >= 0 && ::fsync(descriptor_) != 0) error_ = errno;
    close();
    return status();
  }

  Status status() const {
    if (error_ == 0) return Ok();
    return Error{
        fmt::format("cannot write {}: {} (the next try goes on from here)", path_, write_failure_text(error_))};
  }

 private:
  void close() {
    if (descriptor_ >= 0 && ::close(descriptor_) != 0 && error_ == 0) error_ = errno;
    descriptor_ = -1;
  }

  std::string path_;
  int descriptor_ = -1;
  size_t size_ = 0;
  int error_ = 0;
};

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// One download from its first question to the named file.
class Download {
 public:
  explicit Download(const DownloadRequest& request)
      : request_(request), partial_path_(request.path + ".partial"), id_path_(partial_path_ + ".id") {}

  Result<DownloadedFile> run() {
    S3D_TRY(ask());
    if (Result<DownloadedFile> present = already_there(); present.ok()) return present;
    S3D_TRY(receive());
    return finish();
  }

 private:
  // Waits before another attempt; false when there were enough. New bytes since the last failure reset the count.
  bool wait_for_retry(uint64_t size_now) {
    if (size_now > size_at_failure_) failures_ = 0;
    size_at_failure_ = size_now;
    if (++failures_ >= request_.attempts || !keep_going(size_now)) return false;
    const auto end = std::chrono::steady_clock::now() + request_.retry_delay * (1 << std::min(failures_ - 1, 6));
    constexpr auto kSlice = std::chrono::milliseconds(100);  // progress is told, and asked, as often
    while (std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(
          std::min<std::chrono::steady_clock::duration>(kSlice, end - std::chrono::steady_clock::now()));
      if (!keep_going(size_now)) return false;
    }
    return true;
  }

  bool keep_going(uint64_t received) const { return !request_.progress || request_.progress({received, remote_.size}); }

  Error failed(const HttpOutcome& outcome) const {
    if (outcome.failure) return Error{fmt::format("cannot download {}: {}", request_.url, outcome.failure->message)};
    const int status = outcome.response.status;
    return Error{fmt::format("cannot download {}: the server answered {}: {}", request_.url, status,
                             advice_for(status, !request_.token.empty()))};
  }

  bool may_retry(const HttpOutcome& outcome) const {
    return outcome.failure ? outcome.failure->retry : worth_retry(outcome.response.status);
  }

  // Asks the server what the file is.
  Status ask() {
    while (true) {
      HttpRequest head{.url = request_.url, .head = true, .token = request_.token};
      head.keep_going = [this] { return keep_going(0); };
      const HttpOutcome outcome = http_exchange(head);
      if (!outcome.failure && outcome.response.status == 200) {
        remote_ = describe(outcome.response);
        break;
      }
      if (!may_retry(outcome) || !wait_for_retry(0)) return failed(outcome);
    }
    if (!request_.sha256.empty()) remote_.sha256 = request_.sha256;
    failures_ = 0;
    return Ok();
  }

  // The file under its final name, if it is what the server has; otherwise an error that nobody sees.
  Result<DownloadedFile> already_there() const {
    std::error_code error;
    const uint64_t bytes = fs::file_size(request_.path, error);
    if (error || remote_.size == 0 || bytes != remote_.size || remote_.sha256.empty()) return Error{"absent"};
    S3D_ASSIGN(std::string sha256, sha256_of_file(request_.path));
    if (sha256 != remote_.sha256) return Error{"another version"};
    return DownloadedFile{request_.path, bytes, sha256, /*verified=*/true, /*was_present=*/true};
  }

  // Forgets the bytes of an earlier call unless they are of the version that the server has now.
  Status prepare_folder() {
    std::error_code error;
    const fs::path folder = fs::path(request_.path).parent_path();
    if (!folder.empty()) fs::create_directories(folder, error);
    if (error) return Error{fmt::format("cannot make the folder {}: {}", folder.string(), error.message())};
    if (remote_.id.empty() || first_line(id_path_) != remote_.id) {
      fs::remove(partial_path_, error);
      std::ofstream(id_path_) << remote_.id << '\n';
    }
    return Ok();
  }

  // Fills the partial file, going on after each interruption.
  Status receive() {
    S3D_TRY(prepare_folder());
    PartialFile file(partial_path_);
    S3D_TRY(file.status());
    if (remote_.size > 0 && file.size() > remote_.size) file.restart();
    while (remote_.size == 0 || file.size() < remote_.size) {
      const HttpOutcome outcome = transfer(file);
      S3D_TRY(file.status());
      if (changed_) return forget_changed();
      const bool success = !outcome.failure && (outcome.response.status == 200 || outcome.response.status == 206);
      if (success && (remote_.size == 0 || file.size() >= remote_.size)) break;
      if (!success && outcome.response.status == 416) file.restart();  // The part we ask for is not there: start again.
      const bool again = success || may_retry(outcome) || outcome.response.status == 416;
      if (!again || !wait_for_retry(file.size())) return failed(outcome);
    }
    return file.finish();
  }

  // One GET from the end of the partial file on.
  HttpOutcome transfer(PartialFile& file) {
    HttpRequest get{.url = request_.url, .token = request_.token};
    if (file.size() > 0) get.offset = file.size();
    get.begin = [&](const HttpResponse& response) {
      const std::string etag = describe(response).etag;
      changed_ = !etag.empty() && !remote_.etag.empty() && etag != remote_.etag;
      if (changed_) return false;
      return response.status == 206 || file.size() == 0 || file.restart();  // 200: the whole file comes again.
    };
    get.data = [&](std::string_view bytes) { return file.append(bytes); };
    get.keep_going = [&] { return keep_going(file.size()); };
    HttpOutcome outcome = http_exchange(get);
    // libcurl gives up when an asked-for part is answered with the whole file: ask for the whole file then.
    if (get.offset && outcome.failure && outcome.response.status == 200 && file.restart()) {
      get.offset.reset();
      outcome = http_exchange(get);
    }
    return outcome;
  }

  // What came so far is of another version than what is left.
  Status forget_changed() {
    std::error_code error;
    fs::remove(partial_path_, error);
    fs::remove(id_path_, error);
    return Error{fmt::format("{} changed on the server while it was downloaded; run this again", request_.url)};
  }

  // Checks the complete partial file and gives it its name.
  Result<DownloadedFile> finish() {
    std::error_code error;
    const uint64_t bytes = fs::file_size(partial_path_, error);
    S3D_ASSIGN(std::string sha256, sha256_of_file(partial_path_));
    std::string wrong;
    if (remote_.size > 0 && bytes != remote_.size) {
      wrong = fmt::format("it has {} bytes, expected {}", bytes, remote_.size);
    } else if (!remote_.sha256.empty() && sha256 != remote_.sha256) {
      wrong = fmt::format("its SHA-256 is {}, expected {}", sha256, remote_.sha256);
    }
    fs::remove(id_path_, error);
    if (!wrong.empty()) {
      fs::remove(partial_path_, error);
      return Error{fmt::format("{} arrived damaged: {}; it was removed, run this again", request_.url, wrong)};
    }
    fs::rename(partial_path_, request_.path, error);
    if (error) {
      return Error{fmt::format("cannot rename {} to {}: {}", partial_path_, request_.path, error.message())};
    }
    return DownloadedFile{request_.path, bytes, sha256, !remote_.sha256.empty(), /*was_present=*/false};
  }

  const DownloadRequest& request_;
  const std::string partial_path_;
  const std::string id_path_;
  RemoteFile remote_;
  bool changed_ = false;  // the server has another version by now
  int failures_ = 0;
  uint64_t size_at_failure_ = 0;
};

}  // namespace

Result<DownloadedFile> download(const DownloadRequest& request) {
  return Download(request).run();
}

}  // namespace s3d
