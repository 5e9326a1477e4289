#include "http/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

#include "base/check.h"

namespace s3d::http {
namespace {

// A part of what one client sends at a time: others get their turn.
constexpr size_t kReceiveBytes = 64 << 10;
// What a refused client may go on sending before its answer is given up.
constexpr size_t kMostThrownAway = 1 << 20;

// A client's own id is taken over if it can stand in a line of a log as it is.
bool is_plain_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && is_token(id);
}

ParserLimits limits_of(const ServerOptions& options) {
  return {.head = options.max_head, .headers = options.max_headers, .body = options.max_body};
}

}  // namespace

Connection::Connection(ConnectionHost& host, uint64_t id, Socket socket, std::string peer)
    : host_(host),
      id_(id),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      since_(Clock::now()),
      head_deadline_(since_ + host.options().header_timeout),
      input_rate_(host.options().rate_window, host.options().min_rate),
      output_rate_(host.options().rate_window, host.options().min_rate),
      parser_(limits_of(host.options())) {}

Connection::~Connection() {
  S3D_CHECK(phase_ == Phase::kClosed || watched_ == 0, "a connection is closed before it is destroyed");
}

Status Connection::start() {
  constexpr uint32_t kEvents = EPOLLIN | EPOLLRDHUP;
  S3D_TRY(host_.loop().add(socket_.fd(), kEvents, *this));
  watched_ = kEvents;
  update();
  return Ok();
}

void Connection::enter(Phase phase) {
  phase_ = phase;
  since_ = Clock::now();
}

bool Connection::idle() const {
  return phase_ == Phase::kReading && !parser_.begun() && in_.empty() && out_.empty();
}

TimePoint Connection::deadline() const {
  switch (phase_) {
    case Phase::kReading:
      return parser_.state() == RequestParser::State::kBody ? input_rate_.deadline() : head_deadline_;
    case Phase::kAnswering:
      return std::min(output_rate_.deadline(), answer_deadline_);
    case Phase::kFlushing:
      return output_rate_.deadline();
    case Phase::kLingering:
      return since_ + host_.options().linger;
    case Phase::kClosed:
      break;
  }
  return kNever;
}

void Connection::update() {
  if (phase_ == Phase::kClosed) return;
  const bool reads = phase_ == Phase::kReading || phase_ == Phase::kLingering;
  uint32_t events = 0;
  if (!out_.empty()) events |= EPOLLOUT;
  if (reads && !end_of_input_) events |= EPOLLIN | EPOLLRDHUP;
  if (phase_ == Phase::kAnswering && !ended_) events |= EPOLLRDHUP;
  if (events != watched_) host_.loop().change(socket_.fd(), events, *this);
  watched_ = events;
  host_.loop().set_deadline(*this, deadline());
}

void Connection::on_events(uint32_t events) {
  if (phase_ == Phase::kClosed) return;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return cut();
  if (phase_ == Phase::kAnswering && !ended_ && (events & EPOLLRDHUP) != 0) return cut();
  if ((events & EPOLLOUT) != 0) flush();
  if ((events & (EPOLLIN | EPOLLRDHUP)) != 0 && (phase_ == Phase::kReading || phase_ == Phase::kLingering)) receive();
  parse();
  update();
}

void Connection::on_deadline() {
  if (phase_ == Phase::kAnswering && answer_deadline_ <= Clock::now()) {
    give_up(504, "there was no answer in time");
    return update();
  }
  const bool writes = phase_ == Phase::kAnswering || phase_ == Phase::kFlushing;
  if (writes && output_rate_.fast_enough()) return update();
  if (phase_ != Phase::kReading) return cut();
  if (parser_.state() == RequestParser::State::kBody) {
    if (!input_rate_.fast_enough()) refuse(408, "the body comes too slowly");
  } else if (parser_.begun()) {
    refuse(408, "the header did not come in time");
  } else {
    return cut();
  }
  update();
}

