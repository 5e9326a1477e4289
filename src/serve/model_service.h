// What the routes ask of the models that are served. Routes know nothing of runtimes, schedulers and files; tests give
// them a model that answers by a script.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "grammar/grammar.h"
#include "s3d/options.h"
#include "s3d/types.h"
#include "text/chat_prompt.h"

namespace s3d::serve {

// How the hidden states of a text's tokens become one vector.
enum class Pooling : uint8_t { kNone, kMean, kLast };

// What a model is, for lists and for answers that name it. Never changes while it is served.
struct ModelCard {
  std::string id;                    // the name that it is served under
  std::vector<std::string> aliases;  // other names that clients may use
  std::string path;                  // of its file
  std::string title;                 // general.name, may be empty
  std::string family;                // general.architecture: "llama", "qwen2", …
  std::string quantization;          // of most weights: "Q4_K", "F16", …
  std::string digest;                // 64 hexadecimal digits that stand for the file
  std::string fingerprint;           // of weights, adapter and program: the same text again needs the same one
  int64_t parameters = 0;            //
  int64_t file_bytes = 0;            //
  int64_t loaded_bytes = 0;          // memory that it takes; 0 while it is not loaded
  int64_t modified = 0;              // of the file, seconds since 1970
  int context = 0;                   // positions of prompt and answer together
  int trained_context = 0;           // that the model was made for
  int vocab_size = 0;                //
  int width = 0;                     // of the hidden state
  int layers = 0;                    //
  int parallel = 0;                  // answers that are decoded at the same time at most
  std::string chat_template;         // Jinja; empty: the model has none, and no chat
  std::string bos, eos;              // their texts, may be empty
  std::string adapter;               // path of the draft adapter; empty: none
  std::string drafter;               // as --spec has it
  Pooling pooling = Pooling::kNone;  // of embeddings
  std::string no_pooling;            // why there are none
  int max_tokens = -1;               // of an answer, where a request does not say; -1: until the context is full
  std::optional<uint64_t> seed;      // likewise; nothing: a new one for each request
  SamplerOptions sampler;            // where a request names no setting: the file's own, else the program's
};

// A chat as a template takes it.
struct ChatInput {
  std::string messages;                // JSON: array of objects, as engine/chat_json.h's parse_messages() takes them
  std::string tools;                   // JSON: array of objects; empty: none
  std::vector<std::string> variables;  // further variables of the template, each "KEY=JSON"
  bool add_generation_prompt = true;   // ends where the answer begins
};

// A form that an answer must have.
using ConstraintSpec = AnswerForm;

// A token that could have come, with the natural logarithm of its probability at temperature 1, before any setting.
struct Alternative {
  TokenId id;
  float logprob;
};

// One token of an answer.
struct AnswerToken {
  TokenId id = -1;
  bool drafted = false;          // it was proposed, and the target chose the same
  std::string_view source = {};  // who proposed it: "s3d", "suffix", …; empty: nobody. Lives as long as the program
  int depth = 0;                 // of the draft at which it stood, from 1 on; 0: not drafted
  float probability = 0;         // the drafter's guess, in [0, 1]
  float logprob = 0;             // as Alternative's; only where Job::top_logprobs >= 0
  std::vector<Alternative> top;  // the most probable tokens, best first; [Job::top_logprobs]
};

// What came since the last call. `text` is whole characters and never a part of a stop string; it may be empty (a
// character that is not whole yet) or lag behind the tokens (a stop string that may have begun).
struct AnswerPiece {
  std::string_view text;
  std::span<const AnswerToken> tokens;
  // Where Job::score_prompt asks for it: once, in the first piece, all tokens of the prompt with how probable each was
  // after those before it. The first one's logprob is NaN: nothing stands before it.
  std::span<const AnswerToken> prompt = {};
};

// Why a job was not taken or did not end well.
struct JobError {
  enum class Kind : uint8_t {
    kOverloaded,    // the queue is full: later, or elsewhere
    kShuttingDown,  // the server is about to end
    kRefused,       // the request cannot be served; the message says why
    kFailed,        // something broke here
  };
  Kind kind = Kind::kFailed;
  std::string message;
};

// How a job ended.
struct JobEnd {
  std::optional<JobError> error;              // nothing below counts then, but for the timings
  FinishReason reason = FinishReason::kStop;  //
  std::string stop;                           // the stop string that ended it; empty: none did
  int answer_tokens = 0;                      // those of a stop string included, the end token not
  Timings timings;                            //
  SpecStats spec;                             //
  std::vector<float> embedding;               // [ModelCard::width], of length 1, where Job::embed asks for it
  double queue_seconds = 0;                   // from submit() to its first pass
  double plain_tps = 0;                       // tokens a second of plain decoding alone; 0: not known
};

// One answer to be generated. A value; the callbacks are called on the model's own thread, on_end exactly once and last
// of all, never from within submit() or cancel(). They must be quick, as every other answer waits for them.
struct Job {
  std::vector<TokenId> prompt;             // not empty
  SamplerOptions sampler;                  //
  int max_tokens = -1;                     // -1: until the context is full; 0: the prompt is run, no more
  std::vector<std::string> stops;          //
  std::vector<TokenId> shown_tokens;       // special tokens whose text is a part of the answer
  bool ignore_end = false;                 // the model's end tokens are tokens like others
  uint64_t stream = 0;                     // number of the answer among those to the same request
  int top_logprobs = -1;                   // -1: no logprobs; 0 … 20: the token's own and so many best ones
  bool score_prompt = false;               // AnswerPiece::prompt; needs top_logprobs; the prefix cache is left alone
  bool embed = false;                      // JobEnd::embedding; with max_tokens 0, for a model that has a pooling
  bool use_cache = true;                   // what earlier prompts left in the prefix cache may be used
  std::string cache_key;                   // who may share the prefix cache: jobs with the same key
  std::string client;                      // who asks: clients take turns in the queue
  std::vector<TokenId> prediction;         // text that the answer may repeat: drafts for free
  std::optional<std::string> drafter;      // instead of the model's: "off", "s3d", …; changes no text
  std::shared_ptr<Constraint> constraint;  // or null
  std::function<void(const AnswerPiece&)> on_piece;
  std::function<void(const JobEnd&)> on_end;
};

using JobId = uint64_t;

// How busy a model is.
struct LoadStats {
  int waiting = 0;             // jobs in the queue
  int running = 0;             // jobs with a part of the KV cache
  int64_t kv_used = 0;         // positions of the KV cache
  int64_t kv_capacity = 0;     //
  int64_t cached_tokens = 0;   // positions that the prefix cache keeps for later
  int64_t prefix_queries = 0;  // prompt tokens that were looked up in the prefix cache so far
  int64_t prefix_hits = 0;     // of them, found
  int64_t preemptions = 0;     // jobs that had to make room for others and ran again, so far
  int64_t passes = 0;          // full passes so far
  int64_t rows = 0;            // of all of them
  double busy_seconds = 0;     // that passes took so far
};

// One job that waits or runs.
struct JobState {
  JobId id = 0;
  bool running = false;
  int prompt_tokens = 0;
  int answer_tokens = 0;
};

// A model that is loaded. Thread rule: any thread, any number at a time.
class ModelService {
 public:
  virtual ~ModelService() = default;
  virtual const ModelCard& card() const = 0;

