// The smallest program on libs3d: continues a text with a model, token by token.
//
//   minimal MODEL.gguf [PROMPT [TOKENS]]
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/engine.h"

namespace {

s3d::Status run(const std::string& model, const std::string& prompt, int tokens) {
  S3D_ASSIGN(s3d::Engine engine, s3d::Engine::load({.model = model, .context = 1024}));
  S3D_ASSIGN(const std::vector<s3d::TokenId> ids, engine.encode(prompt));
  s3d::AnswerOptions options;
  options.generate.max_tokens = tokens;
  const auto print = [](std::string_view text, bool /*drafted*/ = false) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  print(prompt);
  S3D_TRY(engine.answer(engine.kv().add_sequence(), ids, options, print));
  print("\n");
  return s3d::Ok();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: minimal MODEL.gguf [PROMPT [TOKENS]]\n");
    return 2;
  }
  const s3d::Status status = run(argv[1], argc > 2 ? argv[2] : "Once upon a time", argc > 3 ? std::atoi(argv[3]) : 64);
  if (!status.ok()) std::fprintf(stderr, "minimal: %s\n", status.error().message.c_str());
  return status.ok() ? 0 : 1;
}
