#include "http/server.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/splitmix64.h"
#include "http/connection.h"
#include "http/event_loop.h"
#include "http/listener.h"

namespace s3d::http {
namespace {

Reply plain_error(int status, std::string_view message) {
  return {status, {{"Content-Type", "text/plain; charset=utf-8"}}, std::string(message) + "\n"};
}

// How long to wait when no descriptor is left.
constexpr std::chrono::milliseconds kAcceptPause{100};
// Clients accepted in one round of the loop: the connections that are there get their turn.
constexpr int kAcceptsAtOnce = 64;
// Clients beyond max_connections that are told so, at a time; more of them are cut off without a word.
constexpr int kRefusedAtOnce = 64;

uint64_t random_seed() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
    seed = static_cast<uint64_t>(Clock::now().time_since_epoch().count());
  return seed;
}

}  // namespace

class HttpServer::Impl : public ConnectionHost {
 public:
  Impl(ServerOptions options, Handler handler) : options_(std::move(options)), handler_(std::move(handler)) {
    if (!options_.error_reply) options_.error_reply = plain_error;
  }

  Status start();
  void stop();
  void drain();
  bool wait_idle(std::chrono::milliseconds most);
  int port() const { return port_; }
  const std::string& host() const { return options_.host; }
  int running() const { return running_; }
  int connections() const { return open_; }

  // ConnectionHost
  const ServerOptions& options() const override { return options_; }
  EventLoop& loop() override { return *loop_; }
  bool draining() const override { return draining_; }
  bool reserve_body(size_t bytes) override;
  void release_body(size_t bytes) override { bodies_ -= bytes; }
  void handle(Request request, std::shared_ptr<Responder> responder) override;
  void exchange_ended() override;
  std::function<void()> waker(uint64_t id) override;
  std::string fresh_id() override { return fmt::format("req-{:016x}", splitmix64(seed_ + ++last_id_)); }
  void finished(const Finished& finished) override;
  void gone(uint64_t id) override;

 private:
  // One listening socket. When descriptors run out it looks away for a moment: the loop would spin otherwise.
  class Listener : public EventLoop::Source {
   public:
    Listener(Impl& server, Socket socket) : server_(server), socket_(std::move(socket)) {}
    Status start() { return server_.loop_->add(socket_.fd(), EPOLLIN, *this); }
    void on_events(uint32_t events) override;
    void on_deadline() override { server_.loop_->change(socket_.fd(), EPOLLIN, *this); }
    void close();

   private:
    Impl& server_;
    Socket socket_;
  };

  void accept(Accepted accepted);
  bool make_room();
  void end_everything();

  ServerOptions options_;
  const Handler handler_;
  std::shared_ptr<EventLoop> loop_;
  std::thread thread_;
  int port_ = 0;
  const uint64_t seed_ = random_seed();
  std::atomic<bool> draining_{false};
  std::atomic<int> running_{0};
  std::atomic<int> open_{0};
  std::mutex mutex_;  // for the condition alone
  std::condition_variable idle_;

  // The loop's thread alone.
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;  // [id]
  uint64_t last_id_ = 0;
  size_t bodies_ = 0;  // bytes
};

Status HttpServer::Impl::start() {
  S3D_CHECK(loop_ == nullptr, "a server starts once");
  S3D_ASSIGN(Listening listening, listen_on(options_.host, options_.port));
  S3D_ASSIGN(loop_, EventLoop::create());
  port_ = listening.port;
  for (Socket& socket : listening.sockets) {
    listeners_.push_back(std::make_unique<Listener>(*this, std::move(socket)));
    S3D_TRY(listeners_.back()->start());
  }
  thread_ = std::thread([this] { loop_->run(); });
  return Ok();
}

void HttpServer::Impl::stop() {
  if (!thread_.joinable()) return;
  loop_->post([this] { end_everything(); });
  loop_->stop();
  thread_.join();
}

void HttpServer::Impl::end_everything() {
  draining_ = true;
  for (const auto& listener : listeners_) listener->close();
  std::vector<Connection*> all;
  for (const auto& [id, connection] : connections_) all.push_back(connection.get());
  for (Connection* connection : all) connection->cut();
}