  // Ids of a text. `add_special`: BOS first where the model wants it; `parse_special`: special tokens that are written
  // in the text are meant as such.
  virtual std::vector<TokenId> tokenize(std::string_view text, bool add_special, bool parse_special) const = 0;
  // Bytes of a token, perhaps a part of a character; of a special one its text if `special`, else nothing. Empty: no
  // such token.
  virtual std::string piece(TokenId id, bool special) const = 0;
  virtual TokenId find(std::string_view token) const = 0;  // by its exact text in the vocabulary; -1: none

  // The prompt of a chat. Errors: no template, what the template refuses.
  virtual Result<ChatPrompt> render(const ChatInput& chat) const = 0;
  virtual std::vector<TokenId> tokenize_chat(const ChatPrompt& prompt) const = 0;

  // One object for each job. Errors: what cannot be had (a keyword of the schema that is not supported, a grammar that
  // is none).
  virtual Result<std::shared_ptr<Constraint>> constrain(const ConstraintSpec& spec) const = 0;

  // Takes all jobs or none. Never waits. Error: kOverloaded or kShuttingDown.
  struct Submitted {
    std::vector<JobId> ids;         // one for each job
    std::optional<JobError> error;  // then there are no ids, and no callback is called
  };
  virtual Submitted submit(std::vector<Job> jobs) = 0;
  // The job ends soon, as cancelled if it did not end by itself. Does nothing for a job that has ended.
  virtual void cancel(JobId id) = 0;

  virtual LoadStats load() const = 0;
  virtual std::vector<JobState> jobs() const = 0;
};

// How long a model stays loaded after its last job.
struct KeepAlive {
  std::optional<int64_t> seconds;  // absent: as the server has it; negative: for ever; 0: not at all
};

// A model that the server has, loaded or not.
struct ModelEntry {
  ModelCard card;  // of one that is not loaded: what its file says without being loaded
  bool loaded = false;
  int64_t expires = 0;  // seconds since 1970 at which it is unloaded; 0: never, or not loaded
};

// The models of a server, by name. Thread rule: any thread, any number at a time.
class ModelDirectory {
 public:
  virtual ~ModelDirectory() = default;

  virtual std::vector<ModelEntry> list() const = 0;
  // By id or alias, with or without the tag ":latest"; an empty name is the first model. Nothing: no such model.
  virtual std::optional<ModelEntry> find(std::string_view name) const = 0;

  // Gives the model, after loading it if need be. `on_ready` is called once, from within or on another thread. Errors:
  // no such model; it cannot be loaded; no memory for it.
  using OnReady = std::function<void(Result<std::shared_ptr<ModelService>>)>;
  virtual void open(std::string_view name, KeepAlive keep_alive, OnReady on_ready) = 0;
  virtual std::shared_ptr<ModelService> loaded(std::string_view name) const = 0;  // null: it is not loaded
  virtual void unload(std::string_view name) = 0;                                 // when its jobs are done
  virtual bool ready() const = 0;  // false while the server's own model is being loaded
};

}  // namespace s3d::serve
