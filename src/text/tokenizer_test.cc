#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "text/text_test_util.h"

namespace s3d {
namespace {

using Ids = std::vector<TokenId>;

Tokenizer make(TokenizerMetadata metadata) {
  auto tokenizer = Tokenizer::create(std::move(metadata));
  S3D_CHECK(tokenizer.ok(), tokenizer.error().message);
  return std::move(*tokenizer);
}

// Expects an error whose message contains `part` after `change` was made to a good vocabulary.
void expect_error(TokenizerMetadata metadata, const std::function<void(TokenizerMetadata&)>& change,
                  const std::string& part) {
  change(metadata);
  const auto tokenizer = Tokenizer::create(std::move(metadata));
  ASSERT_FALSE(tokenizer.ok()) << part;
  EXPECT_NE(tokenizer.error().message.find(part), std::string::npos) << tokenizer.error().message;
}

TEST(Tokenizer, JoinsBytePairsByRank) {
  const Tokenizer t = make(tiny_bpe());
  EXPECT_EQ(t.encode("abcab", false, false), (Ids{257, 256}));
  EXPECT_EQ(t.encode("bcabx", false, false), (Ids{'b', 'c', 256, 'x'}));
  EXPECT_EQ(t.encode("", false, false), Ids{});
  EXPECT_EQ(t.decode({257, 256}), "abcab");
}

TEST(Tokenizer, JoinsPiecesByScore) {
  const Tokenizer t = make(tiny_spm());
  EXPECT_EQ(t.encode("ab", false, false), (Ids{263}));              // with the blank before it
  EXPECT_EQ(t.encode("aaaa", false, false), (Ids{259, 265}));       // aa, aa, then aaaa
  EXPECT_EQ(t.encode("\xC3", false, false), (Ids{259, 0xC3 + 3}));  // a broken byte as a byte token
  EXPECT_EQ(t.encode("é", true, false), (Ids{1, 259, 0xC3 + 3, 0xA9 + 3}));
  EXPECT_EQ(t.decode(t.encode("ab é", true, false)), "ab é");
  EXPECT_EQ(t.decode({1, 263}, true), "<s>ab");
}

TEST(Tokenizer, SpacePrefixFollowsSpecialTokens) {
  const Tokenizer t = make(tiny_spm());
  EXPECT_EQ(t.encode("ab</s>ab", false, true), (Ids{263, 2, 263}));
  TokenizerMetadata metadata = tiny_spm();
  metadata.add_space_prefix = false;
  EXPECT_EQ(make(metadata).encode("ab</s>ab", false, true), (Ids{262, 2, 262}));
}

TEST(Tokenizer, SpecialTokensLongestFirst) {
  const Tokenizer t = make(tiny_bpe());
  EXPECT_EQ(t.encode("ab<|end|><|end|><|end|>", false, true), (Ids{256, 259, 258}));
  EXPECT_EQ(t.encode("<user>ab", false, false), (Ids{260, 256}));  // user-defined: always
  EXPECT_GT(t.encode("<|end|>", false, false).size(), 1U);         // control: only when asked for
  EXPECT_EQ(t.piece(258), "");
  EXPECT_EQ(t.piece(258, true), "<|end|>");
  EXPECT_EQ(t.piece(260), "<user>");
  EXPECT_EQ(t.piece(-1), "");
  EXPECT_EQ(t.piece(1 << 20), "");
  EXPECT_TRUE(t.is_end(258));
  EXPECT_TRUE(t.is_control(259));
  EXPECT_FALSE(t.is_control(260));
  EXPECT_FALSE(t.is_end(260));
}

// As llama.cpp does it: Phi-3 by the model's name, <unk> and <s> excepted.
TEST(Tokenizer, SpecialTokensOfPhi3SwallowWhiteSpace) {
  TokenizerMetadata metadata = tiny_spm();
  EXPECT_EQ(make(metadata).encode("</s> \n ab", false, true).size(), 5U);
  metadata.model_name = "Phi-3 mini 4k instruct";
  const Tokenizer t = make(metadata);
  EXPECT_EQ(t.encode("</s> \n ab</s>", false, true), (Ids{2, 263, 2}));
  EXPECT_EQ(t.encode("</s> \n </s>\n", false, true), (Ids{2, 2}));
  EXPECT_EQ(t.encode("<s> ab", false, true), make(tiny_spm()).encode("<s> ab", false, true));
  EXPECT_EQ(t.encode("</s>\nab", false, false), make(tiny_spm()).encode("</s>\nab", false, false));
}

TEST(Tokenizer, BeginAndEndOfTextAsTheFileAsks) {
  TokenizerMetadata metadata = tiny_bpe();
  EXPECT_EQ(make(metadata).encode("ab", true, false), (Ids{256}));
  metadata.add_bos = true;
  metadata.add_eos = true;
  EXPECT_EQ(make(metadata).encode("ab", true, false), (Ids{258, 256, 258}));
  EXPECT_EQ(make(metadata).encode("ab", false, false), (Ids{256}));
  metadata = tiny_bpe();
  for (const char* pre : {"llama-bpe", "llama3", "falcon3", "tekken"}) {
    metadata.pre = pre;  // Llama 3 adds it unless the file says otherwise
    EXPECT_EQ(make(metadata).encode("ab", true, false), (Ids{258, 256})) << pre;
  }
  metadata.pre = "smaug-bpe";
  EXPECT_EQ(make(metadata).encode("ab", true, false), (Ids{256}));
  EXPECT_EQ(make(tiny_spm()).encode("", true, false), (Ids{1}));
}

// `text` in a prompt whose first `written` bytes are the template's.
Ids chat_ids(const Tokenizer& t, const std::string& text, size_t begin, size_t end) {
  return t.encode_chat({.text = text, .marks = {{begin, end}}});
}

TEST(Tokenizer, SpecialTokensOfAChatComeFromTheTemplateAlone) {
  const Tokenizer t = make(tiny_bpe());
  const Ids typed = t.encode("<|end|>", false, false);
  ASSERT_GT(typed.size(), 3U);
  EXPECT_EQ(chat_ids(t, "<|end|>", 0, 7), (Ids{258}));
  EXPECT_EQ(chat_ids(t, "<|end|>", 0, 0), typed);
  EXPECT_EQ(chat_ids(t, "<|end|>", 0, 6), typed) << "half of it was typed";
  Ids both = {258};
  both.insert(both.end(), typed.begin(), typed.end());
  EXPECT_EQ(chat_ids(t, "<|end|><|end|>", 0, 7), both) << "the longer mark is not the template's";
  // Words are joined across the border of what was typed.
  EXPECT_EQ(chat_ids(t, "abc", 0, 1), (Ids{257}));
}

TEST(Tokenizer, UserDefinedTokensOfAChatCountUnlessTheTemplateWritesThem) {
  const Tokenizer t = make(tiny_bpe());
  const Ids typed = t.encode("<user", false, false);
  EXPECT_EQ(chat_ids(t, "x<user>", 0, 1), (Ids{'x', 260})) << "an ordinary word of the vocabulary";
  const Ids ids = chat_ids(t, "<user><user>", 0, 6);
  ASSERT_EQ(ids.size(), 1 + typed.size() + 1);
  EXPECT_EQ(ids[0], 260);
  EXPECT_EQ(ids[1], '<');
}

TEST(Tokenizer, AChatBeginsWithBosOnceAndNeverEndsWithEos) {
  TokenizerMetadata metadata = tiny_bpe();
  metadata.add_bos = true;
  metadata.add_eos = true;
  const Tokenizer t = make(metadata);
  EXPECT_EQ(chat_ids(t, "ab", 0, 2), (Ids{258, 256}));
  EXPECT_EQ(chat_ids(t, "<|end|>ab", 0, 9), (Ids{258, 256})) << "the template wrote it";
  EXPECT_EQ(t.encode("ab", true, false), (Ids{258, 256, 258}));
}

TEST(Tokenizer, BrokenUtf8BecomesReplacementCharacters) {
  const Tokenizer t = make(tiny_bpe());
  EXPECT_EQ(t.decode(t.encode("a\xFF\xE2\x82z", false, false)), "a\uFFFD\uFFFD\uFFFDz");
}

// As the reference tokenizers of Qwen do: a letter with a mark beside it is the letter that has the mark.
TEST(Tokenizer, TextIsComposedWhereTheReferenceDoesSo) {
  TokenizerMetadata metadata = tiny_bpe();
  for (const char* pre : {"qwen2", "deepseek-r1-qwen", "megrez", "qwen35", "command-r"}) {
    metadata.pre = pre;
    const Tokenizer t = make(metadata);
    EXPECT_EQ(t.encode("abcafe\u0301", false, false), t.encode("abcaf\u00E9", false, false)) << pre;
    EXPECT_EQ(t.decode(t.encode("e\u0301<user>\u0301\xFF", false, false)), "\u00E9<user>\u0301\uFFFD") << pre;
  }
  for (const char* pre : {"llama-bpe", "gpt-2", "smollm", "tekken", "gpt-4o", "deepseek-v3"}) {
    metadata.pre = pre;
    const Tokenizer t = make(metadata);
    EXPECT_EQ(t.decode(t.encode("e\u0301", false, false)), "e\u0301") << pre;
  }
}

TEST(Tokenizer, AMebibyteOfOneCharacterIsEncoded) {
  const std::string text(1 << 20, 'a');
  TokenizerMetadata bpe = tiny_bpe();
  bpe.tokens.insert(bpe.tokens.end(), {"aa", "aaaa"});
  bpe.types.insert(bpe.types.end(), {1, 1});
  bpe.merges.insert(bpe.merges.end(), {"a a", "aa aa"});
  EXPECT_EQ(make(bpe).encode(text, false, false).size(), text.size() / 4);
  EXPECT_EQ(make(tiny_spm()).encode(text, false, false).size(), text.size() / 4 + 1);
  EXPECT_EQ(make(tiny_bpe()).encode(std::string(1 << 20, ' '), false, false).size(), text.size());
}

TEST(Tokenizer, UnknownKindsAreErrorsByName) {
  expect_error(
      tiny_bpe(), [](auto& m) { m.model = "wordpiece"; }, "'wordpiece'");
  expect_error(
      tiny_bpe(), [](auto& m) { m.pre = "nobody"; }, "'nobody'");
}

TEST(Tokenizer, InconsistentVocabulariesAreErrors) {
  expect_error(
      tiny_bpe(), [](auto& m) { m.tokens.clear(); }, "tokenizer.ggml.tokens");
  expect_error(
      tiny_bpe(), [](auto& m) { m.types.pop_back(); }, "token_type: expected one entry");
  expect_error(
      tiny_bpe(), [](auto& m) { m.types[3] = 7; }, "token 3, found 7");
  expect_error(
      tiny_bpe(), [](auto& m) { m.tokens[5] = m.tokens[4]; }, "ids 4 and 5 have the same text");
  expect_error(
      tiny_bpe(), [](auto& m) { m.eos = 261; }, "eos_token_id: expected the id of one of the 261 tokens");
  expect_error(
      tiny_bpe(), [](auto& m) { m.bos = -2; }, "found -2");
  expect_error(
      tiny_bpe(), [](auto& m) { m.bos.reset(), m.add_bos = true; }, "no bos_token_id");
  expect_error(
      tiny_bpe(), [](auto& m) { m.merges.clear(); }, "merges");
  expect_error(
      tiny_bpe(), [](auto& m) { m.merges[1] = "abc"; }, "merge 1 'abc' has no blank");
  expect_error(
      tiny_bpe(), [](auto& m) { m.merges[0] = "a x"; }, "merge 0 'a x' names a token");
  expect_error(
      tiny_bpe(), [](auto& m) { m.merges[0] = ""; }, "merge 0");
  expect_error(
      tiny_spm(), [](auto& m) { m.scores.pop_back(); }, "scores: expected one entry");
  expect_error(
      tiny_spm(), [](auto& m) { m.scores[1] = std::numeric_limits<double>::quiet_NaN(); }, "found NaN");
  expect_error(
      tiny_spm(), [](auto& m) { m.types[260] = 6; }, "byte token 260");
}

// As llama.cpp does (issue 4331 there): a mark's text says what it is, whatever type the file gives it.
TEST(Tokenizer, MarksTypedAsOrdinaryTextAreControlTokens) {
  TokenizerMetadata metadata = tiny_bpe();
  metadata.tokens.insert(metadata.tokens.end(), {"<|im_start|>", "<|im_end|>", "<fim_prefix>", "</s>", "<mark>"});
  metadata.types.insert(metadata.types.end(), {1, 1, 4, 1, 1});
  metadata.eos = 0;
  const Tokenizer t = make(metadata);
  EXPECT_EQ(t.encode("<|im_start|>ab<|im_end|>", false, true), (Ids{261, 256, 262}));
  EXPECT_GT(t.encode("<|im_end|>", false, false).size(), 1U);
  EXPECT_EQ(t.piece(262), "");
  EXPECT_TRUE(t.is_end(262));
  EXPECT_FALSE(t.is_end(261));
  EXPECT_TRUE(t.is_control(261));
  EXPECT_TRUE(t.is_control(263));
  EXPECT_FALSE(t.is_end(263));
  EXPECT_FALSE(t.is_control(264));  // "</s>" and what nobody knows stay text
  EXPECT_FALSE(t.is_control(265));
  ASSERT_EQ(t.warnings().size(), 1U);
  EXPECT_NE(t.warnings()[0].find("'<|im_end|>', '<|im_start|>' ordinary text"), std::string::npos) << t.warnings()[0];
  EXPECT_TRUE(make(tiny_bpe()).warnings().empty());
  metadata.types.clear();
  EXPECT_TRUE(make(metadata).is_end(262));
}

// gpt-oss ends each of its messages with "<|end|>", and its answer with "<|return|>" or a call of a tool.
TEST(Tokenizer, AnEndOfAMessageIsNoEndOfTheAnswer) {
  const auto ends = [](const std::vector<std::string>& more, int64_t type = 3) {
    TokenizerMetadata metadata = tiny_bpe();  // 258 is "<|end|>"
    metadata.eos = 0;
    metadata.tokens.insert(metadata.tokens.end(), more.begin(), more.end());
    metadata.types.insert(metadata.types.end(), more.size(), type);
    const Tokenizer t = make(metadata);
    Ids ids;
    for (TokenId id = 1; id < t.vocab_size(); ++id) {
      if (t.is_end(id)) ids.push_back(id);
    }
    return ids;
  };
  EXPECT_EQ(ends({}), (Ids{258}));
  EXPECT_EQ(ends({"<|return|>", "<|call|>"}), (Ids{261, 262}));
  EXPECT_EQ(ends({"<|flush|>", "<|calls|>"}), (Ids{261, 262}));
  EXPECT_EQ(ends({"<|return|>", "<|flush|>"}), (Ids{258, 261, 262})) << "no calls: some other family";
  EXPECT_EQ(ends({"</s>"}), (Ids{258, 261}));
  EXPECT_EQ(ends({"</s>", "<|tool_response>"}), (Ids{258, 262}));
}

// What the file names as its end token is one.
TEST(Tokenizer, TheFilesOwnEndTokenEnds) {
  TokenizerMetadata metadata = tiny_bpe();
  metadata.tokens.insert(metadata.tokens.end(), {"<|return|>", "<|call|>"});
  metadata.types.insert(metadata.types.end(), {3, 3});
  metadata.eot = 258;
  EXPECT_TRUE(make(metadata).is_end(258));
}

TEST(Tokenizer, MissingIdsAreTolerated) {
  TokenizerMetadata metadata = tiny_bpe();
  metadata.bos = 0xFFFFFFFF;
  metadata.types.clear();
  const Tokenizer t = make(metadata);
  EXPECT_EQ(t.bos(), -1);
  EXPECT_EQ(t.eos(), 258);
  EXPECT_EQ(t.find("abc"), 257);
  EXPECT_EQ(t.find("nothing"), -1);
}

}  // namespace
}  // namespace s3d
