// The options of s3d serve, as llama-server's users type them, and their environment variables.
#pragma once

#include <string>
#include <vector>

#include "cli/answer_default_options.h"
#include "cli/api_keys.h"
#include "cli/drafting_options.h"
#include "cli/model_options.h"
#include "cli/prompt_options.h"

namespace s3d::cli {

struct ServeOptions {
  ModelOptions model;
  DraftingOptions spec;
  PromptOptions prompt;
  AnswerDefaultOptions answers;

  std::string host = "127.0.0.1";
  int port = 0;  // 0 until check(), unless it was given
  bool ollama = false;
  int max_connections = 1000;
  int timeout = 600;       // seconds
  int ping_interval = 30;  // seconds; 0 or -1: none
  std::string cors_origin = "*";

  std::vector<std::string> key_lists;
  std::string key_file;
  bool no_auth = false;
  ApiKeys keys;  // by check()

  std::string models_folder;
  int keep_alive = 300;  // seconds
  int models_mib = 0;    // 0: no limit
  std::vector<std::string> aliases;
  bool any_model = true;
  int parallel = 8;
  int max_queue = 64;
  int per_client = 0;
  int per_minute = 0;
  int step_ms = 100;
  int cache_mib = 1024;
  bool isolate_keys = false;

  bool metrics = true;
  bool slots = true;
  bool ui = true;
  std::string ui_folder;
  bool no_log = false;
  int drain_seconds = 30;

  void add_to(CLI::App& command);
  // First takes from the environment what the command line does not say. Also fills `port` and `keys`.
  Status check(CLI::App& command);

 private:
  void add_network_to(CLI::App& command);
  void add_access_to(CLI::App& command);
  void add_load_to(CLI::App& command);
  void add_pages_to(CLI::App& command);
  Status check_numbers() const;
};

// Whether only programs of this machine reach a server that listens there.
bool is_loopback(const std::string& host);

// llama-server's options of one dash and several letters ("-np 4"), which this parser would take apart, under their
// long names. Other words stay.
std::vector<std::string> with_long_names(std::vector<std::string> words);

}  // namespace s3d::cli
