#include "http/message.h"

#include <algorithm>
#include <array>

namespace s3d::http {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

struct Reason {
  int status;
  std::string_view phrase;
};

constexpr Reason kReasons[] = {
    {100, "Continue"},
    {200, "OK"},
    {201, "Created"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

}  // namespace

void Headers::set(std::string_view name, std::string value) {
  std::erase_if(list_, [&](const Header& h) { return equal_ignoring_case(h.name, name); });
  add(std::string(name), std::move(value));
}

const std::string* Headers::find(std::string_view name) const {
  const auto it =
      std::find_if(list_.begin(), list_.end(), [&](const Header& h) { return equal_ignoring_case(h.name, name); });
  return it == list_.end() ? nullptr : &it->value;
}

int Headers::count(std::string_view name) const {
  return static_cast<int>(
      std::count_if(list_.begin(), list_.end(), [&](const Header& h) { return equal_ignoring_case(h.name, name); }));
}

std::string Headers::value_or(std::string_view name, std::string_view otherwise) const {
  const std::string* value = find(name);
  return value == nullptr ? std::string(otherwise) : *value;
}

std::string_view reason_phrase(int status) {
  const auto it =
      std::find_if(std::begin(kReasons), std::end(kReasons), [&](const Reason& r) { return r.status == status; });
  return it == std::end(kReasons) ? "Unknown" : it->phrase;
}

bool is_known_method(std::string_view method) {
  constexpr std::array<std::string_view, 7> kMethods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
  return std::find(kMethods.begin(), kMethods.end(), method) != kMethods.end();
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace s3d::http