void Connection::cut() {
  if (phase_ == Phase::kClosed) return;
  const bool answering = exchange_ != nullptr;
  host_.loop().set_deadline(*this, kNever);
  host_.loop().remove(socket_.fd());
  enter(Phase::kClosed);
  socket_.reset();
  host_.release_body(std::exchange(counted_body_, 0));
  if (answering || !record_.method.empty()) log(/*client_left=*/true);
  if (answering) {
    std::exchange(exchange_, nullptr)->close();
    host_.exchange_ended();
  }
  host_.gone(id_);
}

void Connection::drain() {
  keep_alive_ = false;
  if (idle()) return cut();
}

void Connection::refuse_connection() {
  refuse(503, "too many connections; try again");
  update();
}

// --- Input ---

void Connection::receive() {
  std::array<char, kReceiveBytes> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): recv fills what is read
  const ssize_t got = recv(socket_.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR) cut();
    return;
  }
  end_of_input_ = got == 0;
  if (phase_ == Phase::kLingering) {
    thrown_away_ += static_cast<size_t>(got);
    if (end_of_input_ || thrown_away_ > kMostThrownAway) cut();
    return;
  }
  if (end_of_input_) return cut();  // nobody waits for the answer to a part of a request
  input_rate_.moved(static_cast<size_t>(got));
  in_ += std::string_view(buffer.data(), static_cast<size_t>(got));
}

// Until a request is given to the handler, or more bytes are needed.
void Connection::parse() {
  while (phase_ == Phase::kReading) {
    const bool had_begun = parser_.begun();
    in_.pop(parser_.feed(in_.front()));
    if (!had_begun && parser_.begun()) {
      request_began_ = Clock::now();
      head_deadline_ = request_began_ + host_.options().header_timeout;
    }
    switch (parser_.state()) {
      case RequestParser::State::kHeadRead:
        accept_head();
        continue;
      case RequestParser::State::kDone:
        if (count_body()) dispatch();
        continue;
      case RequestParser::State::kFailed:
        return refuse(parser_.failure().status, parser_.failure().message);
      case RequestParser::State::kBody:
        if (!count_body()) return;
        if (!in_.empty()) continue;
        return;
      case RequestParser::State::kHead:
        return;
    }
  }
}

void Connection::accept_head() {
  const Request& head = parser_.head();
  record_.method = head.method;
  record_.path = head.path;
  minor_version_ = head.minor_version;
  const std::string* own_id = head.headers.find("X-Request-Id");
  record_.id = own_id != nullptr && is_plain_id(*own_id) ? *own_id : host_.fresh_id();
  if (host_.options().on_head) {
    if (auto reply = host_.options().on_head(head)) {
      return refuse_head(std::move(*reply));
    }
  }
  if (parser_.expects_continue() && parser_.has_body() && in_.empty()) {
    out_ += "HTTP/1.1 100 Continue\r\n\r\n";
    flush();
    if (phase_ == Phase::kClosed) return;
  }
  parser_.accept_body();
  input_rate_.end();
  input_rate_.begin();
}

bool Connection::count_body() {
  const size_t bytes = parser_.body_bytes();
  if (!host_.reserve_body(bytes - counted_body_)) {
    refuse(503, "too many large requests at once; try again");
    return false;
  }
  counted_body_ = bytes;
  return true;
}

void Connection::dispatch() {
  Request request = parser_.take();
  input_rate_.end();
  host_.release_body(std::exchange(counted_body_, 0));
  request.id = record_.id;
  request.peer = peer_;
  record_.received = request.body.size();
  keep_alive_ = request.keep_alive && !host_.draining();
  body_allowed_ = request.method != "HEAD";
  head_written_ = ended_ = false;
  enter(Phase::kAnswering);
  exchange_ = std::make_shared<Exchange>(host_.waker(id_));
  host_.handle(std::move(request), std::make_shared<ExchangeResponder>(exchange_));
  answer();
}

// Without reading the body: behind one that has a body, the connection cannot go on.
void Connection::refuse_head(Reply reply) {
  keep_alive_ = parser_.head().keep_alive && !parser_.has_body();
  if (keep_alive_) {
    parser_.accept_body();
    parser_.take();
  }
  refuse(std::move(reply));
}

void Connection::refuse(int status, std::string_view message) {
  keep_alive_ = false;
  refuse(host_.options().error_reply(status, message));
}

