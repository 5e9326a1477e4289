// llama-server's routes about the server: /health, /props, /slots, /metrics.
#include <utility>

#include "serve/routes.h"
#include "serve/settings.h"

namespace s3d::serve {
namespace {

// The models that are loaded, each with its service; waits for nothing.
std::vector<std::shared_ptr<ModelService>> loaded_models(const Services& services) {
  std::vector<std::shared_ptr<ModelService>> loaded;
  for (const ModelEntry& entry : services.models.list()) {
    if (!entry.loaded) continue;
    if (auto model = services.models.loaded(entry.card.id)) loaded.push_back(std::move(model));
  }
  return loaded;
}

}  // namespace

void handle_health(const CallPtr& call) {
  if (call->services.models.ready()) return call->send_json({{"status", "ok"}});
  // The exact words are those that llama-server's clients look for.
  call->send_json({{"error", {{"code", 503}, {"message", "Loading model"}, {"type", "unavailable_error"}}}}, 503);
}

void handle_metrics(const CallPtr& call) {
  if (!call->services.options.metrics) {
    return call->send_error(not_supported("This server does not support metrics endpoint. Start it with --metrics"));
  }
  std::vector<Statistics::ModelLoad> loads;
  for (const auto& model : loaded_models(call->services)) {
    loads.push_back({model->card().id, model->card().context, model->load()});
  }
  call->send_text(call->services.statistics.page(loads), "text/plain; version=0.0.4; charset=utf-8");
}

void handle_slots(const CallPtr& call) {
  if (!call->services.options.slots) {
    return call->send_error(not_supported("This server does not support slots endpoint. Start it with --slots"));
  }
  Json slots = Json::array();
  for (const auto& model : loaded_models(call->services)) {
    const std::vector<JobState> jobs = model->jobs();
    size_t id = 0;
    for (const JobState& job : jobs) {
      if (!job.running) continue;
      slots.push_back({{"id", id++},
                       {"id_task", job.id},
                       {"n_ctx", model->card().context},
                       {"speculative", model->card().drafter != "off"},
                       {"is_processing", true},
                       {"model", model->card().id},
                       {"n_prompt_tokens", job.prompt_tokens},
                       {"n_decoded", job.answer_tokens}});
    }
    for (; id < static_cast<size_t>(model->card().parallel); ++id) {
      slots.push_back({{"id", id},
                       {"id_task", -1},
                       {"n_ctx", model->card().context},
                       {"speculative", model->card().drafter != "off"},
                       {"is_processing", false},
                       {"model", model->card().id}});
    }
  }
  call->send_json(slots);
}

void handle_props(const CallPtr& call) {
  const std::optional<ModelEntry> entry = call->services.models.find("");
  if (!entry) return call->send_error({.status = 503, .message = "no model is there yet", .code = "model_not_loaded"});
  const ModelCard& card = entry->card;
  Settings defaults;
  defaults.sampler = card.sampler;
  call->send_json({{"default_generation_settings",
                    {{"id", 0},
                     {"n_ctx", card.context},
                     {"speculative", card.drafter != "off"},
                     {"is_processing", false},
                     {"params", settings_json(defaults)}}},
                   {"total_slots", card.parallel},
                   {"model_alias", card.id},
                   {"model_path", card.path},
                   {"modalities", {{"vision", false}, {"audio", false}}},
                   {"chat_template", card.chat_template},
                   {"bos_token", card.bos},
                   {"eos_token", card.eos},
                   {"build_info", "s3d " + call->services.options.version},
                   {"is_sleeping", !entry->loaded},
                   {"s3d", {{"adapter", card.adapter}, {"drafter", card.drafter}, {"fingerprint", card.fingerprint}}}});
}

}  // namespace s3d::serve
