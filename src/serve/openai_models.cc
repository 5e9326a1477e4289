// GET /v1/models, /v1/models/{id}.
#include <utility>

#include "serve/request.h"
#include "serve/routes.h"

namespace s3d::serve {
namespace {

// OpenAI's members, then those of llama-server and vLLM.
Json model_json(const ModelEntry& entry) {
  const ModelCard& card = entry.card;
  return {{"id", card.id},
          {"aliases", card.aliases},
          {"tags", Json::array()},
          {"object", "model"},
          {"architecture", {{"input_modalities", {"text"}}, {"output_modalities", {"text"}}}},
          {"created", card.modified},
          {"owned_by", "s3d"},
          {"max_model_len", card.context},
          {"loaded", entry.loaded},
          {"meta",
           {{"n_ctx", card.context},
            {"n_ctx_train", card.trained_context},
            {"n_vocab", card.vocab_size},
            {"n_embd", card.width},
            {"n_params", card.parameters},
            {"size", card.file_bytes},
            {"ftype", card.quantization}}}};
}

}  // namespace

void handle_models(const CallPtr& call) {
  Json list = Json::array();
  for (const ModelEntry& entry : call->services.models.list()) list.push_back(model_json(entry));
  call->send_json({{"object", "list"}, {"data", std::move(list)}});
}

void handle_model(const CallPtr& call) {
  const std::optional<ModelEntry> entry = call->services.models.find(call->parameter);
  if (!entry || call->parameter.empty()) return call->send_error(model_not_found(call->parameter));
  call->send_json(model_json(*entry));
}

}  // namespace s3d::serve
