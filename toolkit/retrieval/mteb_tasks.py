"""MTEB's tasks (Muennighoff et al. 2023, arXiv:2210.07316), through its own library.

Its data come from the Hugging Face hub; without a network only what is in that hub's cache is
there. The numbers are the library's; it gives no intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import SurroundingsError, ToolkitError, nearest
from toolkit.laws.estimate import Estimate
from toolkit.scores import Scores

if TYPE_CHECKING:
    from toolkit.retrieval.encoders import Encodes
    from toolkit.retrieval.tasks import Task


def mteb_task(name: str) -> Task:
    """A task of MTEB's by its name.

    Raises:
        ToolkitError: MTEB has none of that name. ModuleNotFoundError: The extra is not installed.
    """
    import mteb

    from toolkit.retrieval.tasks import MTEB, Task

    try:
        task = mteb.get_task(name)
    except KeyError as error:
        known = sorted(each.metadata.name for each in mteb.get_tasks())
        raise ToolkitError(f"MTEB has no task {name!r}{nearest(name, known)}") from error
    revision = str(task.metadata.dataset.get("revision", ""))[:16]
    return Task(f"{MTEB}{name}", lambda encoder: mteb_scores(encoder, task), revision)


def mteb_scores(encoder: Encodes, task: Any) -> Scores:
    """What an encoder comes to on one of MTEB's tasks: every measure that it gives.

    Each is the mean over the task's splits and subsets (languages), as MTEB's own main score is.

    Args:
        task: An `mteb.AbsTask`, of the library or of one's own.

    Raises:
        SurroundingsError: Its data are not to be had. ToolkitError: It failed.
    """
    import mteb

    from toolkit.retrieval.tasks import MTEB

    name = task.metadata.name
    try:
        result = mteb.evaluate(_Model(encoder), task, cache=None, show_progress_bar=False)
    except (ConnectionError, OSError) as error:
        raise SurroundingsError(f"the data of MTEB's {name} are not to be had: {error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("httpx", "huggingface_hub", "requests"):
            raise SurroundingsError(
                f"the data of MTEB's {name} are not to be had: {error}"
            ) from error
        raise ToolkitError(f"MTEB's {name} failed: {type(error).__name__}: {error}") from error
    (found,) = result.task_results
    every = [scores for subsets in found.scores.values() for scores in subsets]
    names = [k for k, v in every[0].items() if isinstance(v, (int, float))]
    main = task.metadata.main_score
    means = {key: float(np.mean([scores[key] for scores in every])) for key in names}
    means.pop("main_score", None)
    means.setdefault(main, float(found.get_score()))
    return Scores(
        f"{MTEB}{name}",
        main,
        {key: Estimate(value) for key, value in means.items()},
        len(every),
        "splits",
        "as MTEB gives them, without intervals",
    )


class _Model:
    """One of our encoders as MTEB wants it (`mteb.models.EncoderProtocol`)."""

    def __init__(self, encoder: Encodes) -> None:
        from mteb.models import ModelMeta

        self.encoder = encoder
        self.mteb_model_meta = ModelMeta.create_empty({"name": "decoders-to-encoders/encoder"})

    def encode(self, inputs: Any, *, prompt_type: Any = None, **_: Any) -> np.ndarray:
        """Vectors of a loader's texts, in order; what MTEB calls no document is a query."""
        side = "positive" if prompt_type == "document" else "query"
        texts = [text for batch in inputs for text in batch["text"]]
        return self.encoder.encode(texts, side=side)

    def similarity(self, first: Any, second: Any) -> Any:
        """Cosines of all pairs: vectors have unit length."""
        import torch

        return torch.as_tensor(np.asarray(first) @ np.asarray(second).T)

    def similarity_pairwise(self, first: Any, second: Any) -> Any:
        """Cosines of one with one."""
        import torch

        return torch.as_tensor(np.einsum("nh,nh->n", np.asarray(first), np.asarray(second)))
