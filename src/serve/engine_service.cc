#include "serve/engine_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <limits>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/index.h"
#include "base/stopwatch.h"
#include "decode/constraint.h"
#include "decode/logprobs.h"
#include "engine/chat_json.h"
#include "engine/speculation.h"
#include "engine/text_stream.h"
#include "serve/fair_queue.h"
#include "serve/model_card.h"
#include "serve/pooling.h"

namespace s3d::serve {
namespace {

// A job on the service's thread, from its start to its end.
struct RunningJob {
  RunningJob(JobId job_id, Job what, const Tokenizer& tokenizer, double waited)
      : id(job_id), job(std::move(what)), stream(tokenizer, job.stops, job.shown_tokens), queue_seconds(waited) {}

  JobId id;
  Job job;
  TextStream stream;
  double queue_seconds;
  Ticket ticket = 0;
  int answer_tokens = 0;
  std::string text;                 // to be told at the end of the step
  std::vector<AnswerToken> tokens;  // likewise
  std::vector<AnswerToken> scores;  // of the prompt, where they are wanted: to be told when they are all there
  std::optional<HiddenPool> pool;   // of an embedding

  bool scores_are_whole() const { return !scores.empty() && scores.size() == job.prompt.size(); }
};

// What a row of the prompt says of the token after it. A prompt that lost its memory is run again, and scored again.
void score(RunningJob& job, const RowOutput& row) {
  const size_t next = usize(row.position) + 1;
  if (next >= job.job.prompt.size()) return;
  const TokenId token = job.job.prompt[next];
  const double log_sum = log_sum_exp(row.logits);
  AnswerToken scored{.id = token,
                     .logprob = static_cast<float>(static_cast<double>(row.logits[usize(token)]) - log_sum)};
  for (const TokenLogprob& other : top_logprobs(row.logits, log_sum, job.job.top_logprobs)) {
    scored.top.push_back({other.token, other.logprob});
  }
  job.scores.resize(next);
  job.scores.push_back(std::move(scored));
}

AnswerToken answer_token(const NewToken& token) {
  AnswerToken made{.id = token.id,
                   .drafted = token.drafted,
                   .source = token.source,
                   .depth = token.drafted ? token.depth + 1 : 0,
                   .probability = token.probability,
                   .logprob = token.logprob};
  for (const TokenLogprob& other : token.top) made.top.push_back({other.token, other.logprob});
  return made;
}

// Into the end of its job: the vector, or why there is none.
void add_embedding(const HiddenPool& pool, JobEnd& end) {
  auto vector = pool.vector();
  if (vector.ok()) {
    end.embedding = std::move(*vector);
  } else {
    end.error = JobError{JobError::Kind::kFailed, vector.error().message};
  }
}

struct Arrival {
  JobId id;
  Job job;
  Stopwatch watch;  // since submit()
};

}  // namespace

struct EngineService::Impl {
  Impl(std::unique_ptr<Runtime> with, EngineServiceOptions wanted)
      : runtime(std::move(with)), options(std::move(wanted)), scheduler(runtime->backend(), runtime->kv(), setup()) {}

  SchedulerOptions setup() const {
    SchedulerOptions setup = options.scheduler;
    setup.costs = runtime->costs();
    return setup;
  }

  // On the service's thread.
  void run();
  struct Orders;
  bool next_orders(Orders& orders);
  void follow(Orders orders);
  void start(Arrival arrival);
  void look_at_prompt(RunningJob& job, Request& request);
  Result<std::shared_ptr<Speculator>> speculator_for(const Job& job);
  Next on_token(RunningJob& job, const NewToken& token);
  void on_done(JobId id, Result<Generation> result);
  void tell(RunningJob& job);
  void refuse(const Job& job, JobError error, bool started);
  void tell_end(const Job& job, const JobEnd& end, bool started);
  void publish();

  // By submit(), under the mutex.
  bool make_room(const std::vector<Job>& jobs);

