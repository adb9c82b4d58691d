"""Writes a vision model of random weights: DIRECTORY/tiny.gguf and DIRECTORY/tiny-mmproj.gguf, 0.5 MB each.

A LLaMA of two layers and a CLIP projector, just large enough to be loaded by llama.cpp and to answer. What it writes is
noise; that it ends by itself now and then, or at its token budget, is what tests need. The same files each time.
Usage: tiny-vision-model.py DIRECTORY [CONTEXT]
"""

import sys
from pathlib import Path

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, FEED_FORWARD = 64, 2, 2, 128
IMAGE_SIDE, PATCH = 56, 14  # 16 patches, so 16 tokens for an image
SPECIALS = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
BEGIN, END, PAD = 1, 4, 0
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

numbers = np.random.default_rng(0)


def random(*shape, scale=0.2):
    return (numbers.standard_normal(shape) * scale).astype(np.float32)


def ones(length):
    return np.ones(length, np.float32)


def zeros(length):
    return np.zeros(length, np.float32)


def byte_letters():
    """The visible letter that GPT-2's tokenizer uses for each byte."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible}
    letters.update({byte: chr(256 + number) for number, byte in enumerate(hidden)})
    return [letters[byte] for byte in range(256)]


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_language_model(path, context):
    # llama.cpp refuses a vocabulary without a merge: "th" is the one.
    tokens = [*SPECIALS, *byte_letters(), "th"]
    kinds = [gguf.TokenType.CONTROL] * len(SPECIALS)
    kinds += [gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIALS))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny-random")
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)
    writer.add_tensor("token_embd.weight", random(len(tokens), WIDTH, scale=1.0))
    writer.add_tensor("output_norm.weight", ones(WIDTH))
    # Printable letters are likely, and the end is within reach; all else has the weight 0.
    output = np.zeros((len(tokens), WIDTH), np.float32)
    for byte in range(32, 127):
        output[len(SPECIALS) + byte] = random(WIDTH, scale=0.3)
    output[END] = random(WIDTH, scale=0.25)
    writer.add_tensor("output.weight", output)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", ones(WIDTH))
        writer.add_tensor(f"{block}.ffn_norm.weight", ones(WIDTH))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}.{name}.weight", random(WIDTH, WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"{block}.{name}.weight", random(FEED_FORWARD, WIDTH))
        writer.add_tensor(f"{block}.ffn_down.weight", random(WIDTH, FEED_FORWARD))
    finish(writer)


def write_projector(path):
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_string("general.type", "mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", False)
    sizes = {
        "image_size": IMAGE_SIDE,
        "patch_size": PATCH,
        "embedding_length": WIDTH,
        "feed_forward_length": FEED_FORWARD,
        "block_count": LAYERS,
        "projection_dim": WIDTH,
        "attention.head_count": HEADS,
    }
    for name, value in sizes.items():
        writer.add_uint32(f"clip.vision.{name}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.48145466, 0.4578275, 0.40821073])
    writer.add_array("clip.vision.image_std", [0.26862954, 0.26130258, 0.27577711])
    patches = (IMAGE_SIDE // PATCH) ** 2
    writer.add_tensor("v.class_embd", random(WIDTH, scale=0.05))
    writer.add_tensor("v.patch_embd.weight", random(WIDTH, 3, PATCH, PATCH, scale=0.05))
    writer.add_tensor("v.position_embd.weight", random(patches + 1, WIDTH, scale=0.05))
    writer.add_tensor("v.pre_ln.weight", ones(WIDTH))
    writer.add_tensor("v.pre_ln.bias", zeros(WIDTH))
    for layer in range(LAYERS):
        block = f"v.blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            writer.add_tensor(f"{block}.{name}.weight", random(WIDTH, WIDTH))
            writer.add_tensor(f"{block}.{name}.bias", zeros(WIDTH))
        for name in ("ln1", "ln2"):
            writer.add_tensor(f"{block}.{name}.weight", ones(WIDTH))
            writer.add_tensor(f"{block}.{name}.bias", zeros(WIDTH))
        writer.add_tensor(f"{block}.ffn_down.weight", random(WIDTH, FEED_FORWARD))
        writer.add_tensor(f"{block}.ffn_down.bias", zeros(WIDTH))
        writer.add_tensor(f"{block}.ffn_up.weight", random(FEED_FORWARD, WIDTH))
        writer.add_tensor(f"{block}.ffn_up.bias", zeros(FEED_FORWARD))
    for number in (0, 2):
        writer.add_tensor(f"mm.{number}.weight", random(WIDTH, WIDTH))
        writer.add_tensor(f"mm.{number}.bias", zeros(WIDTH))
    finish(writer)


def main():
    directory = Path(sys.argv[1])
    context = int(sys.argv[2]) if len(sys.argv) > 2 else 4096
    write_language_model(directory / "tiny.gguf", context)
    write_projector(directory / "tiny-mmproj.gguf")


main()
