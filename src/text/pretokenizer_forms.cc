#include "text/pretokenizer_forms.h"

namespace s3d {
namespace {

// White space as the Unicode property White_Space has it. PCRE2's own \s has U+180E besides, which Unicode moved out
// of that property in 2013 and the tokenizers' authors' libraries do not have.
#define WS "\\p{Z}\\t-\\r\\x{85}"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

// GPT-2's words: contractions, then letters, digits or signs with the blank before them, then white space. The last
// blank of a run stays with the word after it.
#define GPT2_WORDS \
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|[" WS "]+(?![^" WS "])|[" WS "]+"

// The words of Llama 3 and Qwen, which differ in how many digits go together and whether marks belong to letters.
#define SPACES "[" WS "]*[\\r\\n]+|[" WS "]+(?![^" WS "])|[" WS "]+"
#define LLAMA3_WORDS(letters, digits) \
  CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[" letters "]+|" digits "| ?[^" WS letters "\\p{N}]+[\\r\\n]*|" SPACES

// The words of GPT-4o (o200k) and of Mistral's Tekken: a word ends where a capital follows a small letter.
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define CASED_WORDS(ending, digits)                                                                                \
  "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+" ending "|[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER "]*" ending \
  "|" digits "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES

// The letters of DeepSeek LLM: most of those that have cases.
#define CASED_LETTERS                                                                                                \
  "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}"   \
  "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}"     \
  "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}"       \
  "\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}"                  \
  "\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}"                  \
  "\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}"          \
  "\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}"         \
  "\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}"          \
  "\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}" \
  "\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}"           \
  "\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}"                  \
  "\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}"                  \
  "\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}"        \
  "\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"
#define DEEPSEEK_SIGNS "!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}"
#define DEEPSEEK_CJK "[\\x{800}-\\x{9fa5}\\x{ac00}-\\x{d7ff}]+"

constexpr WordExpressions kGpt2 = {{GPT2_WORDS}};
constexpr WordExpressions kSmolLm = {{"\\p{N}", GPT2_WORDS}};
constexpr WordExpressions kDefault = {{"[\\p{P}$+<=>^~|]+", GPT2_WORDS, "\\p{N}+", "[0-9][0-9][0-9]"}};
constexpr WordExpressions kLlama3 = {{LLAMA3_WORDS("\\p{L}", "\\p{N}{1,3}")}};
constexpr WordExpressions kQwen2 = {{LLAMA3_WORDS("\\p{L}", "\\p{N}")}};
constexpr WordExpressions kQwen35 = {{LLAMA3_WORDS("\\p{L}\\p{M}", "\\p{N}")}};
constexpr WordExpressions kGpt4o = {{CASED_WORDS(CONTRACTION "?", "\\p{N}{1,3}")}};
constexpr WordExpressions kTekken = {{CASED_WORDS("", "\\p{N}")}};
constexpr WordExpressions kDeepSeekLlm = {{"[\\r\\n]", "[" WS "]?[" CASED_LETTERS "]+",
                                           "[" WS "]?[" DEEPSEEK_SIGNS "]+", "[" WS "]+$", DEEPSEEK_CJK, "\\p{N}+"}};
constexpr WordExpressions kDeepSeekCoder = {
    {"[\\r\\n]", "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"}};
constexpr WordExpressions kDeepSeekV3 = {
    {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{30ff}]+",
     "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES}};

constexpr PreTokenizerHabits kPlain = {};
constexpr PreTokenizerHabits kComposed = {.nfc = true};
constexpr PreTokenizerHabits kLikeLlama3 = {.whole_words = true, .adds_bos = true};

constexpr PreTokenizerForm kForms[] = {
    {"smollm", &kSmolLm, kPlain},
    {"qwen2", &kQwen2, kComposed},
    {"llama-bpe", &kLlama3, kLikeLlama3},
    {"gpt-2", &kGpt2, kPlain},
    {"default", &kDefault, kPlain},
    {"qwen35", &kQwen35, kComposed},
    {"gpt-4o", &kGpt4o, kPlain},
    {"tekken", &kTekken, kLikeLlama3},
    {"deepseek-llm", &kDeepSeekLlm, kPlain},
    {"deepseek-coder", &kDeepSeekCoder, kPlain},
    {"deepseek-v3", &kDeepSeekV3, kPlain},
    {"smaug-bpe", &kLlama3, kPlain},
    {"command-r", &kSmolLm, kComposed},
    // Other names of the same expressions.
    {"llama3", &kLlama3, kLikeLlama3},
    {"llama-v3", &kLlama3, kLikeLlama3},
    {"falcon3", &kLlama3, kLikeLlama3},
    {"falcon-h1", &kLlama3, kLikeLlama3},
    {"pixtral", &kLlama3, kLikeLlama3},
    {"midm-2.0", &kLlama3, kLikeLlama3},
    {"lfm2", &kLlama3, kLikeLlama3},
    {"jina-v5-nano", &kLlama3, kLikeLlama3},
    {"dbrx", &kLlama3, kPlain},
    {"glm4", &kLlama3, kPlain},
    {"chatglm-bpe", &kLlama3, kPlain},
    {"deepseek-r1-qwen", &kQwen2, kComposed},
    {"megrez", &kQwen2, kComposed},
    {"f2llmv2", &kQwen2, kComposed},
    {"kormo", &kQwen2, kPlain},
    {"stablelm2", &kQwen2, kComposed},
    {"hunyuan", &kQwen2, kComposed},
    {"solar-open", &kQwen2, kPlain},
    {"grok-2", &kQwen2, kPlain},
    {"llama4", &kGpt4o, kPlain},
    {"kanana2", &kGpt4o, kPlain},
    {"talkie", &kGpt4o, kPlain},
    {"minimax-m2", &kGpt4o, kPlain},
    {"hunyuan-dense", &kDeepSeekV3, kPlain},
    {"joyai-llm", &kDeepSeekV3, kPlain},
    {"hy_v4", &kDeepSeekV3, kPlain},
    {"starcoder", &kSmolLm, kPlain},
    {"refact", &kSmolLm, kPlain},
    {"codeshell", &kSmolLm, kPlain},
    {"exaone", &kSmolLm, kPlain},
    {"minerva-7b", &kSmolLm, kPlain},
    {"mellum2", &kSmolLm, kPlain},
    {"phi-2", &kGpt2, kPlain},
    {"mpt", &kGpt2, kComposed},
    {"olmo", &kGpt2, kComposed},
    {"jais", &kGpt2, kPlain},
    {"trillion", &kGpt2, kPlain},
    {"granite-docling", &kGpt2, kPlain},
    {"exaone4", &kGpt2, kPlain},
    {"gigachat", &kGpt2, kPlain},
    {"a.x-4.0", &kGpt2, kPlain},
    {"mellum", &kGpt2, kPlain},
    {"modern-bert", &kGpt2, kPlain},
    {"jina-es", &kGpt2, kPlain},
    {"jina-de", &kGpt2, kPlain},
    {"jina-v2-es", &kGpt2, kPlain},
    {"jina-v2-de", &kGpt2, kPlain},
};

#undef WS
#undef CONTRACTION
#undef GPT2_WORDS
#undef SPACES
#undef LLAMA3_WORDS
#undef UPPER
#undef LOWER
#undef CASED_WORDS
#undef CASED_LETTERS
#undef DEEPSEEK_SIGNS
#undef DEEPSEEK_CJK

}  // namespace

std::span<const PreTokenizerForm> pre_tokenizer_forms() {
  return kForms;
}

const PreTokenizerForm* find_pre_tokenizer_form(std::string_view name) {
  for (const PreTokenizerForm& form : kForms) {
    if (form.name == name) return &form;
  }
  return nullptr;
}

}  // namespace s3d
