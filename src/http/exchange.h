// One request's answer on its way from any thread to the thread that writes it.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"
#include "http/server.h"

namespace s3d::http {

// What a handler has answered since the connection looked last.
struct Pending {
  struct Head {
    int status = 200;
    Headers headers;
    bool whole = false;  // send(): the body's length is known
  };
  std::optional<Head> head;
  std::string data;
  bool ended = false;      // nothing more will come
  bool abandoned = false;  // and the answer is not whole
};

// Thread rule: what Responder offers by any thread; take(), set_unsent() and close() by the server's.
class Exchange {
 public:
  // `wake`: asks the server's thread to take() what is there; called by the thread that answers.
  explicit Exchange(std::function<void()> wake) : wake_(std::move(wake)) {}

  // The side of the handler, see Responder.
  void send(int status, Headers headers, std::string body);
  void begin(int status, Headers headers);
  bool write(std::string_view chunk);
  void end();
  void abandon();  // the handler's last reference is gone
  void on_closed(std::function<void()> left);
  bool closed() const { return closed_; }
  size_t buffered() const { return pending_bytes_ + unsent_; }

  // The side of the connection.
  Pending take();
  void set_unsent(size_t bytes) { unsent_ = bytes; }
  void close();   // the client has left before the answer was whole
  void finish();  // the answer was given to the system: the callback, and what it holds, goes

 private:
  enum class Stage { kNothing, kBegun, kEnded };
  void changed(std::unique_lock<std::mutex> lock);  // gives the lock back, and wakes if that is not under way

  const std::function<void()> wake_;
  std::atomic<bool> closed_{false};
  std::atomic<size_t> pending_bytes_{0};
  std::atomic<size_t> unsent_{0};
  std::mutex mutex_;
  Stage stage_ = Stage::kNothing;
  Pending pending_;
  bool woken_ = false;
  std::function<void()> left_;
};

// What a handler holds: its end without an answer is noticed.
class ExchangeResponder : public Responder {
 public:
  explicit ExchangeResponder(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~ExchangeResponder() override { exchange_->abandon(); }
  ExchangeResponder(const ExchangeResponder&) = delete;
  ExchangeResponder& operator=(const ExchangeResponder&) = delete;

  void send(int status, Headers headers, std::string body) override {
    exchange_->send(status, std::move(headers), std::move(body));
  }
  void begin(int status, Headers headers) override { exchange_->begin(status, std::move(headers)); }
  bool write(std::string_view chunk) override { return exchange_->write(chunk); }
  void end() override { exchange_->end(); }
  void on_closed(std::function<void()> left) override { exchange_->on_closed(std::move(left)); }
  bool closed() const override { return exchange_->closed(); }
  size_t buffered() const override { return exchange_->buffered(); }

 private:
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace s3d::http