void Connection::refuse(Reply reply) {
  host_.release_body(std::exchange(counted_body_, 0));
  if (record_.id.empty()) record_.id = host_.fresh_id();
  body_allowed_ = record_.method != "HEAD";
  write_head(reply.status, std::move(reply.headers), Framing::kLength, reply.body.size());
  if (body_allowed_) out_ += reply.body;
  enter(Phase::kFlushing);
  flush();
}

// --- Output ---

void Connection::write_head(int status, Headers headers, Framing framing, size_t length) {
  record_.status = status;
  framing_ = framing;
  if (framing == Framing::kClose) keep_alive_ = false;
  body_allowed_ = body_allowed_ && may_have_body(status);
  if (host_.draining()) keep_alive_ = false;
  out_ += response_head({.status = status,
                         .headers = std::move(headers),
                         .framing = framing,
                         .length = length,
                         .keep_alive = keep_alive_,
                         .minor_version = minor_version_,
                         .request_id = record_.id,
                         .now = std::time(nullptr)});
  head_written_ = true;
}

void Connection::pump() {
  answer();
  parse();
  update();
}

void Connection::answer() {
  if (phase_ != Phase::kAnswering || ended_) return;
  Pending pending = exchange_->take();
  if (pending.abandoned) return give_up(500, "the request was not answered");
  take_pending(std::move(pending));
  flush();
}

void Connection::take_pending(Pending pending) {
  if (pending.head) {
    const Framing stream = minor_version_ == 0 ? Framing::kClose : Framing::kChunked;
    const Framing framing = pending.head->whole ? Framing::kLength : stream;
    write_head(pending.head->status, std::move(pending.head->headers), framing, pending.data.size());
  }
  ended_ = pending.ended;
  const auto most = host_.options().answer_timeout;
  answer_deadline_ = ended_ || most.count() == 0 ? kNever : Clock::now() + most;
  if (!body_allowed_) return;
  if (framing_ != Framing::kChunked) {
    out_ += pending.data;
    return;
  }
  out_ += chunk_of(pending.data);
  if (ended_) out_ += kLastChunk;
}

// An answer that will not come, or not come to its end: a bug of ours, or one that takes too long. One client's alone.
void Connection::give_up(int status, std::string_view message) {
  if (head_written_) return cut();  // what was sent must not look whole
  Reply reply = host_.options().error_reply(status, message);
  write_head(reply.status, std::move(reply.headers), Framing::kLength, reply.body.size());
  if (body_allowed_) out_ += reply.body;
  ended_ = true;
  answer_deadline_ = kNever;
  exchange_->close();  // whoever still works on it may stop
  flush();
}

void Connection::flush() {
  size_t sent = 0;
  while (sent < out_.size()) {
    const std::string_view rest = out_.front().substr(sent);
    const ssize_t n = send(socket_.fd(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return cut();
    sent += static_cast<size_t>(n);
  }
  out_.pop(sent);
  record_.sent += sent;
  output_rate_.moved(sent);
  if (exchange_) exchange_->set_unsent(out_.size());
  if (!out_.empty()) {
    if (phase_ == Phase::kAnswering && !ended_ && out_.size() > host_.options().max_buffered) return cut();
    return output_rate_.begin();
  }
  output_rate_.end();
  if (phase_ == Phase::kFlushing || (phase_ == Phase::kAnswering && ended_)) complete();
}

void Connection::log(bool client_left) {
  record_.peer = peer_;
  record_.client_left = client_left;
  record_.seconds = std::chrono::duration<double>(Clock::now() - request_began_).count();
  host_.finished(record_);
  record_ = {};
}

// The last byte of an answer was given to the system.
void Connection::complete() {
  log(/*client_left=*/false);
  if (exchange_) {
    std::exchange(exchange_, nullptr)->finish();
    host_.exchange_ended();
  }
  if (!keep_alive_ || host_.draining()) {
    shutdown(socket_.fd(), SHUT_WR);
    return enter(Phase::kLingering);
  }
  enter(Phase::kReading);
  head_deadline_ = since_ + host_.options().keep_alive_timeout;
  minor_version_ = 1;
}

}  // namespace s3d::http
