#include "serve/answer_run.h"

#include <algorithm>
#include <utility>

#include "base/index.h"

namespace s3d::serve {
namespace {

// Lives as long as a callback of a job refers to it.
class AnswerRun : public PingTarget, public std::enable_shared_from_this<AnswerRun> {
 public:
  AnswerRun(CallPtr call, AnswerPlan plan) : call_(std::move(call)), plan_(std::move(plan)) {
    states_.resize(plan_.jobs.size());
    for (int i = 0; i < isize(states_); ++i) states_[i].index = i;
  }

  void start();
  void ping_if_silent(double seconds) override;

 private:
  void on_piece(int index, const AnswerPiece& piece);
  void on_end(int index, const JobEnd& end);
  void add(AnswerState& state, const AnswerDelta& delta, std::span<const AnswerToken> tokens);
  void open_stream(std::string& out);
  void write(const std::string& out);
  void finish();
  void fail(const ApiError& error);
  void on_left();
  void cancel_all();

  const CallPtr call_;
  std::mutex mutex_;  // of all below, but for ids_ and left_
  AnswerPlan plan_;
  std::vector<AnswerState> states_;
  bool streaming_ = false;  // the head was sent
  bool over_ = false;       // nothing more is sent
  Stopwatch silence_;       // since something was sent

  // Apart from mutex_: the server's thread, which calls on_left(), must not wait for a thread that writes to it.
  std::mutex ids_mutex_;
  std::vector<JobId> ids_;
  bool left_ = false;
};

void AnswerRun::start() {
  std::vector<Job> jobs = std::move(plan_.jobs);
  for (int i = 0; i < isize(jobs); ++i) {
    jobs[i].on_piece = [self = shared_from_this(), i](const AnswerPiece& piece) { self->on_piece(i, piece); };
    jobs[i].on_end = [self = shared_from_this(), i](const JobEnd& end) { self->on_end(i, end); };
  }
  // A weak reference: the connection may outlive the answer.
  call_->responder->on_closed([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->on_left();
  });
  ModelService::Submitted submitted = plan_.model->submit(std::move(jobs));
  if (submitted.error) return call_->send_error(from_job_error(*submitted.error));
  // Not before: an answer that is refused at once has its own status.
  if (plan_.stream && !plan_.format->ping().empty()) call_->services.pings.watch(weak_from_this());
  bool left = false;
  {
    const std::lock_guard lock(ids_mutex_);
    ids_ = std::move(submitted.ids);
    left = left_;
  }
  if (left) cancel_all();
}

void AnswerRun::on_left() {
  {
    const std::lock_guard lock(ids_mutex_);
    left_ = true;
  }
  cancel_all();
}

void AnswerRun::cancel_all() {
  std::vector<JobId> ids;
  {
    const std::lock_guard lock(ids_mutex_);
    ids = ids_;
  }
  for (const JobId id : ids) plan_.model->cancel(id);
}

void AnswerRun::on_piece(int index, const AnswerPiece& piece) {
  const std::lock_guard lock(mutex_);
  if (over_) return;
  AnswerState& state = states_[index];
  if (!piece.prompt.empty()) state.prompt.assign(piece.prompt.begin(), piece.prompt.end());
  AnswerDelta delta;
  if (plan_.readers.empty()) {
    delta.content = piece.text;
  } else {
    delta = plan_.readers[index]->push(piece.text);
  }
  add(state, delta, piece.tokens);
}

// Adds to the state, and tells the client if it wants a stream.
void AnswerRun::add(AnswerState& state, const AnswerDelta& delta, std::span<const AnswerToken> tokens) {
  const double now = call_->watch.seconds();
  if (!tokens.empty()) {
    if (state.first_token_seconds == 0) state.first_token_seconds = now;
    state.last_token_seconds = now;
  }
  state.content += delta.content;
  state.thought += delta.thought;
  for (const CallDelta& call : delta.calls) {
    if (call.index >= isize(state.calls)) state.calls.resize(usize(call.index) + 1);
    ToolCall& whole = state.calls[call.index];
    whole.id += call.id;
    whole.name += call.name;
    whole.arguments += call.arguments;
  }
  state.token_count += isize(tokens);
  if (!delta.thought.empty() && delta.content.empty()) state.thought_tokens += isize(tokens);
  for (const AnswerToken& token : tokens) state.predicted_tokens += token.source == "prediction" ? 1 : 0;
  if (plan_.keep_tokens) state.tokens.insert(state.tokens.end(), tokens.begin(), tokens.end());
  if (!plan_.stream) return;
  std::string out;
  open_stream(out);
  plan_.format->piece(state, delta, tokens, out);
  write(out);
}

void AnswerRun::open_stream(std::string& out) {
  if (streaming_) return;
  streaming_ = true;
  http::Headers headers = plan_.headers;
  headers.add("Content-Type", std::string(plan_.format->stream_type()));
  headers.add("Cache-Control", "no-cache");
  headers.add("X-Accel-Buffering", "no");  // nginx would hold events back
  call_->responder->begin(200, std::move(headers));
  plan_.format->begin(states_, out);
}

void AnswerRun::ping_if_silent(double seconds) {
  const std::lock_guard lock(mutex_);
  if (over_ || silence_.seconds() < seconds) return;
  std::string out;
  open_stream(out);
  write(out.append(plan_.format->ping()));
}

void AnswerRun::write(const std::string& out) {
  silence_ = {};
  if (!out.empty() && !call_->responder->write(out)) over_ = true;  // the client has left: on_left() cancels
}

void AnswerRun::on_end(int index, const JobEnd& end) {
  const std::lock_guard lock(mutex_);
  AnswerState& state = states_[index];
  if (!over_ && !end.error && !plan_.readers.empty()) {
    const AnswerDelta rest = plan_.readers[index]->finish();
    if (!rest.empty()) add(state, rest, {});
  }
  state.end = end;
  state.ended = true;
  call_->services.statistics.count(plan_.model->card().id,
                                   {.end = state.end,
                                    .first_token_seconds = state.first_token_seconds,
                                    .whole_seconds = std::max(state.last_token_seconds, state.first_token_seconds)});
  if (over_) return;
  if (end.error) return fail(from_job_error(*end.error));
  if (plan_.stream) {
    std::string out;
    open_stream(out);
    plan_.format->end(state, out);
    write(out);
  }
  if (std::all_of(states_.begin(), states_.end(), [](const AnswerState& s) { return s.ended; })) finish();
}

void AnswerRun::finish() {
  over_ = true;
  if (!plan_.stream) {
    http::Headers headers = plan_.headers;
    headers.add("Content-Type", "application/json; charset=utf-8");
    return call_->responder->send(200, std::move(headers), to_text(plan_.format->whole(states_)));
  }
  std::string out;
  plan_.format->close(states_, out);
  if (!out.empty()) call_->responder->write(out);
  call_->responder->end();
}

void AnswerRun::fail(const ApiError& error) {
  over_ = true;
  if (streaming_) {
    std::string out;
    plan_.format->failure(error, out);
    call_->responder->write(out);
    call_->responder->end();
  } else {
    call_->send_error(error);
  }
  cancel_all();  // the other answers of this request
}

}  // namespace

void run_answers(const CallPtr& call, AnswerPlan plan) {
  std::make_shared<AnswerRun>(call, std::move(plan))->start();
}

}  // namespace s3d::serve
