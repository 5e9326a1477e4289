// A client for tests: sends any bytes, reads what comes. Not a good client: it believes what the server says.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "http/socket.h"

namespace s3d::http {

class TestClient {
 public:
  explicit TestClient(int port, int receive_buffer = 0) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0) set(SO_RCVBUF, receive_buffer);
    timeval most{.tv_sec = 60};  // a test that would hang fails instead
    set(SO_RCVTIMEO, most);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(socket_.fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }

  bool connected() const { return connected_; }

  // False: the server does not take it any more.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }

  // What comes up to and with `mark`; what came at all if the connection ends before.
  std::string until(std::string_view mark) {
    while (true) {
      if (const size_t at = came_.find(mark); at != std::string::npos) return pop(at + mark.size());
      if (!receive()) return pop(came_.size());
    }
  }
  std::string all() {
    while (receive()) {
    }
    return pop(came_.size());
  }
  std::string exactly(size_t bytes) {
    while (came_.size() < bytes && receive()) {
    }
    return pop(std::min(bytes, came_.size()));
  }

  // One answer with a Content-Length, or without a body.
  std::string answer() {
    std::string head = until("\r\n\r\n");
    const size_t at = head.find("Content-Length: ");
    if (at == std::string::npos) return head;
    return head + exactly(static_cast<size_t>(std::atoi(head.c_str() + at + 16)));
  }

  void leave() { socket_.reset(); }
  void leave_rudely() {  // with a reset instead of an end
    const linger now{.l_onoff = 1, .l_linger = 0};
    set(SO_LINGER, now);
    leave();
  }

 private:
  template <typename Value>
  void set(int option, const Value& value) {
    setsockopt(socket_.fd(), SOL_SOCKET, option, &value, sizeof(value));
  }
  bool receive() {
    std::array<char, 16384> buffer{};
    const ssize_t n = recv(socket_.fd(), buffer.data(), buffer.size(), 0);
    if (n > 0) came_.append(buffer.data(), static_cast<size_t>(n));
    return n > 0;
  }
  std::string pop(size_t bytes) {
    std::string front = came_.substr(0, bytes);
    came_.erase(0, bytes);
    return front;
  }

  Socket socket_;
  bool connected_ = false;
  std::string came_;
};

}  // namespace s3d::http
