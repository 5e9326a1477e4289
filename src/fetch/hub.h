// Models on a hub that speaks Hugging Face's HTTP interface: which files a repository has, and fetching one of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fetch/download.h"

namespace s3d {

// A model file as users write it: hf:USER/REPO[:FILE]. `file` is empty when it was not named.
struct HubReference {
  std::string user;
  std::string repo;
  std::string file;  // path inside the repository, with '/' between folders
};

// Parses "hf:USER/REPO[:FILE]" ("hf:" may be absent). Errors: anything else; empty, "." or ".." path segments.
Result<HubReference> parse_hub_reference(std::string_view text);

struct PullRequest {
  HubReference reference;
  std::string folder;                                     // files land in FOLDER/USER/REPO/FILE
  std::string token;                                      // HF_TOKEN; "" = none
  std::string base_url = "https://huggingface.co";        // another hub, or a test's server
  std::string revision = "main";                          // branch, tag or commit
  int attempts = 5;                                       // as DownloadRequest
  std::chrono::milliseconds retry_delay{1000};            // as DownloadRequest
  std::function<bool(const DownloadProgress&)> progress;  // as DownloadRequest, per file
  std::function<void(const std::string&)> on_file;        // called with each file's name before it is downloaded
};

// The GGUF files of the repository, in the order of their names.
Result<std::vector<std::string>> list_gguf_files(const PullRequest& request);

// The file that is meant when none was named: the only GGUF file (all parts of a split one count as one), else the one
// whose name has Q4_K_M, else an error that lists them.
Result<std::string> choose_gguf_file(const std::vector<std::string>& files);

// All parts of a split GGUF file ("…-00001-of-00003.gguf", any part named), or the file itself.
std::vector<std::string> split_parts(const std::string& file);

// Downloads the model, all parts of a split one. The files in the order of split_parts(); the first is the one to load.
// Errors: as download() and choose_gguf_file(). Thread rule: any thread; one pull of a file at a time.
Result<std::vector<DownloadedFile>> pull(const PullRequest& request);

}  // namespace s3d
