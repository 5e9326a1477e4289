#include "text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <limits>
#include <utility>

#include "text/pretokenizer_forms.h"

namespace s3d {
namespace {

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDeleter {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
struct ContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
using Code = std::unique_ptr<pcre2_code, CodeDeleter>;
using Context = std::unique_ptr<pcre2_match_context, ContextDeleter>;
using Match = std::unique_ptr<pcre2_match_data, MatchDeleter>;

Code compile(const char* expression) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                          &error, &offset, nullptr));
  S3D_CHECK(code != nullptr, std::string("expression: ") + expression);
  // Where just-in-time compilation is not to be had (or not allowed), the interpreter gives the same words.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

// Cuts one piece by one expression.
void cut(const pcre2_code* code, pcre2_match_data* match, pcre2_match_context* context, std::string_view piece,
         std::vector<std::string_view>& out) {
  // The text was checked as a whole; checking what is left at each match would make the time quadratic.
  constexpr uint32_t kOptions = PCRE2_NO_UTF_CHECK;
  const auto subject = reinterpret_cast<PCRE2_SPTR>(piece.data());
  size_t done = 0;
  while (done < piece.size()) {
    int rc = pcre2_match(code, subject, piece.size(), done, kOptions, match, context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
      rc = pcre2_match(code, subject, piece.size(), done, kOptions | PCRE2_NO_JIT, match, context);
    }
    if (rc == PCRE2_ERROR_NOMATCH) break;
    S3D_CHECK(rc > 0, "pcre2_match: " + std::to_string(rc));
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match);
    if (range[0] > done) out.push_back(piece.substr(done, range[0] - done));
    out.push_back(piece.substr(range[0], range[1] - range[0]));  // never empty: no expression matches nothing
    done = range[1];
  }
  if (done < piece.size()) out.push_back(piece.substr(done));
}

}  // namespace

struct PreTokenizer::Impl {
  std::vector<Code> codes;
  Context context;
};

PreTokenizer::PreTokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

Result<PreTokenizer> PreTokenizer::create(std::string_view name) {
  const PreTokenizerForm* form = find_pre_tokenizer_form(name);
  if (form == nullptr) {
    std::string known;
    for (const std::string& each : known_names()) known += (known.empty() ? "" : ", ") + each;
    return Error{"tokenizer.ggml.pre: unknown pre-tokenizer '" + std::string(name) + "'; known: " + known};
  }
  auto impl = std::make_unique<Impl>();
  for (const char* expression : form->expressions->list) {
    if (expression != nullptr) impl->codes.push_back(compile(expression));
  }
  // PCRE2's own limits guard against hostile expressions; ours are fixed, and a long run of blanks needs the steps.
  impl->context.reset(pcre2_match_context_create(nullptr));
  S3D_CHECK(impl->context != nullptr);
  pcre2_set_match_limit(impl->context.get(), std::numeric_limits<uint32_t>::max());
  return PreTokenizer(std::move(impl));
}

std::vector<std::string> PreTokenizer::known_names() {
  std::vector<std::string> names;
  for (const PreTokenizerForm& form : pre_tokenizer_forms()) names.emplace_back(form.name);
  return names;
}

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  std::vector<std::string_view> pieces;
  if (text.empty()) return pieces;
  pieces.push_back(text);
  std::vector<std::string_view> finer;
  for (const Code& code : impl_->codes) {
    const Match match(pcre2_match_data_create_from_pattern(code.get(), nullptr));
    S3D_CHECK(match != nullptr);
    finer.clear();
    for (const std::string_view piece : pieces) cut(code.get(), match.get(), impl_->context.get(), piece, finer);
    pieces.swap(finer);
  }
  return pieces;
}

}  // namespace s3d
