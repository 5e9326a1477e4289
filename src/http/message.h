// What travels over HTTP as values: headers, a request, an answer. No sockets here.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace s3d::http {

struct Header {
  std::string name;  // as written; compared without regard to case
  std::string value;
};

// The fields of a head, in order. A value; a name may stand more than once.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<Header> list) : list_(list) {}

  void add(std::string name, std::string value) { list_.push_back({std::move(name), std::move(value)}); }
  void set(std::string_view name, std::string value);    // in place of all fields of that name
  const std::string* find(std::string_view name) const;  // the first one's value, null if there is none
  int count(std::string_view name) const;                // how often the name stands
  std::string value_or(std::string_view name, std::string_view otherwise) const;

  size_t size() const { return list_.size(); }
  bool empty() const { return list_.empty(); }
  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }

 private:
  std::vector<Header> list_;
};

// One request, whole: its body has arrived and its framing (chunks, Content-Length) was undone.
struct Request {
  std::string method;  // "GET"; one of is_known_method()
  std::string target;  // as the client wrote it
  std::string path;    // percent-decoded, begins with '/', without segments "." and ".."; "*" for OPTIONS *
  std::string query;   // what stands behind '?', as written; query_value() takes it apart
  Headers headers;
  std::string body;
  int minor_version = 1;  // HTTP/1.0 or HTTP/1.1
  bool keep_alive = true;
  std::string peer;  // "127.0.0.1:40312"
  std::string id;    // for logs and for x-request-id: the client's own, if it sent a plain one, else a fresh one
};

// An answer that is there as a whole.
struct Reply {
  int status = 200;
  Headers headers;  // without Content-Length, Transfer-Encoding, Connection, Date and x-request-id: the server's
  std::string body;
};

// "Not Found"; "Unknown" for a code that is not in the table.
std::string_view reason_phrase(int status);

// GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS. Another method is answered with 501 before a handler sees it.
bool is_known_method(std::string_view method);

// Equal but for the case of ASCII letters.
bool equal_ignoring_case(std::string_view a, std::string_view b);

}  // namespace s3d::http
