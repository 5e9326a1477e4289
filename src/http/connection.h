// One client's connection: requests in, one after the other, answers out.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/byte_queue.h"
#include "http/event_loop.h"
#include "http/exchange.h"
#include "http/rate_guard.h"
#include "http/request_parser.h"
#include "http/response_writer.h"
#include "http/server.h"
#include "http/socket.h"

namespace s3d::http {

// What connections of one server share. Lives on the server's thread.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  virtual const ServerOptions& options() const = 0;
  virtual EventLoop& loop() = 0;
  virtual bool draining() const = 0;
  virtual bool reserve_body(size_t bytes) = 0;  // of max_bodies; false: none left
  virtual void release_body(size_t bytes) = 0;
  virtual void handle(Request request, std::shared_ptr<Responder> responder) = 0;
  virtual void exchange_ended() = 0;  // one for each handle()
  // A function for any thread that makes the connection `id`, if it is still there, look at its exchange.
  virtual std::function<void()> waker(uint64_t id) = 0;
  virtual std::string fresh_id() = 0;
  virtual void finished(const Finished& finished) = 0;
  virtual void gone(uint64_t id) = 0;  // the connection is closed; it is destroyed once the loop's round is over
};

// Thread rule: the server's thread.
class Connection : public EventLoop::Source {
 public:
  Connection(ConnectionHost& host, uint64_t id, Socket socket, std::string peer);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Status start();
  void on_events(uint32_t events) override;
  void on_deadline() override;
  void pump();                                // the exchange has something
  void drain();                               // no other request after this one
  void refuse_connection();                   // too many are open
  void cut();                                 // at once, whatever runs
  bool idle() const;                          // between requests
  TimePoint since() const { return since_; }  // of the last change of phase

 private:
  enum class Phase {
    kReading,    // a request, or waiting for one
    kAnswering,  // the handler has it; nothing is read
    kFlushing,   // the last answer goes out
    kLingering,  // all is sent; what the client still sends is thrown away, so that it can read the answer
    kClosed
  };

  void enter(Phase phase);
  void update();  // what the loop waits for

  void receive();
  void parse();
  void accept_head();
  bool count_body();  // false: refused
  void dispatch();
  void refuse(int status, std::string_view message);
  void refuse(Reply reply);
  void refuse_head(Reply reply);

  void answer();
  void write_head(int status, Headers headers, Framing framing, size_t length);
  void take_pending(Pending pending);
  void give_up(int status, std::string_view message);
  void flush();
  void complete();
  void log(bool client_left);
  TimePoint deadline() const;

  ConnectionHost& host_;
  const uint64_t id_;
  Socket socket_;
  const std::string peer_;

  Phase phase_ = Phase::kReading;
  TimePoint since_;
  TimePoint head_deadline_;
  TimePoint answer_deadline_ = kNever;  // for the next part of the answer
  uint32_t watched_ = 0;                // events
  bool end_of_input_ = false;
  RateGuard input_rate_;
  RateGuard output_rate_;

  RequestParser parser_;
  ByteQueue in_;             // received and not parsed
  size_t counted_body_ = 0;  // reserved of the host
  size_t thrown_away_ = 0;   // while lingering

  ByteQueue out_;                       // formatted and not sent
  std::shared_ptr<Exchange> exchange_;  // of the request that is answered
  Framing framing_ = Framing::kLength;
  bool head_written_ = false;
  bool body_allowed_ = true;  // not for HEAD, 204, 304
  bool ended_ = false;        // the answer is whole, though perhaps not sent
  bool keep_alive_ = true;
  int minor_version_ = 1;
  Finished record_;  // of the request under way
  TimePoint request_began_;
};

}  // namespace s3d::http
