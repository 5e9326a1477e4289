#include "serve/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <random>
#include <string_view>
#include <utility>

#include "base/index.h"

namespace s3d::serve {
namespace {

constexpr int kMaxStops = 64;  // OpenAI allows 4; each costs a little for every character
constexpr double kMaxTemperature = 100, kMaxPenalty = 100, kMaxBias = 1e6;
constexpr int64_t kMaxInt = std::numeric_limits<int>::max();

// Samplers of llama-server and Ollama that are not there, and the value that switches each off.
struct MissingSampler {
  std::string_view name;
  double off;
};
constexpr std::array kMissingSamplers = std::to_array<MissingSampler>({{"typical_p", 1},
                                                                       {"tfs_z", 1},
                                                                       {"top_n_sigma", -1},
                                                                       {"mirostat", 0},
                                                                       {"xtc_probability", 0},
                                                                       {"dry_multiplier", 0},
                                                                       {"dynatemp_range", 0}});

void refuse_missing_samplers(Fields& fields) {
  for (const MissingSampler& sampler : kMissingSamplers) {
    const std::optional<double> value = fields.number(sampler.name, -kMaxBias, kMaxBias);
    if (value && *value != sampler.off) {
      fields.fail(sampler.name, fmt::format("this server does not have that sampler; leave it out or send {}, its off "
                                            "value",
                                            sampler.off));
    }
  }
}

void read_numbers(Fields& fields, SamplerOptions& s) {
  const auto number = [&](std::string_view name, float& value, double least, double most) {
    if (const auto given = fields.number(name, least, most)) value = static_cast<float>(*given);
  };
  number("temperature", s.temperature, 0, kMaxTemperature);
  number("top_p", s.top_p, 0, 1);
  number("min_p", s.min_p, 0, 1);
  number("repetition_penalty", s.repetition_penalty, 0.01, kMaxPenalty);  // vLLM's name
  number("repeat_penalty", s.repetition_penalty, 0.01, kMaxPenalty);      // llama-server's and Ollama's
  number("presence_penalty", s.presence_penalty, -kMaxPenalty, kMaxPenalty);
  number("frequency_penalty", s.frequency_penalty, -kMaxPenalty, kMaxPenalty);
  if (s.top_p == 0) s.top_p = std::numeric_limits<float>::min();  // the most probable token alone
  if (const auto k = fields.integer("top_k", -1, kMaxInt)) s.top_k = static_cast<int>(std::max<int64_t>(*k, 0));
  if (const auto n = fields.integer("repeat_last_n", -1, kMaxInt)) s.penalty_last_n = static_cast<int>(*n);
}

uint64_t read_seed(Fields& fields, const ModelCard& card) {
  const auto seed = fields.integer("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
  constexpr int64_t kAnySeed = -1;  // as llama-server and Ollama have it
  if (seed && *seed != kAnySeed) return static_cast<uint64_t>(*seed);
  if (!seed && card.seed) return *card.seed;
  std::random_device device;
  return uint64_t{device()};
}

// The tokens that a key of logit_bias means: an id, written as a number or as text, or else the tokens of a text.
std::vector<TokenId> biased_tokens(const Json& key, const ModelService& model) {
  if (key.is_number()) {
    const double id = key.get<double>();
    const bool fits = id >= 0 && id <= std::numeric_limits<TokenId>::max() && std::floor(id) == id;
    return fits ? std::vector{static_cast<TokenId>(id)} : std::vector<TokenId>();
  }
  if (!key.is_string()) return {};
  const auto& text = key.get_ref<const std::string&>();
  TokenId id = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (status == std::errc{} && end == text.data() + text.size()) return {id};
  return model.tokenize(text, /*add_special=*/false, /*parse_special=*/true);
}

// One key and its value: a number, or false, which forbids the token.
void add_bias(Fields& fields, const Json& key, const Json& value, const ModelService& model, SamplerOptions& sampler) {
  const bool forbids = value.is_boolean() && !value.get<bool>();
  if (!forbids && !(value.is_number() && std::abs(value.get<double>()) <= kMaxBias)) {
    return fields.fail("logit_bias",
                       fmt::format("expected a number from -100 to 100 for {}, got {}", to_text(key), to_text(value)));
  }
  const float bias = forbids ? -std::numeric_limits<float>::infinity() : value.get<float>();
  const std::vector<TokenId> tokens = biased_tokens(key, model);
  const bool known = !tokens.empty() && std::all_of(tokens.begin(), tokens.end(), [&](TokenId id) {
    return id >= 0 && id < model.card().vocab_size;
  });
  if (!known) return fields.fail("logit_bias", fmt::format("{} is no token of this model", to_text(key)));
  for (const TokenId id : tokens) sampler.logit_bias.emplace_back(id, bias);
}

void read_logit_bias(Fields& fields, const ModelService& model, SamplerOptions& sampler) {
  const Json* bias = fields.find("logit_bias");
  if (bias == nullptr) return;
  if (bias->is_object()) {
    for (const auto& [key, value] : bias->items()) add_bias(fields, key, value, model, sampler);
  } else if (bias->is_array()) {  // llama-server's form: pairs
    for (const Json& pair : *bias) {
      if (!pair.is_array() || pair.size() != 2) {
        return fields.fail("logit_bias", fmt::format("expected pairs of a token and a number, got {}", to_text(pair)));
      }
      add_bias(fields, pair[0], pair[1], model, sampler);
    }
  } else {
    fields.fail("logit_bias", fmt::format("expected an object or a list of pairs, got {}", type_name(*bias)));
  }
}

// Members of llama-server's for what is not here, each switched off.
Json absent_settings() {
  return {{"dynatemp_range", 0.0},
          {"dynatemp_exponent", 1.0},
          {"top_n_sigma", -1.0},
          {"xtc_probability", 0.0},
          {"xtc_threshold", 0.1},
          {"typical_p", 1.0},
          {"dry_multiplier", 0.0},
          {"dry_base", 1.75},
          {"dry_allowed_length", 2},
          {"dry_penalty_last_n", 0},
          {"dry_sequence_breakers", Json::array({"\n"})},
          {"mirostat", 0},
          {"mirostat_tau", 5.0},
          {"mirostat_eta", 0.1},
          {"adaptive_target", -1.0},
          {"adaptive_decay", 0.9},
          {"n_keep", 0},
          {"n_discard", 0},
          {"min_keep", 0},
          {"grammar_lazy", false},
          {"grammar_triggers", Json::array()},
          {"preserved_tokens", Json::array()},
          {"chat_format", "Content-only"},
          {"reasoning_format", "none"},
          {"reasoning_in_content", false},
          {"generation_prompt", ""},
          {"timings_per_token", false},
          {"post_sampling_probs", false},
          {"backend_sampling", false},
          {"lora", Json::array()}};
}

}  // namespace

Settings read_settings(Fields& fields, const ModelService& model) {
  Settings settings;
  settings.sampler = model.card().sampler;
  settings.max_tokens = model.card().max_tokens;
  read_numbers(fields, settings.sampler);
  settings.sampler.seed = read_seed(fields, model.card());
  read_logit_bias(fields, model, settings.sampler);
  refuse_missing_samplers(fields);
  settings.stops = fields.texts("stop").value_or(std::vector<std::string>());
  if (isize(settings.stops) > kMaxStops) {
    fields.fail("stop", fmt::format("at most {} texts, got {}", kMaxStops, settings.stops.size()));
  }
  settings.ignore_end = fields.boolean("ignore_eos").value_or(false);
  settings.use_cache = fields.boolean("cache_prompt").value_or(true);
  return settings;
}

void read_s3d_member(Fields& fields, Settings& settings) {
  const Json* member = fields.object("s3d");
  if (member == nullptr) return;
  Fields own(*member, "s3d.");
  settings.token_details = own.boolean("tokens").value_or(false);
  settings.drafter = own.text("drafter");
  if (own.error()) fields.fail(*own.error());
}

Job make_job(const Settings& settings, std::vector<TokenId> prompt, uint64_t stream) {
  Job job;
  job.prompt = std::move(prompt);
  job.sampler = settings.sampler;
  job.max_tokens = settings.max_tokens;
  job.stops = settings.stops;
  job.ignore_end = settings.ignore_end;
  job.stream = stream;
  job.top_logprobs = settings.top_logprobs;
  job.use_cache = settings.use_cache;
  job.drafter = settings.drafter;
  return job;
}

Json settings_json(const Settings& settings, bool stream) {
  const SamplerOptions& s = settings.sampler;
  Json bias = Json::array();
  for (const auto& [token, value] : s.logit_bias) bias.push_back({{"token", token}, {"bias", value}});
  const bool grammar = settings.form && settings.form->form.kind == ConstraintSpec::Kind::kGrammar;
  Json json = {{"seed", s.seed},
               {"temperature", s.temperature},
               {"top_k", s.top_k},
               {"top_p", s.top_p},
               {"min_p", s.min_p},
               {"repeat_last_n", s.penalty_last_n},
               {"repeat_penalty", s.repetition_penalty},
               {"presence_penalty", s.presence_penalty},
               {"frequency_penalty", s.frequency_penalty},
               {"stop", settings.stops},
               {"max_tokens", settings.max_tokens},
               {"n_predict", settings.max_tokens},
               {"ignore_eos", settings.ignore_end},
               {"stream", stream},
               {"logit_bias", std::move(bias)},
               {"n_probs", std::max(settings.top_logprobs, 0)},
               {"grammar", grammar ? settings.form->form.text : ""},
               {"samplers", {"penalties", "temperature", "top_k", "top_p", "min_p"}},
               {"speculative.types", settings.drafter.value_or("auto")}};
  json.update(absent_settings());
  return json;
}

}  // namespace s3d::serve
