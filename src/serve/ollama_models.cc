// Ollama's routes about models: /api/tags, /api/show, /api/ps, /api/version, /api/pull, and those that are not there.
#include <fmt/format.h>

#include <utility>

#include "serve/ollama_common.h"
#include "serve/routes.h"
#include "serve/tool_format.h"

namespace s3d::serve {
namespace {

// Clients compare it with the least version that they need; this one speaks what Ollama of that version speaks.
constexpr std::string_view kOllamaVersion = "0.20.0";
constexpr int64_t kHundredYears = int64_t{100} * 365 * 24 * 3600;  // "never" for clients that want a date

Json capabilities(const ModelCard& card) {
  Json list = {"completion"};
  if (card.chat_template.find("tools") != std::string::npos) list.push_back("tools");
  if (!thought_marks_of(card.chat_template).begin.empty()) list.push_back("thinking");
  if (card.pooling != Pooling::kNone) list.push_back("embedding");
  return list;
}

// Lines as a Modelfile has them: a name, and its value.
std::string parameter_lines(const ModelCard& card) {
  const SamplerOptions& s = card.sampler;
  return fmt::format(
      "num_ctx                        {}\ntemperature                    {}\ntop_k                          {}\n"
      "top_p                          {}\nmin_p                          {}\nrepeat_penalty                 {}",
      card.context, s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty);
}

Json model_info(const ModelCard& card) {
  return {{"general.architecture", card.family},
          {"general.basename", card.title},
          {"general.parameter_count", card.parameters},
          {card.family + ".block_count", card.layers},
          {card.family + ".context_length", card.trained_context},
          {card.family + ".embedding_length", card.width},
          {"tokenizer.ggml.eos_token", card.eos}};
}

Json pull_line(const PullProgress& progress) {
  Json json = {{"status", progress.status}};
  if (!progress.digest.empty()) json["digest"] = progress.digest;
  if (progress.total > 0) {
    json["total"] = progress.total;
    json["completed"] = progress.completed;
  }
  return json;
}

void stream_pull(const CallPtr& call, const std::string& name) {
  http::Responder& client = *call->responder;
  client.begin(200, {{"Content-Type", "application/x-ndjson"}});
  client.write(to_text({{"status", "pulling manifest"}}) + "\n");
  const Status done = call->services.options.pull(
      name, [&client](const PullProgress& progress) { return client.write(to_text(pull_line(progress)) + "\n"); });
  client.write(to_text(done.ok() ? Json{{"status", "success"}} : Json{{"error", done.error().message}}) + "\n");
  client.end();
}

void whole_pull(const CallPtr& call, const std::string& name) {
  const Status done = call->services.options.pull(
      name, [&call](const PullProgress& /*progress*/) { return !call->responder->closed(); });
  if (!done.ok()) return call->send_error({.status = 500, .message = done.error().message});
  call->send_json({{"status", "success"}});
}

}  // namespace

void handle_ollama_tags(const CallPtr& call) {
  Json models = Json::array();
  for (const ModelEntry& entry : call->services.models.list()) {
    models.push_back({{"name", tagged(entry.card.id)},
                      {"model", tagged(entry.card.id)},
                      {"modified_at", rfc3339(entry.card.modified)},
                      {"size", entry.card.file_bytes},
                      {"digest", entry.card.digest},
                      {"details", ollama_details(entry.card)}});
  }
  call->send_json({{"models", std::move(models)}});
}

void handle_ollama_ps(const CallPtr& call) {
  Json models = Json::array();
  for (const ModelEntry& entry : call->services.models.list()) {
    if (!entry.loaded) continue;
    const int64_t expires = entry.expires > 0 ? entry.expires : now_seconds() + kHundredYears;
    models.push_back({{"name", tagged(entry.card.id)},
                      {"model", tagged(entry.card.id)},
                      {"size", entry.card.loaded_bytes},
                      {"digest", entry.card.digest},
                      {"details", ollama_details(entry.card)},
                      {"expires_at", rfc3339(expires)},
                      {"size_vram", 0},
                      {"context_length", entry.card.context}});
  }
  call->send_json({{"models", std::move(models)}});
}

void handle_ollama_show(const CallPtr& call) {
  const auto body = read_body(*call);
  if (!body) return;
  Fields fields(*body);
  const RequestHead head = read_ollama_head(fields);
  if (fields.error()) return call->send_error(*fields.error());
  const std::optional<ModelEntry> entry = call->services.models.find(head.model);
  if (!entry) return call->send_error(model_not_found(head.model));
  const ModelCard& card = entry->card;
  call->send_json({{"modelfile", fmt::format("FROM {}", card.path)},
                   {"parameters", parameter_lines(card)},
                   {"template", card.chat_template},
                   {"details", ollama_details(card)},
                   {"model_info", model_info(card)},
                   {"capabilities", capabilities(card)},
                   {"modified_at", rfc3339(card.modified)}});
}

void handle_ollama_version(const CallPtr& call) {
  call->send_json({{"version", kOllamaVersion}, {"s3d", call->services.options.version}});
}

void handle_ollama_pull(const CallPtr& call) {
  const auto body = read_body(*call);
  if (!body) return;
  Fields fields(*body);
  const RequestHead head = read_ollama_head(fields);
  const bool stream = fields.boolean("stream").value_or(true);
  if (fields.error()) return call->send_error(*fields.error());
  if (!call->services.options.pull) {
    return call->send_error(not_supported("this server downloads no models; use `s3d pull` on its machine"));
  }
  const bool taken = call->services.downloads.post(
      [call, name = head.model, stream] { return stream ? stream_pull(call, name) : whole_pull(call, name); });
  if (!taken) call->send_error({.status = 503, .message = "too many downloads wait already", .code = "overloaded"});
}

void handle_ollama_unavailable(const CallPtr& call) {
  call->send_error(
      not_supported("models of this server are files in its cache folder: it cannot make, copy, delete or "
                    "publish them over HTTP; use `s3d pull` on its machine"));
}

// Browsers get the page; programs ask here whether an Ollama is there.
void handle_ollama_root(const CallPtr& call) {
  const auto& headers = call->request.headers;
  const bool browser = headers.value_or("Accept", "").find("text/html") != std::string::npos;
  if (browser && call->services.options.page != nullptr) {
    if (auto reply = call->services.options.page->answer("/", headers.value_or("If-None-Match", ""))) {
      return call->responder->send(reply->status, std::move(reply->headers), std::move(reply->body));
    }
  }
  call->send_text("Ollama is running");
}

}  // namespace s3d::serve
