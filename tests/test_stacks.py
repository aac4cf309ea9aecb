"""LangChain's and LlamaIndex's Hugging Face classes, where they are installed, embed as a run does.

Both are the user's own; `pip install langchain-huggingface llama-index-embeddings-huggingface`.
"""

from importlib.util import find_spec

import numpy as np
import pytest

from tests.test_export import BODIES, TEXTS, encoder_of, family
from toolkit.encoder.export import export

PREFIXES = {"query_prefix": "query: ", "positive_prefix": "passage: "}
QUERY, DOCUMENTS = TEXTS[0], [text for text in TEXTS if text]


def langchain(folder):
    from langchain_huggingface import HuggingFaceEmbeddings

    stack = HuggingFaceEmbeddings(
        model_name=str(folder),
        model_kwargs={"device": "cpu"},
        encode_kwargs={"prompt_name": "document"},
        query_encode_kwargs={"prompt_name": "query"},
    )
    return stack.embed_query(QUERY), stack.embed_documents(DOCUMENTS)


def llama_index(folder):
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    stack = HuggingFaceEmbedding(
        model_name=str(folder),
        device="cpu",
        query_instruction=PREFIXES["query_prefix"],
        text_instruction=PREFIXES["positive_prefix"],
    )
    return stack.get_query_embedding(QUERY), stack.get_text_embedding_batch(DOCUMENTS)


def where(package, stack):
    """A stack's case, skipped where it is not installed."""
    absent = pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")
    return pytest.param(stack, id=package, marks=absent)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    "stack", [where("langchain_huggingface", langchain), where("llama_index", llama_index)]
)
def test_an_export_embeds_in_a_retrieval_stack_as_its_run_does(tmp_path, stack, body, pooling):
    name = family(body, tmp_path / "decoder")
    encoder = encoder_of(name, method="lora", pooling=pooling, **PREFIXES)
    query, documents = stack(export(encoder, tmp_path / "encoder"))
    np.testing.assert_allclose(query, encoder.encode(QUERY, side="query"), atol=1e-5)
    np.testing.assert_allclose(documents, encoder.encode(DOCUMENTS, side="positive"), atol=1e-5)