  std::unique_ptr<Runtime> runtime;
  EngineServiceOptions options;
  ModelCard card;
  std::optional<PromptMaker> prompts;  // nothing: `no_prompts` says why
  std::string no_prompts;
  GrammarCompiler grammars{runtime->tokenizer()};  // safe on all threads

  // The service's thread only.
  Scheduler scheduler;
  std::map<JobId, std::unique_ptr<RunningJob>> running;
  double busy_seconds = 0;
  int64_t rows = 0;

  mutable std::mutex mutex;
  std::condition_variable wake;
  FairQueue<Arrival> waiting;    // by mutex: for a place in the scheduler
  std::vector<Job> displaced;    // by mutex: they had a place in the queue, and lost it
  std::vector<JobId> to_cancel;  // by mutex
  int started = 0;               // by mutex: the scheduler has them
  int open_jobs = 0;             // by mutex: submitted, and on_end was not called yet
  bool closing = false;          // by mutex: no more jobs are taken
  bool cancelling = false;       // by mutex: those that are there are cancelled
  JobId last_id = 0;             // by mutex
  LoadStats stats;               // by mutex: a copy of what the scheduler says
  std::vector<JobState> states;  // by mutex, likewise
  std::thread thread;
};

// What others want of the service's thread.
struct EngineService::Impl::Orders {
  std::vector<Arrival> to_start;
  std::vector<Job> displaced;
  std::vector<Job> cancelled;  // while they waited
  std::vector<JobId> to_cancel;
  bool cancel_all = false;
};

// Waits until there is something to do. The scheduler has as many jobs as it can run at a time and no more, so that
// those that wait can take turns by their clients. False: all is done, and the service is closing.
bool EngineService::Impl::next_orders(Orders& orders) {
  std::unique_lock lock(mutex);
  wake.wait(lock, [this] {
    return waiting.size() > 0 || !displaced.empty() || !to_cancel.empty() || closing || started > 0;
  });
  orders.displaced.swap(displaced);
  orders.cancel_all = cancelling;
  for (const JobId id : to_cancel) {
    auto arrival = waiting.remove([id](const Arrival& other) { return other.id == id; });
    if (arrival) orders.cancelled.push_back(std::move(arrival->job));
  }
  orders.to_cancel.swap(to_cancel);
  while (waiting.size() > 0 && (cancelling || started < options.scheduler.max_running)) {
    Arrival arrival = waiting.pop();
    if (cancelling) {
      orders.cancelled.push_back(std::move(arrival.job));
    } else {
      orders.to_start.push_back(std::move(arrival));
      ++started;
    }
  }
  return !closing || open_jobs > 0;
}

void EngineService::Impl::follow(Orders orders) {
  for (Arrival& arrival : orders.to_start) start(std::move(arrival));
  for (const Job& job : orders.displaced) {
    refuse(job, {JobError::Kind::kOverloaded, "the queue is full of requests; try again later"}, /*started=*/false);
  }
  JobEnd cancelled;
  cancelled.reason = FinishReason::kCancelled;
  for (const Job& job : orders.cancelled) tell_end(job, cancelled, /*started=*/false);
  for (const JobId id : orders.to_cancel) {
    const auto at = running.find(id);
    if (at != running.end()) scheduler.cancel(at->second->ticket);
  }
  if (!orders.cancel_all) return;
  for (const auto& [id, job] : running) scheduler.cancel(job->ticket);
}

void EngineService::Impl::run() {
  for (;;) {
    Orders orders;
    if (!next_orders(orders)) return;
    follow(std::move(orders));
    const Stopwatch watch;
    // A pass that failed has ended its jobs with the error; the others go on.
    const Status stepped = scheduler.step();
    (void)stepped;
    busy_seconds += watch.seconds();
    for (const auto& [id, job] : running) tell(*job);
    publish();
  }
}

void EngineService::Impl::start(Arrival arrival) {
  auto speculator = speculator_for(arrival.job);
  if (!speculator.ok()) {
    return refuse(arrival.job, {JobError::Kind::kRefused, speculator.error().message}, /*started=*/true);
  }
  auto made =
      std::make_unique<RunningJob>(arrival.id, std::move(arrival.job), runtime->tokenizer(), arrival.watch.seconds());
  RunningJob& job = *made;
  running.emplace(job.id, std::move(made));
  Request request;
  request.prompt = job.job.prompt;
  request.options.sampler = job.job.sampler;
  request.options.max_tokens = job.job.max_tokens;
  request.options.context = runtime->context();
  request.options.stream = job.job.stream;
  request.options.model_name = runtime->file().path();
  request.options.constraint = job.job.constraint;
  if (job.job.ignore_end) {
    request.options.is_end = [](TokenId) { return false; };
  } else {
    request.options.is_end = [this](TokenId token) { return runtime->tokenizer().is_end(token); };
  }
  request.speculator = std::move(*speculator);
  request.top_logprobs = job.job.top_logprobs;
  request.cache_key = job.job.cache_key;
  request.use_cache = job.job.use_cache;
  request.prediction = job.job.prediction;
  request.on_token = [this, &job](const NewToken& token) { return on_token(job, token); };
  look_at_prompt(job, request);
  job.ticket = scheduler.submit(std::move(request),
                                [this, id = job.id](Result<Generation> result) { on_done(id, std::move(result)); });
}

// Where more is wanted of the prompt than that it is run.
void EngineService::Impl::look_at_prompt(RunningJob& job, Request& request) {
  if (job.job.score_prompt) {
    job.scores = {{.id = job.job.prompt.front(), .logprob = std::numeric_limits<float>::quiet_NaN()}};
    request.score_from = 0;
    request.on_row = [&job](const RowOutput& row) { score(job, row); };
  } else if (job.job.embed) {
    S3D_CHECK(card.pooling != Pooling::kNone, "an embedding of a model without pooling");
    job.pool.emplace(runtime->model(), card.pooling, isize(job.job.prompt));
    request.want_hidden = true;
    request.score_from = job.pool->from();
    request.on_row = [&job](const RowOutput& row) { job.pool->add(row.position, row.hidden); };
  } else {
    return;
  }
  request.use_cache = false;  // rows that the cache has are not run
}

Result<std::shared_ptr<Speculator>> EngineService::Impl::speculator_for(const Job& job) {
  SpeculationOptions wanted = options.speculation;
  if (job.drafter) wanted.drafter = *job.drafter;
  S3D_TRY(wanted.check());
  S3D_ASSIGN(std::unique_ptr<Speculator> made, make_speculator(*runtime, wanted));
  return std::shared_ptr<Speculator>(std::move(made));
}

Next EngineService::Impl::on_token(RunningJob& job, const NewToken& token) {
  ++job.answer_tokens;
  job.text += job.stream.push(token.id);
  job.tokens.push_back(answer_token(token));
  return job.stream.stopped() ? Next::kStop : Next::kContinue;
}

// All tokens of a step in one piece: a round that accepted five tokens is one event for the client.
void EngineService::Impl::tell(RunningJob& job) {
  const bool scored = job.scores_are_whole();
  if (job.tokens.empty() && job.text.empty() && !scored) return;
  AnswerPiece piece{.text = job.text, .tokens = job.tokens};
  if (scored) piece.prompt = job.scores;
  if (job.job.on_piece) job.job.on_piece(piece);
  job.text.clear();
  job.tokens.clear();
  if (scored) job.scores.clear();
}

void EngineService::Impl::on_done(JobId id, Result<Generation> result) {
  const auto at = running.find(id);
  S3D_CHECK(at != running.end(), "a job ended twice");
  const std::unique_ptr<RunningJob> job = std::move(at->second);
  running.erase(at);
  JobEnd end;
  if (result.ok()) {
    job->text += job->stream.finish();
    end.reason = result->reason;
    end.timings = result->timings;
    end.spec = result->spec;
    if (job->pool && result->reason != FinishReason::kCancelled) add_embedding(*job->pool, end);
  } else {
    end.error = JobError{JobError::Kind::kFailed, result.error().message};
  }
  tell(*job);
  end.stop = job->stream.stop();
  end.answer_tokens = job->answer_tokens;
  end.queue_seconds = job->queue_seconds + end.timings.waiting_seconds;
  if (const double pass = runtime->costs()->of(1); pass > 0) end.plain_tps = 1 / pass;
  tell_end(job->job, end, /*started=*/true);
}

void EngineService::Impl::refuse(const Job& job, JobError error, bool started_already) {
  JobEnd end;
  end.error = std::move(error);
  tell_end(job, end, started_already);
}

void EngineService::Impl::tell_end(const Job& job, const JobEnd& end, bool started_already) {
  if (job.on_end) job.on_end(end);
  const std::lock_guard lock(mutex);
  --open_jobs;
  if (started_already) --started;
}

void EngineService::Impl::publish() {
  const SchedulerStats now = scheduler.stats();
  rows += now.last_rows;
  LoadStats load;
  load.waiting = now.waiting;
  load.running = now.prefilling + now.decoding;
  load.kv_used = now.kv_used;
  load.kv_capacity = now.kv_capacity;
  load.cached_tokens = now.cached_tokens;
  load.prefix_queries = now.prompt_tokens;
  load.prefix_hits = now.cached_prompt_tokens;
  load.preemptions = now.preemptions;
  load.passes = now.steps;
  load.rows = rows;
  load.busy_seconds = busy_seconds;
  std::vector<JobState> list;
  for (const auto& [id, job] : running) {
    list.push_back({.id = id,
                    .running = job->answer_tokens > 0,
                    .prompt_tokens = isize(job->job.prompt),
                    .answer_tokens = job->answer_tokens});
  }
  const std::lock_guard lock(mutex);
  stats = load;
  states = std::move(list);
}

Result<std::shared_ptr<EngineService>> EngineService::create(std::unique_ptr<Runtime> runtime,
                                                             EngineServiceOptions options) {
  auto impl = std::make_unique<Impl>(std::move(runtime), std::move(options));
  S3D_ASSIGN(impl->card, make_model_card(impl->runtime->file(), impl->options.id, impl->options.defaults));
  const Runtime& loaded = *impl->runtime;
  impl->card.aliases = impl->options.aliases;
  impl->card.context = loaded.context();
  impl->card.bos = loaded.tokenizer().text(loaded.tokenizer().bos());
  impl->card.eos = loaded.tokenizer().text(loaded.tokenizer().eos());
  impl->card.adapter = loaded.adapter_path();
  impl->card.drafter = impl->options.speculation.drafter;
  impl->card.parallel = impl->options.scheduler.max_running;
  auto prompts = PromptMaker::create(loaded.tokenizer(), impl->options.prompt);
  if (prompts.ok()) {
    impl->prompts = std::move(*prompts);
  } else {
    impl->no_prompts = prompts.error().message;
  }
  // Once, before anybody waits: it may measure what passes cost, and it says whether the drafter is there.
  S3D_TRY(impl->speculator_for({}));
  const MemoryUse memory = loaded.memory();
  impl->card.loaded_bytes =
      static_cast<int64_t>(memory.weights + memory.on_cards + memory.kv + memory.scratch + memory.drafters);
  impl->publish();
  impl->thread = std::thread([raw = impl.get()] { raw->run(); });
  return std::shared_ptr<EngineService>(new EngineService(std::move(impl)));
}

EngineService::EngineService(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

EngineService::~EngineService() {
  close(std::chrono::milliseconds(0));
}

void EngineService::close(std::chrono::milliseconds drain) {
  if (!impl_->thread.joinable()) return;
  const Stopwatch watch;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
  }
  impl_->wake.notify_all();
  const auto busy = [this] {
    const std::lock_guard lock(impl_->mutex);
    return impl_->open_jobs > 0;
  };
  constexpr auto kPoll = std::chrono::milliseconds(20);
  while (busy() && watch.seconds() * 1e3 < static_cast<double>(drain.count())) std::this_thread::sleep_for(kPoll);
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->cancelling = true;
  }
  impl_->wake.notify_all();
  impl_->thread.join();
}

