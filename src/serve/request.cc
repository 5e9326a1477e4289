#include "serve/request.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/index.h"
#include "serve/ollama_common.h"

namespace s3d::serve {

void answer_with_model(const CallPtr& call, AnswerRequest answer) {
  auto body = read_body(*call);
  if (!body) return;
  Fields fields(*body);
  RequestHead head;
  if (call->dialect == Dialect::kOllama) {
    head = read_ollama_head(fields);
  } else {
    head.model = fields.text("model").value_or("");
  }
  if (fields.error()) return call->send_error(*fields.error());
  with_model(call, head.model, head.keep_alive,
             [call, body = std::move(*body), head, answer](const auto& model) { answer(call, body, head, model); });
}

Delivery read_delivery(Fields& fields, int max_answers) {
  Delivery delivery;
  delivery.stream = fields.boolean("stream").value_or(false);
  delivery.answers = static_cast<int>(fields.integer("n", 1, max_answers).value_or(1));
  if (const Json* options = fields.object("stream_options")) {
    Fields own(*options, "stream_options.");
    delivery.usage_chunk = own.boolean("include_usage").value_or(false);
    delivery.usage_everywhere = own.boolean("continuous_usage_stats").value_or(false);
    if (own.error()) fields.fail(*own.error());
  }
  return delivery;
}

std::optional<int> read_max_tokens(Fields& fields, std::string_view name, int least) {
  const auto most = fields.integer(name, least, std::numeric_limits<int>::max());
  return most ? std::optional(static_cast<int>(*most)) : std::nullopt;
}

void add_sender(const Call& call, Job& job) {
  const std::string key = call.key();
  const std::string& peer = call.request.peer;
  job.client = key.empty() ? peer.substr(0, peer.rfind(':')) : key;
  if (call.services.options.isolate_keys) job.cache_key = key;
}

std::optional<std::vector<Job>> make_jobs(const Call& call, const ModelService& model, const Settings& settings,
                                          const std::string& param, const std::vector<std::vector<TokenId>>& prompts,
                                          int n) {
  if (const Status good = settings.sampler.check(model.card().vocab_size); !good.ok()) {
    call.send_error(bad_request("", good.error().message));
    return {};
  }
  std::vector<Job> jobs;
  for (const std::vector<TokenId>& prompt : prompts) {
    if (prompt.empty()) {
      call.send_error(bad_request(param, "the prompt is empty: an answer needs at least one token before it"));
      return {};
    }
    if (isize(prompt) >= model.card().context) {
      call.send_error(prompt_too_long(param, isize(prompt), model.card().context));
      return {};
    }
    for (int i = 0; i < n; ++i) {
      Job job = make_job(settings, prompt, usize(i));
      add_sender(call, job);
      if (settings.form) {
        auto constraint = model.constrain(settings.form->form);
        if (!constraint.ok()) {
          call.send_error(bad_request(settings.form->field, constraint.error().message));
          return {};
        }
        job.constraint = std::move(*constraint);
      }
      jobs.push_back(std::move(job));
    }
  }
  return jobs;
}

Json identity_json(const AnswerIdentity& identity, std::string_view object) {
  return {{"id", identity.id},
          {"object", object},
          {"created", identity.created},
          {"model", identity.model},
          {"system_fingerprint", identity.fingerprint}};
}

}  // namespace s3d::serve
