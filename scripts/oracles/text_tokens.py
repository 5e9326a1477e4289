#!/usr/bin/env python3
"""Writes tests/data/text/ids-NAME.json: the token ids that other tokenizers give for tests/data/text/corpus.jsonl.

The ids are llama.cpp's (inside PyPI `xllamacpp` 2026.10.11549, called through cffi), which takes any bytes. For byte-level BPE the same vocabulary, merges
and expressions are also given to PyPI `tokenizers`, and every text that is well-formed UTF-8 must get the same ids from
both, but for the cases in KNOWN_DIFFERENCES, where `tokenizers` (the trainers' own) is followed. Where the reference
tokenizer composes its text (NFC), `tokenizers` does it with its own normalizer and llama.cpp, which does not, is given
the composed text. Where llama.cpp writes an expression in another way than the model's tokenizer.json (REWRITTEN),
`tokenizers` is followed, and the program says on how many texts they differ.

Each entry: name -> [ids without special tokens, ids with special tokens parsed]. Also: the ids that end a generation,
the decoded bytes of a sample of tokens, and the ids of one prompt with the BOS token asked for.
Usage: text_tokens.py NAME=GGUF[:PRE]…   (PRE overrides tokenizer.ggml.pre)
"""
import base64
import codecs
import functools
import json
import pathlib
import re
import sys
import tempfile
import unicodedata

import cffi
import gguf
import xllamacpp
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

DATA = pathlib.Path(__file__).parents[2] / "tests" / "data" / "text"
UNKNOWN, CONTROL, USER = 2, 3, 4
SAMPLE_STEP = 37
PROMPT = "Hello world"

# The expressions as the models' authors publish them (tokenizer.json), and llama.cpp's own for "default".
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
QWEN35 = (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+END"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*END"
         r"|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CASED_LETTERS = ("A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚ"
                 "\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d"
                 "\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
                 "\u1ff2-\u1ff4\u1ff6-\u1ffcℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎ"
                 "ꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃")
DEEPSEEK_CJK = "[一-龥ࠀ-一가-퟿]+"
EXPRESSIONS = {
    "qwen35": [QWEN35],
    "gpt-4o": [CASED.replace("END", CONTRACTION + "?").replace("DIGITS", "{1,3}")],
    "tekken": [CASED.replace("END", "").replace("DIGITS", "")],
    "smaug-bpe": [LLAMA3.replace("DIGITS", "{1,3}")],
    "command-r": [r"\p{N}", GPT2],
    "deepseek-llm": ["[\r\n]", rf"\s?[{CASED_LETTERS}]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", DEEPSEEK_CJK, r"\p{N}+"],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
                    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
                    r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""],
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "qwen2": [LLAMA3.replace("DIGITS", "")],
    "llama-bpe": [LLAMA3.replace("DIGITS", "{1,3}")],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}

COMPOSED = {"qwen2", "qwen35", "command-r"}
REWRITTEN = {"gpt-4o", "tekken", "deepseek-llm", "deepseek-coder"}  # the last two: white space beyond ASCII is one class
WHOLE_WORDS = {"llama-bpe", "tekken"}

# "(?i:'s)" matches U+017F, the long s, in Unicode; llama.cpp spells the expression out as [sS]. And llama.cpp takes
# "</s>" for a control token that ends a generation in every vocabulary, also where it is the ordinary text of a closing
# HTML tag.
KNOWN_DIFFERENCES = {"long_s_contraction", "html", "special_llama"}


def read_corpus():
    for line in (DATA / "corpus.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["name"].startswith("ill_"):
            continue
        raw = entry["text"].encode() if "text" in entry else base64.b64decode(entry["base64"])
        yield entry["name"], raw


# The few functions of llama.h that are used here, as of build 11549.
LLAMA_H = """
typedef struct llama_model llama_model;
typedef struct llama_vocab llama_vocab;
struct llama_model_params {
    void * devices; void * buft_overrides;
    int32_t n_gpu_layers; int split_mode; int load_mode; int lazy_mode; int32_t main_gpu;
    const float * tensor_split; void * progress; void * progress_data; const void * kv_overrides;
    bool vocab_only, check_tensors, use_extra_bufts, no_host, no_alloc, load_mtp;
};
struct llama_model_params llama_model_default_params(void);
llama_model * llama_model_load_from_file(const char * path, struct llama_model_params params);
const llama_vocab * llama_model_get_vocab(const llama_model * model);
int32_t llama_vocab_n_tokens(const llama_vocab * vocab);
bool llama_vocab_is_eog(const llama_vocab * vocab, int32_t token);
int32_t llama_tokenize(const llama_vocab * vocab, const char * text, int32_t length, int32_t * ids, int32_t room,
                       bool add_special, bool parse_special);
int32_t llama_token_to_piece(const llama_vocab * vocab, int32_t token, char * out, int32_t room, int32_t lstrip,
                             bool special);
void llama_log_set(void (*log)(int, const char *, void *), void * data);
"""


class LlamaCpp:
    """A vocabulary loaded by llama.cpp."""

    def __init__(self, path):
        self.ffi = cffi.FFI()
        self.ffi.cdef(LLAMA_H)
        self.lib = self.ffi.dlopen(next(str(p) for p in pathlib.Path(xllamacpp.__file__).parent.glob("*.so")))
        self.quiet = self.ffi.callback("void(int, const char *, void *)", lambda level, text, data: None)
        self.lib.llama_log_set(self.quiet, self.ffi.NULL)
        params = self.lib.llama_model_default_params()
        params.vocab_only = True
        self.model = self.lib.llama_model_load_from_file(str(path).encode(), params)
        if self.model == self.ffi.NULL:
            sys.exit(f"llama.cpp cannot load {path}")
        self.vocab = self.lib.llama_model_get_vocab(self.model)
        self.size = self.lib.llama_vocab_n_tokens(self.vocab)

    def encode(self, raw, special, bos=False):
        room = len(raw) * 4 + 16
        ids = self.ffi.new("int32_t[]", room)
        count = self.lib.llama_tokenize(self.vocab, raw, len(raw), ids, room, bos, special)
        assert count >= 0
        return list(ids[0:count])

    def encode_closing_tag(self, raw, special, token):
        """As encode(), with "</s>" taken for a user-defined token in any case: see KNOWN_DIFFERENCES."""
        ids = []
        for i, part in enumerate(raw.split(b"</s>")):
            ids += [token] if i else []
            ids += self.encode(part, special)
        return ids

    def piece(self, token):
        buffer = self.ffi.new("char[]", 1024)
        count = self.lib.llama_token_to_piece(self.vocab, token, buffer, 1024, 0, True)
        return bytes(self.ffi.buffer(buffer, count))

    def ends(self, types):
        ends = [i for i in range(self.size) if self.lib.llama_vocab_is_eog(self.vocab, i)]
        return [i for i in ends if self.piece(i) != b"</s>" or types[i] == CONTROL]  # see KNOWN_DIFFERENCES


@functools.cache
def contents(reader, key, default=None):
    field = reader.fields.get(key)
    return default if field is None else field.contents()


def hugging_face(reader, pre, special):
    tokens = contents(reader, "tokenizer.ggml.tokens")
    types = contents(reader, "tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ", 1)) for m in contents(reader, "tokenizer.ggml.merges")]
    vocab = {t: i for i, t in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=pre in WHOLE_WORDS))
    splits = [pre_tokenizers.Split(Regex(e), "isolated") for e in EXPRESSIONS[pre]]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits + [byte_level])
    if pre in COMPOSED:
        tokenizer.normalizer = normalizers.NFC()
    kinds = (USER, CONTROL, UNKNOWN) if special else (USER,)
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t, kind in zip(tokens, types) if kind in kinds])
    return tokenizer


