// The smallest program on libs3d: continues a text with a model, as it is made. Drafts are on by default.
//
//   minimal MODEL.gguf [PROMPT [TOKENS]]
#include <s3d/engine.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

s3d::Status run(const std::string& model, const std::string& prompt, int tokens) {
  S3D_ASSIGN(s3d::Engine engine, s3d::Engine::load({.model = model, .context = 1024}));
  const auto print = [](std::string_view text, bool /*drafted*/ = false) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  print(prompt);
  S3D_ASSIGN(const s3d::Answer answer, engine.complete(prompt, {.max_tokens = tokens}, print));
  print("\n");
  const s3d::SpecStats& spec = answer.generation.spec;
  std::fprintf(stderr, "%.1f tokens/s, %lld of %lld drafted tokens accepted\n", answer.generation.timings.decode_tps(),
               static_cast<long long>(spec.num_accepted_tokens), static_cast<long long>(spec.num_draft_tokens));
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
