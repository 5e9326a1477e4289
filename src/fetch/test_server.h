// Starts fetch/test_server.py, the model hub of the tests, and stops it again. For tests only.
#pragma once

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "base/check.h"
#include "base/test_folder.h"
#include "fetch/http.h"

namespace s3d {

class TestServer {
 public:
  TestServer() {
    int input[2];
    int output[2];
    S3D_CHECK(::pipe(input) == 0 && ::pipe(output) == 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(input[0], STDIN_FILENO);
      ::dup2(output[1], STDOUT_FILENO);
      for (const int descriptor : {input[0], input[1], output[0], output[1]}) ::close(descriptor);
      ::execlp("python3", "python3", S3D_SOURCE_DIR "/src/fetch/test_server.py", nullptr);
      ::_exit(127);
    }
    ::close(input[0]);
    ::close(output[1]);
    stop_ = input[1];
    std::FILE* reader = ::fdopen(output[0], "r");
    S3D_CHECK(std::fscanf(reader, "%d", &port_) == 1, "the test server did not start; is python3 installed?");
    std::fclose(reader);
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  ~TestServer() {
    ::close(stop_);  // The server ends when its input does.
    ::waitpid(child_, nullptr, 0);
  }

  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  // The URL of a file in the repository whose name says how the server behaves.
  std::string file_url(const std::string& repo, const std::string& file = "model.gguf") const {
    return fmt::format("{}/user/{}/resolve/main/{}", url(), repo, file);
  }
  // The requests so far, one a line; see test_server.py.
  std::string log() const {
    std::string text;
    HttpRequest get{.url = url() + "/log"};
    get.data = [&](std::string_view bytes) {
      text += bytes;
      return true;
    };
    http_exchange(get);
    return text;
  }

  // What every repository holds.
  static std::string content() {
    std::string bytes(300'000, '\0');
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>((i * 7 + i / 251) % 256);
    return bytes;
  }

 private:
  pid_t child_ = -1;
  int stop_ = -1;
  int port_ = 0;
};

inline std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace s3d