const ModelCard& EngineService::card() const {
  return impl_->card;
}

std::vector<TokenId> EngineService::tokenize(std::string_view text, bool add_special, bool parse_special) const {
  return impl_->runtime->tokenizer().encode(text, add_special, parse_special);
}

std::string EngineService::piece(TokenId id, bool special) const {
  return impl_->runtime->tokenizer().piece(id, special);
}

TokenId EngineService::find(std::string_view token) const {
  return impl_->runtime->tokenizer().find(token);
}

Result<ChatPrompt> EngineService::render(const ChatInput& chat) const {
  if (!impl_->prompts) return Error{impl_->no_prompts};
  S3D_ASSIGN(const ChatContext context, parse_chat({.messages = chat.messages,
                                                    .tools = chat.tools,
                                                    .arguments = chat.variables,
                                                    .add_generation_prompt = chat.add_generation_prompt}));
  return impl_->prompts->render(context);
}

std::vector<TokenId> EngineService::tokenize_chat(const ChatPrompt& prompt) const {
  return impl_->runtime->tokenizer().encode_chat(prompt);
}

Result<std::shared_ptr<Constraint>> EngineService::constrain(const ConstraintSpec& spec) const {
  return impl_->grammars.compile(spec);
}

// Where the queue is full, clients that have the most in it make room for those that have less. An empty queue takes
// any number of jobs.
bool EngineService::Impl::make_room(const std::vector<Job>& jobs) {
  const int beyond = waiting.size() - std::max(options.scheduler.max_running - started, 0);
  const int too_many = beyond + isize(jobs) - options.max_waiting;
  if (beyond <= 0 || too_many <= 0) return true;
  std::vector<FairQueue<Arrival>::Displaced> out;
  for (size_t i = 0; isize(out) < too_many; ++i) {
    auto one = waiting.displace(jobs.front().client, i);
    if (!one) break;
    out.push_back(std::move(*one));
  }
  const bool enough = isize(out) == too_many;
  for (auto one = out.rbegin(); one != out.rend(); ++one) {
    if (enough) {
      displaced.push_back(std::move(one->item.job));
    } else {
      waiting.push(one->client, std::move(one->item));
    }
  }
  return enough;
}

