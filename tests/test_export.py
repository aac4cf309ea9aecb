"""Export: other tools get the embeddings that the toolkit itself computes."""

import numpy as np
import pytest

from toolkit import load
from toolkit.encoder.export import export
from toolkit.encoder.loading import trained
from toolkit.errors import ToolkitError
from toolkit.runs import RunConfig
from toolkit.training.run import train_encoder

TEXTS = ["return item 00042", "def get_00042(self): # 3", "a much longer text " * 30]


@pytest.mark.parametrize(
    ("method", "pooling"), [("full", "mean"), ("lora", "mean"), ("bias", "last")]
)
def test_sentence_transformers_gives_the_same_embeddings(easy, tmp_path, method, pooling):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    config = RunConfig.from_dict({**easy, "method": method, "pooling": pooling})
    _, model = train_encoder(config)
    ours = trained(model, config).encode(TEXTS)
    folder = export(trained(model, config), tmp_path / "encoder")
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(theirs, ours, atol=2e-6)


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ToolkitError, match="is not empty"):
        export(load("small-3k"), tmp_path)
