#!/usr/bin/env python3
"""Runs Hugging Face's Phi-3 on tests/data/models/phi3-f32.gguf, with its sliding window, which llama.cpp leaves out.

    pip install torch 'transformers==4.48.3' gguf==0.19.0    # or Debian's python3-torch
    scripts/oracles/model_reference_phi3_window.py tests/data/models

In double precision; saves log-probabilities in the form of model_reference_logits.py as phi3-f32-window.json.
"""
import json
import pathlib
import sys

import gguf
import torch
import transformers
from transformers import Phi3Config, Phi3ForCausalLM

NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER_NAMES = {"attn_norm": "input_layernorm", "attn_qkv": "self_attn.qkv_proj", "attn_output": "self_attn.o_proj",
               "ffn_norm": "post_attention_layernorm", "ffn_up": "mlp.gate_up_proj", "ffn_down": "mlp.down_proj"}


def state_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{LAYER_NAMES[parts[2]]}.weight"
    return f"{NAMES[parts[0]]}.weight"


def load(path: pathlib.Path) -> Phi3ForCausalLM:
    reader = gguf.GGUFReader(path)
    tensors = {t.name: torch.tensor(t.data.tolist(), dtype=torch.float64) for t in reader.tensors}
    factors = {kind: tensors.pop(f"rope_factors_{kind}.weight").tolist() for kind in ("short", "long")}

    def value(key):
        return reader.get_field(f"phi3.{key}").contents()

    vocab, d = tensors["token_embd.weight"].shape
    config = Phi3Config(
        vocab_size=vocab, hidden_size=d, intermediate_size=value("feed_forward_length"), pad_token_id=0,
        num_hidden_layers=value("block_count"), num_attention_heads=value("attention.head_count"),
        num_key_value_heads=value("attention.head_count_kv"), max_position_embeddings=value("context_length"),
        original_max_position_embeddings=value("rope.scaling.original_context_length"),
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"), rope_theta=value("rope.freq_base"),
        sliding_window=value("attention.sliding_window"), tie_word_embeddings=False, attn_implementation="eager",
        rope_scaling={"type": "longrope", "short_factor": factors["short"], "long_factor": factors["long"]})
    model = Phi3ForCausalLM(config).double().eval()
    model.load_state_dict({state_name(name): tensor for name, tensor in tensors.items()})
    return model


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = pathlib.Path(sys.argv[1])
    like = json.loads((folder / "phi3-f32.json").read_text())
    with torch.no_grad():
        out = load(folder / like["model"])(torch.tensor([like["tokens"]]), use_cache=False).logits[0]
    rows = torch.log_softmax(out.double(), dim=-1)[like["positions"]].tolist()
    like["made_by"] = f"transformers {transformers.__version__}, torch {torch.__version__}, float64"
    like["logprobs"] = [[float(f"{v:.8g}") for v in row] for row in rows]
    (folder / "phi3-f32-window.json").write_text(json.dumps(like) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