def with_pre(path, pre, folder):
    """A copy of a vocabulary-only file with another tokenizer.ggml.pre."""
    target = pathlib.Path(folder) / f"{pre}.gguf"
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(str(target), "llama")
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        value = pre if key == "tokenizer.ggml.pre" else field.contents()
        writer.add_key_value(key, value, field.types[0], field.types[-1] if len(field.types) > 1 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return target


def repaired(raw):
    """Text in which each byte that belongs to no character is U+FFFD."""
    return raw.decode(errors="each_byte_replaced")


codecs.register_error("each_byte_replaced", lambda e: ("\ufffd" * (e.end - e.start), e.end))


def compare(name, pre, key, ours, tokenizer, raw):
    """Ids of `tokenizers` where the text is UTF-8 and it can be compared; says where they differ."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        if pre not in REWRITTEN:
            return ours
        text = repaired(raw)
    theirs = tokenizer.encode(text, add_special_tokens=False).ids
    if theirs == ours:
        return ours
    if pre in REWRITTEN:
        compare.rewritten += 1
        return theirs
    if key in KNOWN_DIFFERENCES:
        return theirs
    print(f"{name}: {key}: {text!r}\n  llama.cpp  {ours}\n  tokenizers {theirs}", file=sys.stderr)
    compare.failed += 1
    return ours


compare.rewritten = 0
compare.failed = 0


def write(name, path, pre):
    reader = gguf.GGUFReader(path)
    bpe = contents(reader, "tokenizer.ggml.model") == "gpt2"
    pre = pre or contents(reader, "tokenizer.ggml.pre", "default")
    llama = LlamaCpp(path)
    others = {s: hugging_face(reader, pre, s) for s in (False, True)} if bpe else {}
    entries = {}
    tokens, types = contents(reader, "tokenizer.ggml.tokens"), contents(reader, "tokenizer.ggml.token_type")
    closing = tokens.index("</s>") if "</s>" in tokens else -1
    for key, raw in read_corpus():
        pair = []
        given = raw
        if bpe and pre in COMPOSED:  # piece by piece: marks do not join a special token before them
            given = "".join(unicodedata.normalize("NFC", part) for part in re.split("(<[^<>]*>)", repaired(raw))).encode()
        for special in (False, True):
            if closing >= 0 and types[closing] == USER:
                ids = llama.encode_closing_tag(given, special, closing)
            else:
                ids = llama.encode(given, special)
            pair.append(compare(name, pre, key, ids, others[special], raw) if bpe else ids)
        entries[key] = pair
    pieces = {i: base64.b64encode(llama.piece(i)).decode() for i in range(0, llama.size, max(SAMPLE_STEP, llama.size // 500))}
    result = {"prompt": llama.encode(PROMPT.encode(), True, bos=True),
              "ends": llama.ends(types), "pieces": pieces, "entries": entries}
    lines = ",\n".join(f" {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in entries.items())
    head = json.dumps({k: v for k, v in result.items() if k != "entries"}, separators=(",", ":"))[:-1]
    (DATA / f"ids-{name}.json").write_text(f"{head},\"entries\":{{\n{lines}\n}}}}\n")


def main():
    for argument in sys.argv[1:]:
        name, _, rest = argument.partition("=")
        path, _, pre = rest.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            before = compare.rewritten
            write(name, with_pre(path, pre, folder) if pre else path, pre)
            if compare.rewritten > before:
                print(f"{name}: on {compare.rewritten - before} texts llama.cpp's own way of writing the expressions differs")
    if compare.failed:
        sys.exit(f"{compare.failed} texts on which llama.cpp and tokenizers differ")


if __name__ == "__main__":
    main()
