"""A run's prefixes go before texts wherever its encoder is at work, as if written there."""

import json

import numpy as np
import pytest

from tests.retrieval.conftest import DOCUMENTS, QUERIES
from toolkit import cli, load
from toolkit.errors import ToolkitError
from toolkit.pairs.texts import TextFile
from toolkit.retrieval import tasks
from toolkit.retrieval.collection import read_collection
from toolkit.retrieval.elsewhere import Elsewhere
from toolkit.retrieval.searching import search
from toolkit.retrieval.similarity import Judged
from toolkit.retrieval.sweep_scores import READING, held_out_scores
from toolkit.retrieval.tasks import search_scores, similarity_scores
from toolkit.retrieval.vectors import embed_file
from toolkit.runs import RunConfig
from toolkit.training.run import train_encoder

QUERY, POSITIVE = "find what answers:", "an answer:\n"
PREFIXES = {"query_prefix": QUERY, "positive_prefix": POSITIVE}


class ByHand:
    """The same encoder with the prefixes written before the texts, or with none."""

    def __init__(self, encoder, query=QUERY, positive=POSITIVE):
        self.encoder, self.prefixes = encoder, {"query": query, "positive": positive}

    def encode(self, texts, *, side=None):
        return self.encoder.encode([self.prefixes.get(side, "") + text for text in texts])


@pytest.fixture
def encoder():
    return load("small-7k", **PREFIXES)


@pytest.fixture
def judged():
    texts = tuple(text for _, text in DOCUMENTS.values())
    pairs = np.stack(np.triu_indices(len(texts), 1), 1)
    return Judged("animals", texts, pairs, np.arange(len(pairs), dtype=float))


@pytest.fixture
def corpus(tmp_path, easy):  # `easy` for its cache
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{text}\n" for _, text in DOCUMENTS.values()))
    return path


def test_a_search_is_scored_with_both(encoder, folder, monkeypatch):
    seen = []
    real = tasks.rankings

    def watched(collection, *sides):
        seen.append(sides)
        return real(collection, *sides)

    monkeypatch.setattr(tasks, "rankings", watched)
    collection = read_collection(folder)
    for one in (encoder, ByHand(encoder), ByHand(encoder, "", "")):
        search_scores(one, collection)
    ours, by_hand, without = seen
    for side in (0, 1):
        np.testing.assert_allclose(ours[side], by_hand[side], atol=1e-6)
        assert np.abs(ours[side] - without[side]).max() > 1e-3


def test_texts_to_be_compared_are_all_queries(encoder, judged, monkeypatch):
    monkeypatch.setattr("toolkit.retrieval.similarity.correlate", lambda judged, vectors: vectors)
    ours, by_hand, without = (
        similarity_scores(one, judged)
        for one in (encoder, ByHand(encoder), ByHand(encoder, "", ""))
    )
    np.testing.assert_allclose(ours, by_hand, atol=1e-6)
    assert np.abs(ours - without).max() > 1e-3


def test_a_question_and_its_corpus_have_each_their_own(encoder, corpus):
    questions = list(QUERIES.values())
    ours, by_hand, without = (
        search(one, TextFile(corpus), questions, k=4)
        for one in (encoder, ByHand(encoder), ByHand(encoder, "", ""))
    )
    for hits, others, plain in zip(ours, by_hand, without, strict=True):
        assert [hit.row for hit in hits] == [hit.row for hit in others]
        cosines, same, different = (
            [hit.similarity for hit in each] for each in (hits, others, plain)
        )
        np.testing.assert_allclose(cosines, same, atol=1e-5)
        assert not np.allclose(cosines, different, atol=1e-4)


@pytest.mark.parametrize("side", ["query", "positive"])
def test_a_file_is_embedded_as_the_side_that_is_said(encoder, corpus, tmp_path, side):
    target = tmp_path / "vectors.npy"
    embed_file(encoder, TextFile(corpus), target, side=side)
    texts = [text for _, text in DOCUMENTS.values()]
    found = np.load(target)
    np.testing.assert_allclose(found, ByHand(encoder).encode(texts, side=side), atol=1e-6)
    assert np.abs(found - encoder.encode(texts)).max() > 1e-3


