#include "cli/trainer_program.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace s3d::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kName = "s3d-train";

// Beside this program, or its bare name, which is looked up in $PATH.
std::string trainer_path() {
  std::error_code error;
  const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / kName;
  return !error && fs::is_regular_file(beside, error) ? beside.string() : kName;
}

}  // namespace

Result<int> run_trainer(const std::vector<std::string>& arguments) {
  const std::string path = trainer_path();
  std::vector<std::string> words = {kName};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, path.c_str(), nullptr, nullptr, argv.data(), environ);
  if (failed != 0) {
    return Error{
        fmt::format("{} cannot be started: {}; expected beside s3d or in $PATH; docs/training.md says how to build it",
                    path, std::strerror(failed))};
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return Error{fmt::format("{}: {}", path, std::strerror(errno))};
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace s3d::cli
