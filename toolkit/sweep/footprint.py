"""How much memory a run will take at its peak, from shapes alone, before anything starts. No torch.

Weights, gradients and AdamW's two moments in float32; where products are in bfloat16 a rounded copy
of the linear layers; and the graph, of which as much is kept as fits in half of the free memory:
what goes in and out of each linear layer, and the attention weights.
"""

from __future__ import annotations

from toolkit.contrast.packing import CPU_CHUNK
from toolkit.decoders import Shape
from toolkit.methods import Method, resolve
from toolkit.runs import RunConfig

# Python, torch, transformers and a notebook's kernel, on a processor; pairs are mapped, not read.
PROCESS_BYTES = 750_000_000
# Of the free memory, for kept graphs: `toolkit.contrast.memory.SHARE`.
_SHARE = 0.5
_FLOAT32, _BFLOAT16 = 4, 2
_WINDOW = 80  # Slots of a text of the study's length in attention.


def peak_bytes(
    config: RunConfig, shape: Shape, tokens: int, free: float, *, on_gpu: bool = False
) -> float:
    """Bytes that a run takes at its peak.

    Args:
        config: Of the run. shape: Of its decoder.
        tokens: Of a step, queries and positives and what pads them.
        free: Bytes that are free before it starts.
        on_gpu: Its memory alone, without the process around it.
    """
    method = resolve(config, shape)
    rounded = config.precision == "bfloat16"
    fixed = (0 if on_gpu else PROCESS_BYTES) + state_bytes(shape, method)
    if rounded:
        fixed += _BFLOAT16 * shape.layers * sum(x.inputs * x.outputs for x in shape.block)
    each = token_bytes(shape, method, rounded=rounded)
    if config.checkpointing:
        each = _FLOAT32 * shape.hidden * shape.layers
    kept = min(tokens, max(CPU_CHUNK, _SHARE * max(0.0, free - fixed) / each))
    if config.chunk_tokens is not None:
        kept = min(tokens, config.chunk_tokens)
    # The stream of embeddings and its gradient, and one block's temporaries in the backward pass.
    stream = 2 * _FLOAT32 * shape.hidden * tokens
    chunk = min(tokens, config.chunk_tokens or CPU_CHUNK)
    return fixed + each * kept + stream + chunk * each / max(1, shape.layers)


def state_bytes(shape: Shape, method: Method) -> int:
    """Of weights, gradients and the optimiser's moments."""
    everything = shape.params + shape.vocabulary * shape.hidden + method.added_params(shape)
    return _FLOAT32 * (everything + 3 * method.trained_values(shape))


def token_bytes(shape: Shape, method: Method, *, rounded: bool = False) -> float:
    """What the graph keeps of a token: of the blocks that take part in the backward pass."""
    size = _BFLOAT16 if rounded else _FLOAT32
    linears = sum(x.inputs + x.outputs for x in shape.block)
    block = size * (linears + shape.heads * _WINDOW)
    return block * _blocks(shape, method)


def _blocks(shape: Shape, method: Method) -> int:
    """How many blocks keep a graph: those from the lowest trained one on."""
    if method.trains_before(shape):
        return shape.layers
    depths = [x for x in range(shape.layers) if _trains_block(shape, method, x)]
    return max(depths, default=-1) + 1


def _trains_block(shape: Shape, method: Method, above: int) -> bool:
    return any(
        method.trains(f"{x.name}.weight", above)
        or method.trains(f"{x.name}.bias", above)
        or method.adapter(x, above)
        for x in shape.block
    )
