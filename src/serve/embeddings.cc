// OpenAI's POST /v1/embeddings, llama-server's /embedding, Ollama's /api/embed and the older /api/embeddings.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/index.h"
#include "serve/figures.h"
#include "serve/ollama_common.h"
#include "serve/prompts.h"
#include "serve/request.h"
#include "serve/routes.h"

namespace s3d::serve {
namespace {

constexpr int kMaxTexts = 2048;  // of one request, as OpenAI has it

enum class EmbeddingShape : uint8_t { kOpenAi, kNative, kOllama, kOldOllama };

struct EmbeddingRequest {
  EmbeddingShape shape = EmbeddingShape::kOpenAi;
  std::string model;  // as shown
  std::vector<std::vector<TokenId>> texts;
  std::string field;    // that they came from
  bool base64 = false;  // of 32-bit floats, the lowest byte first
  bool cut = false;     // a text was too long, and its end was left out as the request had it
};

EmbeddingShape shape_of(const Call& call) {
  if (call.request.path == "/api/embeddings") return EmbeddingShape::kOldOllama;
  if (call.dialect == Dialect::kOllama) return EmbeddingShape::kOllama;
  return call.dialect == Dialect::kNative ? EmbeddingShape::kNative : EmbeddingShape::kOpenAi;
}

std::string base64_of(std::span<const float> values) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  for (const float value : values) {
    for (unsigned shift = 0; shift < 32; shift += 8) {
      bytes += static_cast<char>(std::bit_cast<uint32_t>(value) >> shift & 0xFFU);
    }
  }
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8U | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    const size_t letters = std::min<size_t>(bytes.size() - at, 3) + 1;
    for (size_t i = 0; i < 4; ++i) text += i < letters ? kLetters[group >> (18 - 6 * i) & 63U] : '=';
  }
  return text;
}

void read_encoding(Fields& fields, const ModelService& model, EmbeddingRequest& request) {
  const std::string encoding = fields.text("encoding_format").value_or("float");
  request.base64 = encoding == "base64";
  if (encoding != "float" && encoding != "base64") {
    fields.fail("encoding_format", fmt::format("expected float or base64, got {}", to_text(encoding)));
  }
  const int width = model.card().width;
  const auto wanted = fields.integer("dimensions", 1, std::numeric_limits<int>::max());
  if (wanted.value_or(width) != width) {
    fields.fail("dimensions", fmt::format("this model's vectors have {} numbers, and its file does not say that they "
                                          "may be cut; leave it out",
                                          width));
  }
}

// Ollama's "truncate": only where a request says so itself is a text cut. An end token, which the model reads the text
// from, stays.
void cut_texts(const ModelService& model, EmbeddingRequest& request) {
  const size_t most = usize(model.card().context);
  for (std::vector<TokenId>& text : request.texts) {
    if (text.size() <= most) continue;
    const TokenId last = text.back();
    const bool has_end = model.piece(last, /*special=*/false).empty();
    text.resize(most);
    if (has_end) text.back() = last;
    request.cut = true;
  }
}

EmbeddingRequest read_embedding(Fields& fields, const ModelService& model, EmbeddingShape shape) {
  EmbeddingRequest request;
  request.shape = shape;
  request.field = shape == EmbeddingShape::kOldOllama                         ? "prompt"
                  : shape == EmbeddingShape::kNative && fields.has("content") ? "content"
                                                                              : "input";
  read_encoding(fields, model, request);
  const Json* input = fields.find(request.field);
  const bool nothing = shape == EmbeddingShape::kOllama && input != nullptr && input->is_array() && input->empty();
  if (!nothing) request.texts = read_prompts(fields, request.field, model, kMaxTexts);
  if (fields.boolean("truncate").value_or(false)) cut_texts(model, request);
  return request;
}

class EmbeddingFormat final : public AnswerFormat {
 public:
  EmbeddingFormat(EmbeddingRequest request, double load_seconds)
      : request_(std::move(request)), load_seconds_(load_seconds) {}

  // Vectors are never streamed.
  std::string_view stream_type() const override { return ""; }
  void piece(const AnswerState& /*answer*/, const AnswerDelta& /*delta*/, std::span<const AnswerToken> /*tokens*/,
             std::string& /*out*/) override {}
  void end(const AnswerState& /*answer*/, std::string& /*out*/) override {}
  void close(const std::vector<AnswerState>& /*answers*/, std::string& /*out*/) override {}
  void failure(const ApiError& /*error*/, std::string& /*out*/) override {}
  Json whole(const std::vector<AnswerState>& answers) override;

