// --api-key: who may use the server.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/message.h"

namespace s3d::cli {

// Const after it was made. Thread rule: any number of threads.
class ApiKeys {
 public:
  // `lists`: keys, or several in one text with commas between them. `file` (empty: none): one key a line; empty lines
  // and those that begin with '#' are none. Errors: the file cannot be read; there is no key where some were promised;
  // a key holds a blank or a control character, and so could not be sent.
  static Result<ApiKeys> read(const std::vector<std::string>& lists, const std::string& file);

  bool empty() const { return keys_.empty(); }

  // The number of the key that equals `text`. How long it takes tells nothing about how much of a key was right.
  std::optional<int> find(std::string_view text) const;

 private:
  std::vector<std::string> keys_;
};

// What a client sent to say who it is: "Authorization: Bearer KEY", "X-Api-Key: KEY" or "api-key: KEY"; empty: nothing.
std::string_view sent_key(const http::Headers& headers);

}  // namespace s3d::cli
