#include "fetch/http.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <memory>

namespace s3d {
namespace {

using CurlHandle = std::unique_ptr<CURL, void (*)(CURL*)>;
using CurlList = std::unique_ptr<curl_slist, void (*)(curl_slist*)>;

// A stalled transfer is given up after this long below one byte a second; the caller then resumes it.
constexpr long kStallSeconds = 60;
constexpr long kConnectSeconds = 30;
constexpr long kMaxRedirects = 10;

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  return text;
}

// What the callbacks of one exchange share.
struct Exchange {
  const HttpRequest& request;
  CURL* curl;
  HttpResponse response;
  bool begun = false;
  bool stopped = false;
};

size_t on_header(char* bytes, size_t size, size_t count, void* context) {
  auto& exchange = *static_cast<Exchange*>(context);
  const std::string_view line = trimmed({bytes, size * count});
  auto& headers = exchange.response.headers;
  if (line.starts_with("HTTP/")) {
    std::erase_if(headers, [](const auto& header) {
      return !header.first.starts_with("x-linked-") && !header.first.starts_with("x-repo-");
    });
  } else if (const size_t colon = line.find(':'); colon != std::string_view::npos) {
    headers[lower(line.substr(0, colon))] = trimmed(line.substr(colon + 1));
  }
  return size * count;
}

void read_status(Exchange& exchange) {
  long status = 0;
  curl_easy_getinfo(exchange.curl, CURLINFO_RESPONSE_CODE, &status);
  exchange.response.status = static_cast<int>(status);
}

size_t on_body(char* bytes, size_t size, size_t count, void* context) {
  auto& exchange = *static_cast<Exchange*>(context);
  read_status(exchange);
  const size_t total = size * count;
  const HttpRequest& request = exchange.request;
  if (exchange.response.status != 200 && exchange.response.status != 206) {
    if (request.refused) request.refused({bytes, total});
    return total;
  }
  const bool first = !exchange.begun;
  exchange.begun = true;
  if ((first && request.begin && !request.begin(exchange.response)) ||
      (request.data && !request.data({bytes, total}))) {
    exchange.stopped = true;
    return CURL_WRITEFUNC_ERROR;
  }
  return total;
}

int on_progress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& exchange = *static_cast<Exchange*>(context);
  if (!exchange.request.keep_going || exchange.request.keep_going()) return 0;
  exchange.stopped = true;
  return 1;
}

bool worth_retry(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

// The body and its type. The list must live as long as the exchange.
CurlList set_json(CURL* curl, const HttpRequest& request) {
  if (!request.json) return {nullptr, &curl_slist_free_all};
  CurlList headers(curl_slist_append(nullptr, "Content-Type: application/json"), &curl_slist_free_all);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.json->size()));
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.json->c_str());
  return headers;
}

void set_options(CURL* curl, const HttpRequest& request, Exchange& exchange, char* error) {
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "s3d");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  // A redirect must not lead from an encrypted connection to a plain one.
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, request.url.starts_with("https:") ? "https" : "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kMaxRedirects);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
  if (request.head) curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  if (request.offset) {
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(*request.offset));
  }
  if (!request.token.empty()) {  // libcurl sends it to the first host only, not after a redirect to another one.
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, request.token.c_str());
  }
}

}  // namespace

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

std::optional<uint64_t> HttpResponse::number(const std::string& name) const {
  const std::string text = header(name);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

HttpOutcome http_exchange(const HttpRequest& request) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  const CurlHandle curl(ready == CURLE_OK ? curl_easy_init() : nullptr, &curl_easy_cleanup);
  if (!curl) return {{}, HttpFailure{"libcurl cannot start", false}};
  char error[CURL_ERROR_SIZE] = "";
  Exchange exchange{request, curl.get(), {}};
  set_options(curl.get(), request, exchange, error);
  const CurlList headers = set_json(curl.get(), request);
  const CURLcode code = curl_easy_perform(curl.get());
  read_status(exchange);
  HttpOutcome outcome{std::move(exchange.response), std::nullopt};
  if (exchange.stopped) {
    outcome.failure = HttpFailure{"stopped", false};
  } else if (code == CURLE_RANGE_ERROR) {
    outcome.failure = HttpFailure{"the server cannot send a part of the file", false};
  } else if (code != CURLE_OK) {
    outcome.failure = HttpFailure{error[0] ? error : curl_easy_strerror(code), worth_retry(code)};
  }
  return outcome;
}

std::string url_segment(const std::string& text) {
  const std::unique_ptr<char, void (*)(void*)> escaped(
      curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size())), &curl_free);
  return escaped ? escaped.get() : std::string();
}

}  // namespace s3d