 private:
  Json vector(const AnswerState& answer) const {
    if (request_.base64) return base64_of(answer.end.embedding);
    return answer.end.embedding;
  }
  Json openai(const std::vector<AnswerState>& answers) const;
  Json ollama(const std::vector<AnswerState>& answers) const;

  EmbeddingRequest request_;
  double load_seconds_;
  Stopwatch watch_;
};

Json EmbeddingFormat::openai(const std::vector<AnswerState>& answers) const {
  Json data = Json::array();
  for (const AnswerState& answer : answers) {
    data.push_back({{"object", "embedding"}, {"index", answer.index}, {"embedding", vector(answer)}});
  }
  const int tokens = sum_of(answers, 1).timings.prompt_tokens;
  return {{"object", "list"},
          {"data", std::move(data)},
          {"model", request_.model},
          {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
}

Json EmbeddingFormat::ollama(const std::vector<AnswerState>& answers) const {
  const auto nanoseconds = [](double seconds) { return static_cast<int64_t>(seconds * 1e9); };
  Json vectors = Json::array();
  for (const AnswerState& answer : answers) vectors.push_back(answer.end.embedding);
  return {{"model", request_.model},
          {"embeddings", std::move(vectors)},
          {"total_duration", nanoseconds(watch_.seconds() + load_seconds_)},
          {"load_duration", nanoseconds(load_seconds_)},
          {"prompt_eval_count", sum_of(answers, 1).timings.prompt_tokens}};
}

Json EmbeddingFormat::whole(const std::vector<AnswerState>& answers) {
  switch (request_.shape) {
    case EmbeddingShape::kOpenAi:
      return openai(answers);
    case EmbeddingShape::kOllama:
      return ollama(answers);
    case EmbeddingShape::kOldOllama:
      return {{"embedding", answers[0].end.embedding}};
    case EmbeddingShape::kNative:
      break;
  }
  Json list = Json::array();
  for (const AnswerState& answer : answers) {
    list.push_back({{"index", answer.index}, {"embedding", Json::array({vector(answer)})}});
  }
  return list;
}

// Nothing: an error was sent.
std::optional<std::vector<Job>> embedding_jobs(const Call& call, const ModelService& model,
                                               const EmbeddingRequest& request) {
  std::vector<Job> jobs;
  for (const std::vector<TokenId>& text : request.texts) {
    if (text.empty()) {
      call.send_error(
          bad_request(request.field, fmt::format("{}: a text without a token has no vector", request.field)));
      return {};
    }
    if (isize(text) > model.card().context) {
      call.send_error(prompt_too_long(request.field, isize(text), model.card().context));
      return {};
    }
    Job job;
    job.prompt = text;
    job.max_tokens = 0;
    job.embed = true;
    job.use_cache = false;
    job.drafter = "off";
    add_sender(call, job);
    jobs.push_back(std::move(job));
  }
  return jobs;
}

void answer_embeddings(const CallPtr& call, const Json& body, const RequestHead& head,
                       const std::shared_ptr<ModelService>& model) {
  if (model->card().pooling == Pooling::kNone) {
    return call->send_error(not_supported("embeddings are not supported: " + model->card().no_pooling));
  }
  Fields fields(body);
  EmbeddingRequest request = read_embedding(fields, *model, shape_of(*call));
  request.model = shown_model(head.model, *model);
  if (fields.error()) return call->send_error(*fields.error());
  auto jobs = embedding_jobs(*call, *model, request);
  if (!jobs) return;
  AnswerPlan plan;
  plan.model = model;
  plan.jobs = std::move(*jobs);
  if (request.cut) plan.headers.add("X-S3D-Warning", "texts were cut to the context of this server");
  plan.format = std::make_unique<EmbeddingFormat>(std::move(request), call->watch.seconds());
  if (plan.jobs.empty()) return call->send_json(plan.format->whole({}));
  run_answers(call, std::move(plan));
}

}  // namespace

void handle_embeddings(const CallPtr& call) {
  answer_with_model(call, answer_embeddings);
}

}  // namespace s3d::serve
