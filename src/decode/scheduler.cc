#include "decode/scheduler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/index.h"
#include "base/stopwatch.h"
#include "decode/cost_model.h"
#include "decode/prefix_cache.h"
#include "decode/row_allocator.h"
#include "decode/sequence.h"

namespace s3d {
namespace {

using Phase = SequenceRun::Phase;

constexpr int kPage = KvCache::kPageTokens;
constexpr int kLeastPromptRows = 16;  // of a pass, while anyone decodes
constexpr int kFirstAnswer = 128;     // tokens of an answer that there must be room for before a prompt is begun

// A request, from its submission to its end.
struct Entry {
  Entry(Ticket number, const ModelConfig& config, KvCache& kv, Request request, OnDone done)
      : ticket(number), run(config, kv, std::move(request)), on_done(std::move(done)) {}

  Ticket ticket;
  SequenceRun run;
  OnDone on_done;
  bool cancelled = false;
  int waited = 0;             // steps since it got memory, while its prompt is run
  std::vector<double> paths;  // of its proposal
  RowGrant grant;             // of this step
};
using Entries = std::vector<std::unique_ptr<Entry>>;

}  // namespace

struct Scheduler::Impl {
  Impl(Backend& of_model, KvCache& cache_of, SchedulerOptions with)
      : backend(of_model), kv(cache_of), options(std::move(with)), costs(options.costs) {
    if (costs == nullptr) costs = std::make_shared<PassCosts>();
    if (options.cache_bytes > 0) cache.emplace(kv, options.cache_bytes);
  }

  Status step();

  // Requests that come and go.
  void take_arrivals();
  void prepare_all();
  void admit();
  bool has_room_for(const Entry& entry, int cached);
  void settle();
  void leave(Entry& entry);
  Entry* find(Ticket ticket);

  // Memory.
  bool free_some_memory();
  void preempt(Entry& entry);
  void secure_rows();
  void bound_scores();
  bool fit_prompts();
  void make_way();
  void fail_for_memory(SequenceRun& run);

  // One step of all that run.
  Status advance();
  void propose();
  RoundLoad load_of(const Entry& entry) const;
  void run_draft_passes();
  void learn_sharing(int sharers, int able);
  static std::vector<Entry*> take_draft_group(std::vector<Entry*>& open);
  static void run_draft_group(std::span<Entry* const> group);
  void allocate(double spent_seconds);
  void compose();
  int needed_best() const;
  Status run_pass();
  void absorb(const PassOutput& out, double seconds);

  std::vector<Entry*> in_phase(Phase phase) const;

  Backend& backend;
  KvCache& kv;
  SchedulerOptions options;
  std::shared_ptr<PassCosts> costs;
  std::optional<PrefixCache> cache;

  Ticket last_ticket = 0;
  Entries arrivals;  // since the last step
  Entries waiting;   // for memory; by ticket
  Entries running;   // by ticket
  Entries leaving;

  // Of the step in progress.
  Stopwatch step_watch;
  std::vector<Entry*> decoding, prompts;  // that have rows in the pass, in their order
  PassRows pass;
  bool hidden = false;
  const PackedAdapter* riders = nullptr;  // of the pass
  Choices choices;                        // of its rows, where logits are not returned

