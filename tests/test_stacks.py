"""LangChain's and LlamaIndex's Hugging Face classes, where they are installed, embed as a run does.

Both are the user's own; `pip install langchain-huggingface llama-index-embeddings-huggingface`.
"""

import numpy as np
import pytest

from tests.test_export import BODIES, TEXTS, encoder_of, family
from toolkit.encoder.export import export

PREFIXES = {"query_prefix": "query: ", "positive_prefix": "passage: "}
QUERY, DOCUMENTS = TEXTS[0], [text for text in TEXTS if text]


def langchain(folder):
    module = pytest.importorskip("langchain_huggingface")
    stack = module.HuggingFaceEmbeddings(
        model_name=str(folder),
        model_kwargs={"device": "cpu"},
        encode_kwargs={"prompt_name": "document"},
        query_encode_kwargs={"prompt_name": "query"},
    )
    return stack.embed_query(QUERY), stack.embed_documents(DOCUMENTS)


def llama_index(folder):
    module = pytest.importorskip("llama_index.embeddings.huggingface")
    stack = module.HuggingFaceEmbedding(
        model_name=str(folder),
        device="cpu",
        query_instruction=PREFIXES["query_prefix"],
        text_instruction=PREFIXES["positive_prefix"],
    )
    return stack.get_query_embedding(QUERY), stack.get_text_embedding_batch(DOCUMENTS)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("stack", [langchain, llama_index])
def test_an_export_embeds_in_a_retrieval_stack_as_its_run_does(tmp_path, stack, body, pooling):
    name = family(body, tmp_path / "decoder")
    encoder = encoder_of(name, method="lora", pooling=pooling, **PREFIXES)
    query, documents = stack(export(encoder, tmp_path / "encoder"))
    np.testing.assert_allclose(query, encoder.encode(QUERY, side="query"), atol=1e-5)
    np.testing.assert_allclose(documents, encoder.encode(DOCUMENTS, side="positive"), atol=1e-5)
