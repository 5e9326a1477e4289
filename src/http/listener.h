// The sockets that clients connect to.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "http/socket.h"

namespace s3d::http {

struct Listening {
  std::vector<Socket> sockets;  // one for each address of the name; non-blocking
  int port = 0;                 // the same of all
};

// Binds every address of `host` (a name, an IPv4 or an IPv6 address) and listens. `port` 0: the system chooses.
// Error: names the address and what the system said.
Result<Listening> listen_on(const std::string& host, int port);

// "127.0.0.1:8080", "[::1]:8080"
std::string address_text(const std::string& host, const std::string& port);

struct Accepted {
  Socket socket;        // not open: nobody waits, or `failed`
  std::string peer;     // "127.0.0.1:40312", "[::1]:40312"
  bool failed = false;  // no descriptor or memory was left: try again later
};

Accepted accept_from(const Socket& listening);

}  // namespace s3d::http
