"""MTEB's tasks run as its library runs them, here on a small task of its own classes."""

import pytest

from toolkit.errors import ToolkitError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def mteb():
    """The library, which takes seconds to import: only where these tests run."""
    return pytest.importorskip("mteb")


def local_task(mteb):
    """A retrieval task of MTEB's class whose data are made here."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    class Animals(AbsTaskRetrieval):
        metadata = mteb.TaskMetadata(
            name="Animals",
            description="Which text is about the animal?",
            reference=None,
            dataset={"path": "local/animals", "revision": "1"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            sample_creation=None,
            bibtex_citation=None,
        )

        def load_data(self, **_):
            corpus = [("d1", "cat cat cat"), ("d2", "dog and bone"), ("d3", "a fish")]
            queries = [("q1", "the cat"), ("q2", "a dog")]
            self.dataset = {
                "default": {
                    "test": {
                        "corpus": Dataset.from_list(
                            [{"id": k, "text": x, "title": ""} for k, x in corpus]
                        ),
                        "queries": Dataset.from_list([{"id": k, "text": x} for k, x in queries]),
                        "relevant_docs": {"q1": {"d1": 1}, "q2": {"d2": 1}},
                        "top_ranked": None,
                    }
                }
            }
            self.data_loaded = True

    return Animals()


def test_a_local_task_of_mteb_gives_its_scores(mteb, encoder):
    from toolkit.retrieval.mteb_tasks import mteb_scores

    scores = mteb_scores(encoder, local_task(mteb))
    assert scores.task == "mteb:Animals" and scores.main == "ndcg_at_10"
    # "a dog" shares one word with "a fish" and one with "dog and bone": a tie of two.
    assert 0.8 < scores.measures["ndcg_at_10"].value <= 1
    assert scores.measures["recall_at_10"].value == 1


def test_an_unknown_task_of_mteb_is_told_with_its_nearest():
    from toolkit.retrieval.tasks import find

    with pytest.raises(ToolkitError, match=r"no task 'NFCorpsu'; did you mean .*NFCorpus"):
        find("mteb:NFCorpsu")