  double sharing = 1;  // of the sequences that may draft, usually in one draft pass
  SchedulerStats total;
};

// ---- Requests that come and go -------------------------------------------------------------------------------------

void Scheduler::Impl::take_arrivals() {
  for (std::unique_ptr<Entry>& entry : arrivals) {
    if (Status good = entry->run.check(); !good.ok()) entry->run.fail(good.error());
    waiting.push_back(std::move(entry));
  }
  arrivals.clear();
}

void Scheduler::Impl::prepare_all() {
  for (const Entries* entries : {&waiting, &running}) {
    for (const std::unique_ptr<Entry>& entry : *entries) {
      if (entry->cancelled && !entry->run.finished()) entry->run.finish(FinishReason::kCancelled);
      entry->run.prepare();
    }
  }
}

// In the order of submission: nobody overtakes one that waits for memory.
void Scheduler::Impl::admit() {
  const int most = std::clamp(options.max_running, 1, backend.max_rows());
  while (!waiting.empty() && isize(running) < most) {
    Entry& entry = *waiting.front();
    const Request& request = entry.run.request();
    KvSequence sequence;
    if (!entry.run.kept()) {
      std::optional<KvSequence> found;
      if (cache && request.use_cache) {
        const std::span<const TokenId> tokens = entry.run.tokens();
        found = cache->find(request.cache_key, entry.run.rope_set(), tokens, isize(tokens) - 1);
      }
      sequence = found ? std::move(*found) : kv.add_sequence();
    }
    const int held = kv.length(entry.run.kept() ? entry.run.seq() : sequence.id());
    if (!running.empty() && !has_room_for(entry, held)) return;
    if (entry.run.answer_tokens() == 0) {
      total.prompt_tokens += isize(entry.run.tokens());
      total.cached_prompt_tokens += held;
    }
    entry.run.begin(std::move(sequence));
    entry.waited = 0;
    const auto later = [&](const std::unique_ptr<Entry>& other) { return other->ticket > entry.ticket; };
    running.insert(std::find_if(running.begin(), running.end(), later), std::move(waiting.front()));
    waiting.erase(waiting.begin());
  }
}

// Room for its text and the first tokens of its answer, beside what the others' prompts will take.
bool Scheduler::Impl::has_room_for(const Entry& entry, int cached) {
  const DecodeOptions& asked = entry.run.request().options;
  const int left = asked.max_tokens < 0 ? kFirstAnswer : asked.max_tokens - entry.run.answer_tokens();
  const int tokens = isize(entry.run.tokens()) + std::min(left, kFirstAnswer);
  int pages = (tokens + kPage - 1) / kPage - cached / kPage;
  for (const std::unique_ptr<Entry>& other : running) {
    pages += kv.pages_to_reserve(other->run.seq(), std::max(0, other->run.prompt_rows()));
  }
  const int most = kv.free_pages() + (cache ? cache->pages() : 0);
  if (pages > most) return false;  // nothing is thrown away in vain
  while (pages > kv.free_pages()) {
    if (!free_some_memory()) return false;
  }
  return true;
}

// Hands over what has finished. Callbacks may submit and cancel.
void Scheduler::Impl::settle() {
  for (Entries* entries : {&waiting, &running}) {
    for (std::unique_ptr<Entry>& entry : *entries) {
      if (entry->run.finished()) leaving.push_back(std::move(entry));
    }
    std::erase(*entries, nullptr);
  }
  Entries now = std::exchange(leaving, {});
  for (const std::unique_ptr<Entry>& entry : now) leave(*entry);
}

void Scheduler::Impl::leave(Entry& entry) {
  SequenceRun& run = entry.run;
  const Request& request = run.request();
  total.generated_tokens += run.answer_tokens();
  ++total.finished;
  const bool keeps = cache && request.use_cache && !run.kept() && !run.failed();
  if (keeps) cache->insert(request.cache_key, run.seq(), run.committed());
  Result<Generation> result = run.take_result();
  if (!run.kept()) run.give_up_memory();
  if (result.ok()) total.spec.add(result->spec);
  if (entry.on_done) entry.on_done(std::move(result));
}

Entry* Scheduler::Impl::find(Ticket ticket) {
  for (const Entries* entries : {&arrivals, &waiting, &running}) {
    for (const std::unique_ptr<Entry>& entry : *entries) {
      if (entry != nullptr && entry->ticket == ticket) return entry.get();
    }
  }
  return nullptr;
}

// ---- Memory --------------------------------------------------------------------------------------------------------

bool Scheduler::Impl::free_some_memory() {
  return cache && cache->evict();
}

// Its tokens become its prompt; where each token is drawn depends on its place only, so its text stays the same.
void Scheduler::Impl::preempt(Entry& entry) {
  const Request& request = entry.run.request();
  if (cache && request.use_cache && !entry.run.kept()) {
    cache->insert(request.cache_key, entry.run.seq(), entry.run.committed());
  }
  entry.run.give_up_memory();
  ++total.preemptions;
  const auto at =
      std::find_if(running.begin(), running.end(), [&](const auto& other) { return other.get() == &entry; });
  const auto later = [&](const std::unique_ptr<Entry>& other) { return other->ticket > entry.ticket; };
  waiting.insert(std::find_if(waiting.begin(), waiting.end(), later), std::move(*at));
  running.erase(at);
}

// Each that decodes can have its row: else the youngest give up their memory. One alone that cannot has its own error.
void Scheduler::Impl::secure_rows() {
  while (true) {
    int pages = 0;
    for (const Entry* entry : in_phase(Phase::kDecoding)) pages += kv.pages_to_reserve(entry->run.seq(), 1);
    if (pages <= kv.free_pages()) return;
    if (free_some_memory()) continue;
    Entry& youngest = *running.back();
    if (running.size() > 1) {
      preempt(youngest);
      continue;
    }
    return fail_for_memory(youngest.run);
  }
}

void Scheduler::Impl::fail_for_memory(SequenceRun& run) {
  const Status full = kv.reserve(run.seq(), 1);
  run.fail(full.ok() ? Error{"the KV cache is full"} : full.error());
}

// Cuts what prompts were granted where too many of their rows would have logits. The first prompt always goes on.
void Scheduler::Impl::bound_scores() {
  int left = SequenceRun::kScoredRows;
  for (Entry* entry : in_phase(Phase::kPrefilling)) {
    int& rows = entry->grant.prompt_rows;
    rows -= std::max(0, entry->run.scored_rows(rows) - left);
    left -= entry->run.scored_rows(rows);
  }
}

// Cuts what prompts were granted to what there is memory for. False: nothing at all can be run.
bool Scheduler::Impl::fit_prompts() {
  int taken = 0;
  bool any = false;
  for (Entry* entry : in_phase(Phase::kDecoding)) {
    taken += kv.pages_to_reserve(entry->run.seq(), 1 + isize(entry->grant.nodes) + entry->run.rider_rows());
    any = true;
  }
  for (Entry* entry : in_phase(Phase::kPrefilling)) {
    const SeqId seq = entry->run.seq();
    int& rows = entry->grant.prompt_rows;
    while (rows > 0 && taken + kv.pages_to_reserve(seq, rows) > kv.free_pages()) {
      if (free_some_memory()) continue;
      const int in_last_page = (kv.length(seq) + rows - 1) % kPage + 1;
      rows = std::max(0, rows - in_last_page);
    }
    taken += kv.pages_to_reserve(seq, rows);
    any = any || rows > 0;
  }
  return any;
}

// ---- One step ------------------------------------------------------------------------------------------------------

std::vector<Entry*> Scheduler::Impl::in_phase(Phase phase) const {
  std::vector<Entry*> entries;
  for (const std::unique_ptr<Entry>& entry : running) {
    if (entry->run.phase() == phase) entries.push_back(entry.get());
  }
  return entries;
}

Status Scheduler::Impl::step() {
  step_watch = {};
  take_arrivals();
  prepare_all();
  settle();
  admit();
  Status status = running.empty() ? Ok() : advance();
  settle();
  return status;
}

Status Scheduler::Impl::advance() {
  ++total.steps;
  secure_rows();
  const Stopwatch draft_watch;
  propose();
  run_draft_passes();
  for (Entry* entry : in_phase(Phase::kDecoding)) entry->run.settle_proposal();
  allocate(draft_watch.seconds());
  bound_scores();
  if (!fit_prompts()) {
    make_way();
    return Ok();
  }
  compose();
  return run_pass();
}

// Prompts alone run, and hold each other's memory.
void Scheduler::Impl::make_way() {
  const std::vector<Entry*> stuck = in_phase(Phase::kPrefilling);
  if (stuck.empty() || stuck.size() < running.size()) return;  // some have finished: there is more in the next step
  if (stuck.size() > 1) return preempt(*stuck.back());
  fail_for_memory(stuck.front()->run);
}

// What else is in the pass, as far as can be told before anyone has drafted: what the others' last rounds were like. A
// draft pass is shared by as many as usually do: where each counted on all, few of them paid for it.
RoundLoad Scheduler::Impl::load_of(const Entry& entry) const {
  RoundLoad load = {.costs = costs.get(), .sequences = isize(decoding), .drafters = 0};
  for (const Entry* other : decoding) {
    if (other->run.may_draft()) ++load.drafters;
    if (other == &entry) continue;
    load.rows += other->run.usual_rows();
    load.tokens += other->run.usual_tokens();
  }
  load.drafters = std::max(1, static_cast<int>(std::lround(sharing * load.drafters)));
  return load;
}

// Of `able` sequences so many had a draft pass in common. Where none had, it is forgotten slowly that few wanted one.
void Scheduler::Impl::learn_sharing(int sharers, int able) {
  constexpr double kRate = 0.25, kForgetting = 1.0 / 128;
  if (able < 2) return;
  if (sharers == 0) {
    sharing += kForgetting * (1 - sharing);
  } else {
    sharing += kRate * (static_cast<double>(sharers) / able - sharing);
  }
}

void Scheduler::Impl::propose() {
  decoding = in_phase(Phase::kDecoding);
  if (decoding.empty()) return;
  const bool with_prompts = decoding.size() < running.size();
  const int for_prompts = with_prompts ? std::min(kLeastPromptRows, backend.max_rows() / 2) : 0;
  const int share = (backend.max_rows() - for_prompts) / isize(decoding);
  for (Entry* entry : decoding) {
    const int64_t rows = std::min<int64_t>(kv.available(entry->run.seq(), isize(decoding)), share);
    if (Status proposed = entry->run.propose(load_of(*entry), rows); !proposed.ok()) entry->run.fail(proposed.error());
  }
}

// Draft passes of one kind are one pass. Who wants another one after it shares it with whoever wants the same by then.
void Scheduler::Impl::run_draft_passes() {
  std::vector<Entry*> open;
  for (Entry* entry : decoding) {
    if (!entry->run.finished() && !entry->run.draft_pass().rows.empty()) open.push_back(entry);
  }
  const auto able =
      std::count_if(decoding.begin(), decoding.end(), [](const Entry* entry) { return entry->run.may_draft(); });
  learn_sharing(isize(open), static_cast<int>(able));
  while (!open.empty()) {
    const std::vector<Entry*> group = take_draft_group(open);
    run_draft_group(group);
    for (Entry* entry : group) {
      if (!entry->run.finished() && !entry->run.draft_pass().rows.empty()) open.push_back(entry);
    }
  }
}

// Takes the first of `open` out, and all whose passes run with its own.
std::vector<Entry*> Scheduler::Impl::take_draft_group(std::vector<Entry*>& open) {
  const DraftPass& first = open.front()->run.draft_pass();
  std::vector<Entry*> group, others;
  int rows = 0, pages = 0;
  for (Entry* entry : open) {
    const DraftPass& wanted = entry->run.draft_pass();
    const int with = rows + isize(wanted.rows);
    const bool fits =
        is_same_kind(wanted, first) && with <= max_rows(first) && pages + pages_to_reserve(wanted) <= free_pages(first);
    if (!fits && !group.empty()) {
      others.push_back(entry);
      continue;
    }
    group.push_back(entry);
    rows = with;
    pages += pages_to_reserve(wanted);
  }
  open = std::move(others);
  return group;
}

void Scheduler::Impl::run_draft_group(std::span<Entry* const> group) {
  std::vector<const DraftPass*> passes;
  std::vector<int> wanted;  // rows with outputs
  int rows = 0;
  for (const Entry* entry : group) {
    const DraftPass& pass = entry->run.draft_pass();
    passes.push_back(&pass);
    rows += isize(pass.rows);
    const auto silent = std::count(pass.want.begin(), pass.want.end(), Want::kNothing);
    wanted.push_back(isize(pass.rows) - static_cast<int>(silent));
  }
  if (pages_to_reserve(*passes.front()) > free_pages(*passes.front())) {
    return group.front()->run.take_draft(nullptr, 0, 0, 0);  // it is alone
  }
  const Stopwatch watch;
  const auto out = run_together(passes);
  const double seconds = watch.seconds();
  const int all = std::accumulate(wanted.begin(), wanted.end(), 0);
  int begin = 0;
  for (size_t i = 0; i < group.size(); ++i) {
    if (!out.ok()) {
      group[i]->run.fail(out.error());
      continue;
    }
    const PassOutput mine = slice(*out, begin, wanted[i], all);
    group[i]->run.take_draft(&mine, seconds, rows, isize(group));
    begin += wanted[i];
  }
}

void Scheduler::Impl::allocate(double spent_seconds) {
  std::vector<RowWish> wishes;
  std::vector<Entry*> wishing;
  for (const std::unique_ptr<Entry>& entry : running) {
    if (entry->run.finished()) continue;
    wishing.push_back(entry.get());
    wishes.push_back(entry->run.wish(entry->paths));
    wishes.back().waited = entry->waited;
  }
  std::vector<RowGrant> grants = allocate_rows(wishes, *costs,
                                               {.rows = backend.max_rows(),
                                                .step_seconds = options.step_seconds,
                                                .spent_seconds = decoding.empty() ? 0 : spent_seconds,
                                                .least_prompt_rows = kLeastPromptRows});
  for (size_t i = 0; i < wishing.size(); ++i) {
    wishing[i]->grant = std::move(grants[i]);
    if (wishes[i].prompt_rows > 0) ++wishing[i]->waited;
  }
}

// Answers first, then prompts.
void Scheduler::Impl::compose() {
  pass.clear();
  hidden = false;
  decoding = in_phase(Phase::kDecoding);
  prompts = in_phase(Phase::kPrefilling);
  std::erase_if(prompts, [](const Entry* entry) { return entry->grant.prompt_rows == 0; });
  riders = nullptr;
  for (Entry* entry : decoding) {
    entry->run.keep(entry->grant.nodes);
    const PackedAdapter* mine = entry->run.riders();
    if (riders == nullptr) riders = mine;
    if (mine != riders) entry->run.drop_riders();  // a pass has one adapter
    entry->run.add_rows(pass);
    hidden = hidden || entry->run.needs_hidden();
  }
  total.last_draft_rows = isize(pass.rows) - isize(decoding);
  total.last_prompt_rows = 0;
  for (Entry* entry : prompts) {
    entry->run.add_prompt_rows(entry->grant.prompt_rows, pass);
    total.last_prompt_rows += entry->grant.prompt_rows;
    hidden = hidden || entry->run.needs_hidden();
  }
  total.last_rows = isize(pass.rows);
}

// How many best tokens of each row are enough for all in the pass; 0: someone needs logits.
int Scheduler::Impl::needed_best() const {
  int most = 1;
  for (const std::vector<Entry*>* entries : {&decoding, &prompts}) {
    for (const Entry* entry : *entries) {
      const int best = entry->run.needed_best();
      if (best == 0) return 0;
      most = std::max(most, best);
    }
  }
  return most;
}

Status Scheduler::Impl::run_pass() {
  const Stopwatch watch;
  const int best = backend.keeps_logits() && pass.wanted > 0 ? needed_best() : 0;
  auto out = backend.run({.rows = pass.rows,
                          .layers = LayerSet::all(backend.config().n_layers),
                          .riders = riders,
                          .want = pass.want,
                          .want_hidden = hidden && pass.wanted > 0,
                          .keep_logits = best > 0,
                          .taps = pass.taps,
                          .tapped = pass.tapped},
                         kv);
  if (out.ok() && out->kept > 0) {
    const Status chosen = backend.choose({.rows = out->kept}, {.best = best}, choices);
    if (!chosen.ok()) out = chosen.error();
  }
  if (!out.ok()) {
    for (Entry* entry : decoding) entry->run.fail(out.error());
    for (Entry* entry : prompts) entry->run.fail(out.error());
    return out.error();
  }
  const double seconds = watch.seconds();
  absorb(*out, seconds);
  // Rows of prompts have no logits to compute: in narrow passes, by which drafts are judged, that would show.
  constexpr int kWide = 64;
  const int rows = isize(pass.rows);
  if (!costs->known() || rows > kWide || 2 * pass.wanted > rows) costs->observe(rows, seconds);
  total.last_seconds = step_watch.seconds();
  return Ok();
}

void Scheduler::Impl::absorb(const PassOutput& out, double seconds) {
  int at = 0;
  size_t features_at = 0;
  const size_t feature = pass.tapped.empty() ? 0 : out.tapped.size() / pass.tapped.size();
  const auto share_of = [&](const SequenceRun& run, int wanted, int rows) {
    const PassOutput mine = slice(out, at, wanted, pass.wanted);
    at += wanted;
    PassShare share = {.logits = mine.logits,
                       .hidden = mine.hidden,
                       .tapped = {},
                       .taps = pass.taps,
                       .choices = out.kept > 0 ? &choices : nullptr,
                       .wanted = wanted,
                       .first = at - wanted,
                       .seconds = seconds,
                       .rows = isize(pass.rows)};
    if (run.taps().empty()) return share;
    share.tapped = out.tapped.subspan(features_at, usize(rows) * feature);
    features_at += share.tapped.size();
    return share;
  };
  for (Entry* entry : decoding) {
    SequenceRun& run = entry->run;
    run.absorb(share_of(run, run.round_rows(), 1 + run.draft_nodes()), step_watch);
  }
  size_t row = usize(total.last_rows - total.last_prompt_rows);
  for (Entry* entry : prompts) {
    const int count = entry->grant.prompt_rows;
    int wanted = 0;
    for (int i = 0; i < count; ++i) wanted += pass.want[row++] == Want::kLogits ? 1 : 0;
    entry->run.absorb_prompt(count, share_of(entry->run, wanted, count));
  }
}

// ---- The face ------------------------------------------------------------------------------------------------------

Scheduler::Scheduler(Backend& backend, KvCache& kv, SchedulerOptions options)
    : impl_(std::make_unique<Impl>(backend, kv, std::move(options))) {}

Scheduler::~Scheduler() = default;

Ticket Scheduler::submit(Request request, OnDone on_done) {
  const Ticket ticket = ++impl_->last_ticket;
  impl_->arrivals.push_back(
      std::make_unique<Entry>(ticket, impl_->backend.config(), impl_->kv, std::move(request), std::move(on_done)));
  return ticket;
}

void Scheduler::cancel(Ticket ticket) {
  if (Entry* entry = impl_->find(ticket)) entry->cancelled = true;
}

Status Scheduler::step() {
  return impl_->step();
}

bool Scheduler::idle() const {
  return impl_->arrivals.empty() && impl_->waiting.empty() && impl_->running.empty();
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats stats = impl_->total;
  stats.waiting = isize(impl_->arrivals) + isize(impl_->waiting);
  for (const std::unique_ptr<Entry>& entry : impl_->running) {
    ++(entry->run.phase() == Phase::kPrefilling ? stats.prefilling : stats.decoding);
    stats.generated_tokens += entry->run.answer_tokens();
  }
  stats.kv_used = impl_->kv.used();
  stats.kv_capacity = impl_->kv.capacity();
  stats.cached_tokens = impl_->cache ? impl_->cache->tokens() : 0;
  return stats;
}

}  // namespace s3d
