#include "http/listener.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

namespace s3d::http {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// How many clients the system lets wait until they are accepted.
constexpr int kBacklog = 512;

Result<Addresses> addresses_of(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed != 0) return Error{fmt::format("the address '{}': {}", host, gai_strerror(failed))};
  return Addresses(found, freeaddrinfo);
}

void set_flag(int fd, int level, int option) {
  const int on = 1;
  setsockopt(fd, level, option, &on, sizeof(on));
}

Result<Socket> listen_at(const addrinfo& address) {
  Socket socket(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.open()) return Error{std::strerror(errno)};
  set_flag(socket.fd(), SOL_SOCKET, SO_REUSEADDR);  // a server that ended a moment ago does not hold the port
  if (address.ai_family == AF_INET6) set_flag(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY);
  if (bind(socket.fd(), address.ai_addr, address.ai_addrlen) != 0) return Error{std::strerror(errno)};
  if (listen(socket.fd(), kBacklog) != 0) return Error{std::strerror(errno)};
  return socket;
}

int port_of(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address), &size);
  const in_port_t port = address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                                       : reinterpret_cast<sockaddr_in*>(&address)->sin_port;
  return ntohs(port);
}

std::string name_of(const sockaddr* address, socklen_t size) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (getnameinfo(address, size, host.data(), host.size(), port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV) !=
      0) {
    return "unknown";
  }
  return address_text(host.data(), std::string(port.data()));
}

}  // namespace

std::string address_text(const std::string& host, const std::string& port) {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return is_ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<Listening> listen_on(const std::string& host, int port) {
  S3D_ASSIGN(const Addresses addresses, addresses_of(host, port));
  Listening listening;
  std::string problem;
  for (const addrinfo* at = addresses.get(); at != nullptr; at = at->ai_next) {
    if (listening.port != 0 && port == 0) break;  // the other addresses might not have this port free
    auto socket = listen_at(*at);
    if (!socket.ok()) {
      problem = socket.error().message;
      continue;  // a name may have an address of a family that this machine does not speak
    }
    listening.port = port_of(*socket);
    listening.sockets.push_back(std::move(socket).value());
  }
  if (listening.sockets.empty()) return Error{fmt::format("cannot listen on {}:{}: {}", host, port, problem)};
  return listening;
}

Accepted accept_from(const Socket& listening) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  auto* general = reinterpret_cast<sockaddr*>(&address);
  Accepted accepted;
  accepted.socket = Socket(accept4(listening.fd(), general, &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!accepted.socket.open()) {
    accepted.failed = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    return accepted;
  }
  set_flag(accepted.socket.fd(), IPPROTO_TCP, TCP_NODELAY);  // a token must not wait for the next one
  accepted.peer = name_of(general, size);
  return accepted;
}

}  // namespace s3d::http
