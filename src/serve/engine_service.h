// A model of the engine as the routes see it: one thread runs the scheduler, all others hand it their jobs.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "decode/scheduler.h"
#include "engine/prompt.h"
#include "engine/runtime.h"
#include "serve/model_card.h"
#include "serve/model_service.h"

namespace s3d::serve {

struct EngineServiceOptions {
  std::string id;                    // the name that it is served under
  std::vector<std::string> aliases;  //
  int max_waiting = 64;              // jobs in the queue; beyond, submit() or a greedier client's job says kOverloaded
  SchedulerOptions scheduler;        // `costs` is the runtime's
  SpeculationOptions speculation;    //
  PromptOptions prompt;              //
  AnswerDefaults defaults;           // where a request does not say
};

class EngineService final : public ModelService {
 public:
  // Takes the runtime over, makes the chat template and starts the thread. A model without a template that can be run
  // is served without chat. Errors: a drafter that the model does not have.
  static Result<std::shared_ptr<EngineService>> create(std::unique_ptr<Runtime> runtime, EngineServiceOptions options);
  EngineService(const EngineService&) = delete;
  EngineService& operator=(const EngineService&) = delete;
  ~EngineService() override;  // close(0), not on the service's own thread

  const ModelCard& card() const override;
  std::vector<TokenId> tokenize(std::string_view text, bool add_special, bool parse_special) const override;
  std::string piece(TokenId id, bool special) const override;
  TokenId find(std::string_view token) const override;
  Result<ChatPrompt> render(const ChatInput& chat) const override;
  std::vector<TokenId> tokenize_chat(const ChatPrompt& prompt) const override;
  Result<std::shared_ptr<Constraint>> constrain(const ConstraintSpec& spec) const override;
  Submitted submit(std::vector<Job> jobs) override;
  void cancel(JobId id) override;
  LoadStats load() const override;
  std::vector<JobState> jobs() const override;

  // No more jobs are taken (kShuttingDown). Those that are there may go on for so long, then they are cancelled.
  // Returns when all have ended and the thread has; a second call does nothing. Not on the service's own thread.
  void close(std::chrono::milliseconds drain);

 private:
  struct Impl;
  explicit EngineService(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace s3d::serve
