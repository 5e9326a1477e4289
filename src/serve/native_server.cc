// llama-server's routes about the server: /health, /props, /slots, /metrics.
#include <utility>

#include "serve/routes.h"
#include "serve/settings.h"
#include "serve/tool_format.h"

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

// `job`: null for a place that is free.
Json slot_json(const ModelCard& card, int id, const JobState* job) {
  const int decoded = job == nullptr ? 0 : job->answer_tokens;
  return {
      {"id", id},
      {"n_ctx", card.context},
      {"speculative", card.drafter != "off"},
      {"is_processing", job != nullptr},
      {"id_task", job == nullptr ? Json(-1) : Json(job->id)},
      {"model", card.id},
      {"n_prompt_tokens", job == nullptr ? 0 : job->prompt_tokens},
      {"n_decoded", decoded},
      {"next_token",
       Json::array(
           {{{"has_next_token", job != nullptr}, {"has_new_line", false}, {"n_remain", -1}, {"n_decoded", decoded}}})}};
}

// What the model's chat template can show, by llama-server's names.
Json template_powers(std::string_view chat_template) {
  const bool tools = template_shows_tools(chat_template);
  const auto mentions = [&](std::string_view word) { return chat_template.find(word) != std::string_view::npos; };
  return {{"supports_tools", tools},
          {"supports_tool_calls", tools && mentions("tool_calls")},
          {"supports_parallel_tool_calls", tools && mentions("tool_calls")},
          {"supports_object_arguments", tools && mentions("arguments")},
          {"supports_system_role", mentions("system")},
          {"supports_string_content", !chat_template.empty()},
          {"supports_typed_content", false},
          {"supports_reasoning_effort", mentions("reasoning_effort")},
          {"supports_preserve_reasoning", mentions("reasoning_content")}};
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
    const ModelCard& card = model->card();
    int id = 0;
    for (const JobState& job : model->jobs()) {
      if (job.running) slots.push_back(slot_json(card, id++, &job));
    }
    while (id < card.parallel) slots.push_back(slot_json(card, id++, nullptr));
  }
  call->send_json(slots);
}

void handle_props(const CallPtr& call) {
  const std::optional<ModelEntry> entry = call->services.models.find("");
  if (!entry) return call->send_error({.status = 503, .message = "no model is there yet", .code = "model_not_loaded"});
  const ModelCard& card = entry->card;
  const AppOptions& options = call->services.options;
  Settings defaults;
  defaults.sampler = card.sampler;
  call->send_json({{"default_generation_settings",
                    {{"id", 0},
                     {"n_ctx", card.context},
                     {"speculative", card.drafter != "off"},
                     {"is_processing", false},
                     {"params", settings_json(defaults, /*stream=*/false)}}},
                   {"total_slots", card.parallel},
                   {"model_alias", card.id},
                   {"model_path", card.path},
                   {"model_ftype", card.quantization},
                   {"modalities", {{"vision", false}, {"video", false}, {"audio", false}}},
                   {"endpoint_slots", options.slots},
                   {"endpoint_props", false},  // that settings can be changed by it
                   {"endpoint_metrics", options.metrics},
                   {"ui", options.page != nullptr},
                   {"ui_settings", Json::object()},
                   {"cors_proxy_enabled", false},
                   {"chat_template_caps", template_powers(card.chat_template)},
                   {"chat_template", card.chat_template},
                   {"bos_token", card.bos},
                   {"eos_token", card.eos},
                   {"build_info", "s3d " + call->services.options.version},
                   {"is_sleeping", !entry->loaded},
                   {"s3d", {{"adapter", card.adapter}, {"drafter", card.drafter}, {"fingerprint", card.fingerprint}}}});
}

}  // namespace s3d::serve
