// How an answer is generated, as the requests of all interfaces name it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "s3d/options.h"
#include "serve/fields.h"
#include "serve/model_service.h"

namespace s3d::serve {

inline constexpr int kMaxTopLogprobs = 20;  // as OpenAI has it

// A form that the answer must have, and the field that asked for it.
struct WantedForm {
  ConstraintSpec form;
  std::string field;
};

struct Settings {
  SamplerOptions sampler;              // with a seed, drawn if the request names none
  std::vector<std::string> stops;      //
  int max_tokens = -1;                 // -1: until the context is full
  int top_logprobs = -1;               // as in Job
  bool ignore_end = false;             //
  bool use_cache = true;               //
  bool token_details = false;          // "s3d": {"tokens": true}: where each token came from
  std::optional<std::string> drafter;  // "s3d": {"drafter": …}
  std::optional<WantedForm> form;      // filled by the routes
};

// Reads what samples: temperature, top_k, top_p, min_p, repeat_penalty, repeat_last_n, presence_penalty,
// frequency_penalty, seed, logit_bias, stop, ignore_eos, cache_prompt, and refuses samplers that are not there (dry_…,
// xtc_…, mirostat, …) unless they are switched off. Errors stay in `fields`.
Settings read_settings(Fields& fields, const ModelService& model);

// The member "s3d" of a request; `fields` are those of the whole body.
void read_s3d_member(Fields& fields, Settings& settings);

// The job that generates answer number `stream` to `prompt`.
Job make_job(const Settings& settings, std::vector<TokenId> prompt, uint64_t stream);

// As llama-server's generation_settings name them.
Json settings_json(const Settings& settings, bool stream);

}  // namespace s3d::serve
