#!/usr/bin/env python3
"""Writes the small vocabularies of the tokenizer tests: tests/data/text/tiny-bpe.gguf and tiny-spm.gguf.

Both are trained on tests/data/text/corpus.jsonl: the first by `tokenizers` (byte-level BPE), the second by
`sentencepiece` (BPE with byte fallback and a blank before the text, like Llama 2's). They hold a vocabulary and no
weights. Needs: gguf, tokenizers, sentencepiece. Usage: text_vocab.py [FOLDER]
"""
import io
import json
import pathlib
import sys

import gguf
import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>"]
USERS = ["<tool_call>", "</tool_call>", "  ", "   ", "<tool"]


def corpus(folder):
    for line in (folder / "corpus.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "text" in entry and not entry["name"].startswith("extra_"):
            yield entry["text"]


def writer(path, model):
    out = gguf.GGUFWriter(str(path), "llama")
    # llama.cpp asks for these even when it loads a vocabulary only.
    out.add_context_length(64)
    out.add_embedding_length(32)
    out.add_block_count(1)
    out.add_feed_forward_length(32)
    out.add_head_count(1)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_tokenizer_model(model)
    return out


def finish(out):
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.close()


def write_bpe(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=1200, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(corpus(folder), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    # A word that no merge leads to: only a tokenizer that takes whole words first (llama-bpe) may give this one.
    tokens += ["\u0120resting"] if "\u0120resting" not in tokens else []
    out = writer(folder / "tiny-bpe.gguf", "gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens + CONTROLS + USERS)
    out.add_token_types([NORMAL] * len(tokens) + [CONTROL] * len(CONTROLS) + [USER] * len(USERS))
    out.add_token_merges([" ".join(m) for m in model["merges"]])
    out.add_bos_token_id(len(tokens) + 3)
    out.add_eos_token_id(len(tokens))
    finish(out)


def write_spm(folder):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(t for t in corpus(folder) if "\0" not in t), model_writer=model, model_type="bpe",
        vocab_size=1200, byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity",
        remove_extra_whitespaces=False, split_digits=True, minloglevel=2)
    trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    tokens, scores, types = [], [], []
    for i in range(trained.get_piece_size()):
        tokens.append(trained.id_to_piece(i))
        scores.append(trained.get_score(i))
        types.append(UNKNOWN if trained.is_unknown(i) else CONTROL if trained.is_control(i)
                     else BYTE if trained.is_byte(i) else NORMAL)
    out = writer(folder / "tiny-spm.gguf", "llama")
    out.add_token_list(tokens + ["[INST]", "<tool_call>"])
    out.add_token_scores(scores + [0.0, 0.0])
    out.add_token_types(types + [USER, USER])
    finish(out)


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                          pathlib.Path(__file__).parents[2] / "tests" / "data" / "text")
    write_bpe(target)
    write_spm(target)
