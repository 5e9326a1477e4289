// The one loop that runs a model: prompts, answers and drafts of all sequences share its passes.
#pragma once

#include <cstdint>
#include <memory>

#include "backend/backend.h"
#include "base/result.h"
#include "decode/request.h"
#include "s3d/types.h"

namespace s3d {

struct PassCosts;

struct SchedulerOptions {
  int max_running = 64;  // sequences at once; at most the rows of a pass
  double step_seconds =
      0.1;                 // prompts wait for later steps rather than make one longer, while anyone decodes; 0: never
  size_t cache_bytes = 0;  // most that the prefix cache holds; 0: there is none
  // What full passes cost: read to choose how many rows a step has, and refined by every step. Null: learned from zero.
  std::shared_ptr<PassCosts> costs;
};

struct SchedulerStats {
  int waiting = 0;            // requests that have no sequence yet, preempted ones included
  int prefilling = 0;         // sequences whose prompt is being run
  int decoding = 0;           // sequences whose answer is being made
  int64_t kv_used = 0;        // positions in pages that are taken, by the prefix cache too
  int64_t kv_capacity = 0;    // positions
  int64_t cached_tokens = 0;  // in the prefix cache
  // Of the last step.
  int last_rows = 0;         // of its full pass; of these:
  int last_prompt_rows = 0;  //
  int last_draft_rows = 0;   //
  double last_seconds = 0;   // draft passes included
  // Since the start.
  int64_t steps = 0;
  int64_t finished = 0;              // requests, errors and cancelled ones included
  int64_t preemptions = 0;           // sequences that lost their memory and were queued again
  int64_t prompt_tokens = 0;         // of requests that were admitted
  int64_t cached_prompt_tokens = 0;  // of them, taken from the prefix cache or a kept sequence
  int64_t generated_tokens = 0;
  SpecStats spec;  // of finished requests
};

// Runs requests on one backend and one cache. Each step is one full pass for all: a row for every sequence that
// decodes, drafted rows as far as they are worth their time, prompts in the rows that are left. The tokens of a request
// do not depend on what runs beside it, on when it came, nor on whether it had to give up its memory in between.
// Thread rule: one thread. The callbacks of requests are called inside step() and may call submit() and cancel().
class Scheduler {
 public:
  // Backend and cache must outlive it. While it has requests, nobody else runs passes on sequences that it uses.
  Scheduler(Backend& backend, KvCache& kv, SchedulerOptions options = {});
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler();  // requests that are not finished go without a call of their on_done

  // Never blocks and never fails: what is wrong with a request reaches `on_done` in the next step. An error is one of:
  // an empty prompt, one longer than the context, tokens or settings out of range, a cache too small for this sequence
  // alone, logits that are no numbers, a constraint that allows no token, a failed pass. It ends this request only.
  Ticket submit(Request request, OnDone on_done);
  // Takes effect at the next step: on_done gets what was decided so far, with FinishReason::kCancelled. Nothing if the
  // ticket is not known (any more).
  void cancel(Ticket ticket);
  // Advances every running sequence. Nothing to do: nothing happens. Error: a full pass failed; the requests that had
  // rows in it have got the error too, and the scheduler can be used on.
  Status step();
  bool idle() const;  // no request waits or runs
  SchedulerStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace s3d