ModelService::Submitted EngineService::submit(std::vector<Job> jobs) {
  Submitted submitted;
  const std::lock_guard lock(impl_->mutex);
  if (impl_->closing) return {{}, JobError{JobError::Kind::kShuttingDown, "the server is shutting down"}};
  if (!impl_->make_room(jobs)) {
    return {{},
            JobError{JobError::Kind::kOverloaded,
                     fmt::format("{} requests wait already; try again later", impl_->waiting.size())}};
  }
  for (Job& job : jobs) {
    submitted.ids.push_back(++impl_->last_id);
    const std::string client = job.client;
    impl_->waiting.push(client, {impl_->last_id, std::move(job), {}});
    ++impl_->open_jobs;
  }
  impl_->wake.notify_all();
  return submitted;
}

void EngineService::cancel(JobId id) {
  const std::lock_guard lock(impl_->mutex);
  impl_->to_cancel.push_back(id);
  impl_->wake.notify_all();
}

LoadStats EngineService::load() const {
  const std::lock_guard lock(impl_->mutex);
  LoadStats load = impl_->stats;
  load.waiting = impl_->waiting.size() + std::max(impl_->started - load.running, 0);
  return load;
}

std::vector<JobState> EngineService::jobs() const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<JobState> states = impl_->states;
  impl_->waiting.for_each([&](const Arrival& arrival) {
    states.push_back({.id = arrival.id, .prompt_tokens = isize(arrival.job.prompt)});
  });
  return states;
}

}  // namespace s3d::serve