void HttpServer::Impl::drain() {
  draining_ = true;
  loop_->post([this] {
    std::vector<Connection*> all;
    for (const auto& [id, connection] : connections_) all.push_back(connection.get());
    for (Connection* connection : all) connection->drain();
  });
}

bool HttpServer::Impl::wait_idle(std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, most, [&] { return running_ == 0; });
}

bool HttpServer::Impl::reserve_body(size_t bytes) {
  if (bodies_ + bytes > options_.max_bodies) return false;
  bodies_ += bytes;
  return true;
}

void HttpServer::Impl::handle(Request request, std::shared_ptr<Responder> responder) {
  ++running_;
  handler_(std::move(request), std::move(responder));
}

void HttpServer::Impl::exchange_ended() {
  {
    const std::lock_guard lock(mutex_);
    --running_;
  }
  idle_.notify_all();
}

std::function<void()> HttpServer::Impl::waker(uint64_t id) {
  // The loop outlives the server where a handler still holds a responder; what is posted then never runs.
  return [this, id, loop = loop_] {
    loop->post([this, id] {
      if (const auto it = connections_.find(id); it != connections_.end()) it->second->pump();
    });
  };
}

void HttpServer::Impl::finished(const Finished& finished) {
  if (options_.on_finished) options_.on_finished(finished);
}

void HttpServer::Impl::gone(uint64_t id) {
  --open_;
  loop_->post([this, id] { connections_.erase(id); });
}

void HttpServer::Impl::Listener::on_events(uint32_t /*events*/) {
  for (int i = 0; socket_.open() && i < kAcceptsAtOnce; ++i) {
    Accepted accepted = accept_from(socket_);
    if (accepted.failed) {
      server_.loop_->change(socket_.fd(), 0, *this);
      server_.loop_->set_deadline(*this, Clock::now() + kAcceptPause);
    }
    if (!accepted.socket.open()) return;
    server_.accept(std::move(accepted));
  }
}

void HttpServer::Impl::Listener::close() {
  if (!socket_.open()) return;
  server_.loop_->set_deadline(*this, kNever);
  server_.loop_->remove(socket_.fd());
  socket_.reset();
}

// The longest idle connection makes room for a new one. False: none is idle.
bool HttpServer::Impl::make_room() {
  Connection* oldest = nullptr;
  for (const auto& [id, connection] : connections_) {
    if (connection->idle() && (oldest == nullptr || connection->since() < oldest->since())) oldest = connection.get();
  }
  if (oldest == nullptr) return false;
  oldest->cut();
  return true;
}

void HttpServer::Impl::accept(Accepted accepted) {
  if (open_ >= options_.max_connections + kRefusedAtOnce) return;
  const bool full = open_ >= options_.max_connections && !make_room();
  const uint64_t id = ++last_id_;
  auto connection = std::make_unique<Connection>(*this, id, std::move(accepted.socket), std::move(accepted.peer));
  if (!connection->start().ok()) return;  // no memory for one more watch: the client sees its connection end
  ++open_;
  Connection& added = *connections_.emplace(id, std::move(connection)).first->second;
  if (full) added.refuse_connection();
}

HttpServer::HttpServer(ServerOptions options, Handler handler)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler))) {}

HttpServer::~HttpServer() {
  stop();
}

Status HttpServer::start() {
  return impl_->start();
}

int HttpServer::port() const {
  return impl_->port();
}

std::string HttpServer::url() const {
  return "http://" + address_text(impl_->host(), std::to_string(impl_->port()));
}

int HttpServer::running() const {
  return impl_->running();
}

int HttpServer::connections() const {
  return impl_->connections();
}

void HttpServer::drain() {
  impl_->drain();
}

bool HttpServer::wait_idle(std::chrono::milliseconds most) {
  return impl_->wait_idle(most);
}

void HttpServer::stop() {
  impl_->stop();
}

}  // namespace s3d::http
