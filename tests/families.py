"""Tiny configurations of many architectures: counted right, or refused."""

from typing import Any

from transformers import AutoConfig

_COMMON = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
_GATED = {**_COMMON, "intermediate_size": 48, "num_key_value_heads": 2}
_GPT2 = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_EXPERTS = {
    **_GATED,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
}
_OPT = {**_COMMON, "ffn_dim": 64, **_TOKENS}

# What each is called here: its type in transformers, and its settings.
COUNTED: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt-neox": ("gpt_neox", {**_COMMON, "intermediate_size": 64}),
    "gpt-neox sequential": (
        "gpt_neox",
        {**_COMMON, "intermediate_size": 64, "use_parallel_residual": False},
    ),
    "gpt2": ("gpt2", _GPT2),
    "openai-gpt": ("openai-gpt", _GPT2),
    "gptj": ("gptj", {**_GPT2, "rotary_dim": 4}),
    "gpt-neo": (
        "gpt_neo",
        {
            "vocab_size": 97,
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 64,
        },
    ),
    "gpt-bigcode": ("gpt_bigcode", _GPT2),
    "codegen": ("codegen", {**_GPT2, "rotary_dim": 4}),
    "bloom": ("bloom", {"vocab_size": 97, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "mpt": ("mpt", {"vocab_size": 97, "d_model": 32, "n_layers": 2, "n_heads": 4}),
    "opt": ("opt", {**_OPT, "word_embed_proj_dim": 32}),
    "xglm": (
        "xglm",
        {"vocab_size": 97, "d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64},
    ),
    "biogpt": ("biogpt", {**_COMMON, "intermediate_size": 48}),
    "llama": ("llama", _GATED),
    "mistral": ("mistral", _GATED),
    "qwen2": ("qwen2", _GATED),
    "qwen3": ("qwen3", {**_GATED, "head_dim": 8}),
    "gemma": ("gemma", {**_GATED, "head_dim": 8}),
    "gemma2": ("gemma2", {**_GATED, "head_dim": 8}),
    "gemma3": ("gemma3_text", {**_GATED, "head_dim": 8}),
    "phi": ("phi", {**_GATED, "partial_rotary_factor": 0.5}),
    "phi3": ("phi3", {**_GATED, **_TOKENS}),
    "stablelm": ("stablelm", _GATED),
    "falcon": ("falcon", _COMMON),
    "falcon new": ("falcon", {**_COMMON, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon alibi": ("falcon", {**_COMMON, "alibi": True}),
    "olmo": ("olmo", _GATED),
    "olmo2": ("olmo2", _GATED),
    "smollm3": ("smollm3", {**_GATED, **_TOKENS}),
    "cohere": ("cohere", _GATED),
    "cohere2": ("cohere2", _GATED),
    "granite": ("granite", _GATED),
    "starcoder2": ("starcoder2", _GATED),
    "nemotron": ("nemotron", _GATED),
    "glm4": ("glm4", {**_GATED, "head_dim": 8, **_TOKENS}),
    "exaone4": ("exaone4", _GATED),
    "diffllama": ("diffllama", _GATED),
    "nanochat": ("nanochat", _GATED),
}

MIXTURE, ENCODER, UNLIKE = "mixtures of experts", "not a causal decoder", "are not alike"
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "mixtral": ("mixtral", _EXPERTS, MIXTURE),
    "qwen2-moe": ("qwen2_moe", {**_EXPERTS, "shared_expert_intermediate_size": 24}, MIXTURE),
    "qwen3-moe": ("qwen3_moe", {**_EXPERTS, "head_dim": 8}, MIXTURE),
    "olmoe": ("olmoe", _EXPERTS, MIXTURE),
    "granite-moe": ("granitemoe", _EXPERTS, MIXTURE),
    "gpt-oss": ("gpt_oss", {**_EXPERTS, "head_dim": 8}, MIXTURE),
    "deepseek-v3": (
        "deepseek_v3",
        {
            **_EXPERTS,
            "n_routed_experts": 4,
            "first_k_dense_replace": 1,
            "n_group": 2,
            "topk_group": 1,
            "q_lora_rank": 16,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
        UNLIKE,
    ),
    "recurrent-gemma": ("recurrent_gemma", {**_GATED, "head_dim": 8}, "recurrent blocks"),
    "mamba": (
        "mamba",
        {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2},
        "recurrent blocks",
    ),
    "opt projected": ("opt", {**_OPT, "word_embed_proj_dim": 16}, "projected embeddings"),
    "lfm2": ("lfm2", {**_GATED, "layer_types": ["conv", "full_attention"]}, UNLIKE),
    "bert": ("bert", {**_COMMON, "intermediate_size": 48}, ENCODER),
    "roberta": ("roberta", {**_COMMON, "intermediate_size": 48}, ENCODER),
    "modernbert": ("modernbert", {**_COMMON, "intermediate_size": 48, **_TOKENS}, ENCODER),
    "t5": ("t5", {"vocab_size": 97, "d_model": 32, "num_layers": 2, "num_heads": 4}, ENCODER),
    "bart": ("bart", {"vocab_size": 97, "d_model": 32}, ENCODER),
    "vit": ("vit", {"hidden_size": 32, "num_hidden_layers": 2}, ENCODER),
    "gemma3 with eyes": ("gemma3", {}, "more than a text decoder"),
}

# Of those counted: why their tokens cannot be made to see later ones exactly.
ONLY_CAUSAL = {
    "gpt-neo": "masks later tokens whatever it is told",
    "stablelm": "masks later tokens whatever it is told",
    "nemotron": "masks later tokens whatever it is told",
    "bloom": "ALiBi",
    "mpt": "ALiBi",
    "falcon alibi": "ALiBi",
}


def config_of(name: str) -> Any:
    """The configuration of a family, by its name here."""
    kind, settings, *_ = {**COUNTED, **REFUSED}[name]
    return AutoConfig.for_model(kind, **settings)
