// Runs the s3d program and keeps what it said.
#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace s3d::test {

struct Outcome {
  int code = -1;  // exit code; 128 + signal when it was killed
  std::string out;
  std::string err;

  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

// Variables to add to the environment; an empty value removes one.
using Environment = std::map<std::string, std::string>;

// Runs `s3d ARGUMENTS…` with `input` on stdin. Stdin, stdout and stderr are no terminals.
Outcome run_s3d(const std::vector<std::string>& arguments, const std::string& input = "",
                const Environment& environment = {});

// The program on a terminal of its own (stdin, stdout and stderr), for dialogues.
class Terminal {
 public:
  Terminal(const std::vector<std::string>& arguments, const Environment& environment);
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys);
  // Reads until `text` appeared after what was waited for before. False after `limit`.
  bool wait_for(const std::string& text, std::chrono::seconds limit = std::chrono::seconds(60));
  int finish();  // waits for the end; the exit code
  const std::string& screen() const { return screen_; }

 private:
  bool read_some(int milliseconds);
  int fd_ = -1;
  int pid_ = -1;
  std::string screen_;
  size_t seen_ = 0;
};

// A random model with a tokenizer of 106 tokens and no chat template, 512 positions.
std::string tiny_model();

// The path of a real model in the cache folder, "" when it is absent.
std::string cached_model(const std::string& name);

}  // namespace s3d::test
