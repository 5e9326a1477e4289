#include "program_runner.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/index.h"

namespace s3d::test {
namespace {

[[noreturn]] void become_s3d(const std::vector<std::string>& arguments, const Environment& environment) {
  for (const auto& [name, value] : environment) {
    value.empty() ? unsetenv(name.c_str()) : setenv(name.c_str(), value.c_str(), 1);
  }
  std::vector<char*> argv = {const_cast<char*>("s3d")};
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  execv(S3D_PROGRAM, argv.data());
  std::perror(S3D_PROGRAM);
  _exit(127);
}

int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string drain(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, usize(n));
  close(fd);
  return text;
}

void feed(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n <= 0) break;
    done += usize(n);
  }
  close(fd);
}

}  // namespace

Outcome run_s3d(const std::vector<std::string>& arguments, const std::string& input, const Environment& environment) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return {};
  const pid_t pid = fork();
  if (pid == 0) {
    signal(SIGPIPE, SIG_DFL);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    become_s3d(arguments, environment);
  }
  signal(SIGPIPE, SIG_IGN);  // a program that does not read its input is no reason to die
  for (int fd : {in[0], out[1], err[1]}) close(fd);
  Outcome outcome;
  std::thread feeder([&] { feed(in[1], input); });
  std::thread errors([&] { outcome.err = drain(err[0]); });
  outcome.out = drain(out[0]);
  errors.join();
  feeder.join();
  int status = 0;
  waitpid(pid, &status, 0);
  outcome.code = exit_code(status);
  return outcome;
}

Terminal::Terminal(const std::vector<std::string>& arguments, const Environment& environment) {
  winsize size{.ws_row = 40, .ws_col = 120, .ws_xpixel = 0, .ws_ypixel = 0};
  pid_ = forkpty(&fd_, nullptr, nullptr, &size);
  if (pid_ == 0) become_s3d(arguments, environment);
}

Terminal::~Terminal() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(fd_);
}

void Terminal::type(const std::string& keys) {
  if (write(fd_, keys.data(), keys.size()) < 0) std::perror("write to the terminal");
}

bool Terminal::read_some(int milliseconds) {
  pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
  if (poll(&ready, 1, milliseconds) <= 0) return true;
  char buffer[4096];
  const ssize_t n = read(fd_, buffer, sizeof buffer);
  if (n <= 0) return false;  // the program ended
  screen_.append(buffer, usize(n));
  return true;
}

bool Terminal::wait_for(const std::string& text, std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (true) {
    const size_t at = screen_.find(text, seen_);
    if (at != std::string::npos) {
      seen_ = at + text.size();
      return true;
    }
    if (std::chrono::steady_clock::now() > end || !read_some(100)) return false;
  }
}

int Terminal::finish() {
  while (read_some(1000)) {
    siginfo_t ended{};
    if (waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid != 0) break;
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return exit_code(status);
}

std::string tiny_model() {
  return S3D_SOURCE_DIR "/tests/data/models/llama-f32.gguf";
}

std::string cached_model(const std::string& name) {
  namespace fs = std::filesystem;
  const auto variable = [](const char* v) { return std::string(std::getenv(v) == nullptr ? "" : std::getenv(v)); };
  fs::path cache = variable("S3D_CACHE");
  if (cache.empty()) {
    const fs::path xdg = variable("XDG_CACHE_HOME");
    cache = (xdg.is_absolute() ? xdg : fs::path(variable("HOME")) / ".cache") / "s3d";
  }
  const fs::path path = cache / "models" / (name + ".gguf");
  std::error_code error;
  return fs::exists(path, error) ? path.string() : "";
}

}  // namespace s3d::test
