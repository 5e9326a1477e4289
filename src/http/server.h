// An HTTP/1.1 server for answers that take long: one thread does all input and output, handlers answer from any thread,
// and a client that leaves is noticed while its answer is made. It knows nothing of JSON or of models. No TLS: that is
// the task of a proxy in front.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace s3d::http {

// The answer to one request, which is either send(), once, or begin(), write() as often as wanted, end().
// Thread rule: any thread, one call at a time. No call blocks, and no call waits for the client.
// Who drops the last reference without having answered leaves a 500; in mid-answer, a connection that is cut, so that
// the client does not take a part for the whole. Answering twice is a bug of ours (S3D_CHECK).
class Responder {
 public:
  virtual ~Responder() = default;

  // The whole answer. The server adds Content-Length, Connection, Date and x-request-id. The body of an answer to HEAD
  // is left out by the server: a handler may treat HEAD as GET.
  virtual void send(int status, Headers headers, std::string body) = 0;

  // An answer of unknown length: in chunks, or up to the end of the connection where the client speaks HTTP/1.0. Each
  // write() is one chunk and leaves at once; an empty one does nothing. False: the client has left, stop.
  virtual void begin(int status, Headers headers) = 0;
  virtual bool write(std::string_view chunk) = 0;
  virtual void end() = 0;

  // `left` is called when the client leaves, or is cut off, before its answer was given to the system as a whole: on
  // the server's thread, at most once, or at once by the caller if that has happened already. It must not block. A
  // second call replaces the first callback.
  virtual void on_closed(std::function<void()> left) = 0;
  virtual bool closed() const = 0;      // the client has left
  virtual size_t buffered() const = 0;  // bytes of this answer that the system has not taken yet
};

// Called on the server's thread when a request is whole: must not block. Long work goes to another thread.
using Handler = std::function<void(Request request, std::shared_ptr<Responder> responder)>;

// How an exchange ended, for a log.
struct Finished {
  std::string id;
  std::string peer;
  std::string method;  // empty if no request could be read
  std::string path;
  int status = 0;            // 0: nothing was answered
  size_t received = 0;       // bytes of the body
  size_t sent = 0;           // bytes of the answer that the system took, its head included
  double seconds = 0;        // from the first byte of the request to the last of the answer
  bool client_left = false;  // before the answer was whole
};

struct ServerOptions {
  std::string host = "127.0.0.1";  // a name or an address; all addresses of a name are bound
  int port = 8080;                 // 0: the system chooses one; see HttpServer::port()

  size_t max_head = 16 << 10;     // bytes of request line and headers: beyond, 431 (414 for the line alone)
  int max_headers = 100;          // fields: beyond, 431
  size_t max_body = 64 << 20;     // bytes: beyond, 413
  size_t max_bodies = 256 << 20;  // bytes of all bodies that are being received: beyond, 503
  int max_connections = 1000;     // beyond, the longest idle one is closed; if none is idle, 503
  size_t max_buffered = 4 << 20;  // bytes of a streamed answer that the client does not take: beyond, cut off

  std::chrono::milliseconds header_timeout{10'000};      // from the first byte, or from accepting, to the whole head
  std::chrono::milliseconds keep_alive_timeout{60'000};  // between requests
  // Of an answer: from the whole request to its first byte, and between its parts. Beyond, 504, or the connection is
  // cut off; on_closed() is called. 0: for ever.
  std::chrono::milliseconds answer_timeout{600'000};
  // Of a body or an answer under way, at least `min_rate` bytes a second must move in every `rate_window`.
  std::chrono::milliseconds rate_window{20'000};
  double min_rate = 50;
  std::chrono::milliseconds linger{2'000};  // how long a refused client may go on sending before the connection ends

  // Asked when a head is there and before its body is read: a Reply refuses the request, the body is not received and
  // the connection ends. On the server's thread; must not block.
  std::function<std::optional<Reply>(const Request& head)> on_head;

  // What the server itself says of a request that it cannot read or serve (400, 408, 413, 431, 500, 501, 503, …).
  // Default: one line of plain text.
  std::function<Reply(int status, std::string_view message)> error_reply;

  // Called on the server's thread after each exchange; must not block.
  std::function<void(const Finished& finished)> on_finished;
};

// Thread rule: start() and stop() by one thread; the others by any.
class HttpServer {
 public:
  HttpServer(ServerOptions options, Handler handler);
  ~HttpServer();  // stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Binds, listens, starts the thread. Error: names the address and what the system said.
  Status start();

  int port() const;         // that is listened on, once start() succeeded
  std::string url() const;  // "http://127.0.0.1:8080"
  int running() const;      // requests that were given to the handler and are not answered as a whole
  int connections() const;  // open ones

  // Ends keep-alive: idle connections are closed, others after their answer. New ones are still accepted, so that a
  // balancer that asks is told; it is the handler that refuses.
  void drain();
  // Waits until no request is running, at most that long. True: none is.
  bool wait_idle(std::chrono::milliseconds most);

  // Closes the listening socket and every connection (on_closed() of those that run), and ends the thread.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace s3d::http