def test_vectors_begun_as_one_side_do_not_go_on_as_the_other(encoder, corpus, tmp_path):
    target, texts = tmp_path / "vectors.npy", TextFile(corpus)

    def stop(done, _):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_file(encoder, texts, target, window=2, progress=stop)
    with pytest.raises(ToolkitError, match="another side's prefix"):
        embed_file(encoder, texts, target, side="query")
    embed_file(encoder, texts, target)
    assert len(np.load(target)) == len(DOCUMENTS)


def test_a_kept_run_scores_what_its_record_says_and_its_file_is_embedded(
    easy, corpus, tmp_path, capsys
):
    config = RunConfig.from_dict({**easy, **PREFIXES})
    record, _ = train_encoder(config, tmp_path / "run", keep=True)
    encoder = load(tmp_path / "run")
    loss, by_hand, without = (
        held_out_scores(one, config).measures["loss"].value
        for one in (encoder, ByHand(encoder), ByHand(encoder, "", ""))
    )
    assert loss == pytest.approx(record.loss, abs=1e-4) == by_hand
    assert abs(loss - without) > 1e-3
    target = tmp_path / "vectors.npy"
    command = ["embed", str(tmp_path / "run"), str(corpus), "--out", str(target)]
    assert cli.main([*command, "--side", "query"]) == 0
    texts = [QUERY + text for _, text in DOCUMENTS.values()]
    np.testing.assert_allclose(np.load(target), encoder.encode(texts), atol=1e-6)
    with pytest.raises(SystemExit):
        cli.main([*command, "--side", "document"])


def test_held_out_texts_are_told_as_they_were_whatever_their_tokenizer_would_clean(
    easy, encoder, monkeypatch
):
    """transformers warns where a tokenizer is to clean texts up, and one that is no BPE does."""
    from transformers import tokenization_utils_tokenizers as theirs

    from toolkit import decoders

    def cleaning(decoder, load_tokenizer=decoders.load_tokenizer):
        tokenizer = load_tokenizer(decoder)
        tokenizer.clean_up_tokenization_spaces = True
        return tokenizer

    def warned(message):
        raise AssertionError(message)

    config = RunConfig.from_dict({**easy, **PREFIXES})
    expected = held_out_scores(encoder, config)
    monkeypatch.setattr(decoders, "load_tokenizer", cleaning)
    monkeypatch.setattr(theirs.logger, "warning_once", warned)
    assert held_out_scores(encoder, config) == expected


def test_an_untuned_decoder_is_read_with_the_prefixes_of_the_sweep_s_runs():
    assert set(PREFIXES) | {"prefix_in_pooling"} <= set(READING)


def test_another_library_s_prompts_are_its_prefixes(encoder, tmp_path):
    pytest.importorskip("sentence_transformers")
    from toolkit.encoder.export import export

    folder = export(encoder, tmp_path / "encoder")
    elsewhere = Elsewhere.of("theirs", folder)
    texts = list(QUERIES.values())
    for side in ("query", "positive", None):
        expected = encoder.encode(texts, side=side)
        np.testing.assert_allclose(elsewhere.encode(texts, side=side), expected, atol=1e-5)
        np.testing.assert_allclose(load(folder).encode(texts, side=side), expected, atol=1e-5)
    assert json.loads((folder / "toolkit.json").read_text())["config"]["query_prefix"] == QUERY


def test_mteb_s_documents_are_positives_and_all_else_queries(encoder):
    mteb = pytest.importorskip("mteb")
    from toolkit.retrieval.mteb_tasks import _Model

    batches = [{"text": list(QUERIES.values())}]
    types = mteb.types.PromptType
    for given, side in ((types.document, "positive"), (types.query, "query"), (None, "query")):
        np.testing.assert_array_equal(
            _Model(encoder).encode(batches, prompt_type=given),
            encoder.encode(batches[0]["text"], side=side),
        )
