// One HTTP exchange over libcurl: HEAD, GET or POST, redirects followed, the body handed on as it comes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace s3d {

// The answer of a server, without its body. Header names are in lower case. Headers are those of the last response of
// a chain of redirects; the ones that start with "x-linked-" or "x-repo-" are kept from earlier responses too, because
// a model hub describes the file there and then redirects to its storage.
struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;

  // The header's value, "" when absent.
  std::string header(const std::string& name) const;
  // The header's value as a number of bytes; nullopt when absent or not a number.
  std::optional<uint64_t> number(const std::string& name) const;
};

// Why there was no complete answer. `retry` is true for what a second attempt may cure (no connection, connection cut,
// time-out).
struct HttpFailure {
  std::string message;
  bool retry = false;
};

struct HttpRequest {
  std::string url;
  bool head = false;                // HEAD: no body
  std::string token;                // sent as a bearer token, to the host of `url` only; "" = none
  std::optional<uint64_t> offset;   // asks for the bytes from here on (Range)
  std::optional<std::string> json;  // POST: this is the body
  // Called once before the first byte of a body with status 200 or 206; false stops. May be empty.
  std::function<bool(const HttpResponse&)> begin;
  // Called with each piece of such a body; false stops. May be empty. Bodies of other statuses are dropped …
  std::function<bool(std::string_view)> data;
  std::function<void(std::string_view)> refused;  // … or given to this, which may be empty
  // Called some times a second while the exchange lasts; false stops it. May be empty.
  std::function<bool()> keep_going;
};

// An answer of any status, or why there is none. Stopping by a callback is a failure without retry, message "stopped".
struct HttpOutcome {
  HttpResponse response;
  std::optional<HttpFailure> failure;
};

// Runs one exchange to its end, on the calling thread. Thread rule: any thread, any number at once.
HttpOutcome http_exchange(const HttpRequest& request);

// `text` percent-encoded for use as one segment of a URL's path.
std::string url_segment(const std::string& text);

}  // namespace s3d
