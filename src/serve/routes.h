// The handlers of all routes; app.cc has the table that says which path is whose.
#pragma once

#include "serve/call.h"

namespace s3d::serve {

// Called on a thread of the work queue, but for those that the table marks as quick.
using RouteHandler = void (*)(const CallPtr& call);

// OpenAI's interface.
void handle_chat_completions(const CallPtr& call);
void handle_completions(const CallPtr& call);
void handle_responses(const CallPtr& call);
void handle_embeddings(const CallPtr& call);
void handle_models(const CallPtr& call);
void handle_model(const CallPtr& call);

// llama-server's own.
void handle_native_completion(const CallPtr& call);
void handle_infill(const CallPtr& call);
void handle_tokenize(const CallPtr& call);
void handle_detokenize(const CallPtr& call);
void handle_apply_template(const CallPtr& call);
void handle_props(const CallPtr& call);
void handle_slots(const CallPtr& call);
void handle_health(const CallPtr& call);
void handle_metrics(const CallPtr& call);

// Ollama's.
void handle_ollama_chat(const CallPtr& call);
void handle_ollama_generate(const CallPtr& call);
void handle_ollama_tags(const CallPtr& call);
void handle_ollama_show(const CallPtr& call);
void handle_ollama_ps(const CallPtr& call);
void handle_ollama_version(const CallPtr& call);
void handle_ollama_pull(const CallPtr& call);
void handle_ollama_unavailable(const CallPtr& call);  // push, create, copy, delete, blobs
void handle_ollama_root(const CallPtr& call);

}  // namespace s3d::serve
