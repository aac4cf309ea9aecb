"""What a target can buy: every decoder with every method, and the runs that were made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.laws.cells import Cells
from toolkit.laws.optimiser import Array, Mask, Rows


@dataclass(frozen=True, eq=False)
class Pool:
    """Choices for one target: (q,) combinations of a decoder and a method.

    Attributes:
        target: FLOP that the chosen one will be trained with.
        methods: Names, the likely one first; `method` (q,) are their numbers.
        decoders: (J,) non-embedding parameters, ascending; `decoder` (q,) are their numbers.
        single: (J,) whether a decoder has a single block: such a one obeys no common law.
        flop_per_pair: (q,).
        unique: Distinct pairs at hand; infinite where that is not known.
        chance: ln K over K candidates; NaN where it is not known.
        noise: Standard deviation of ln loss between seeds.
    """

    target: float
    methods: tuple[str, ...]
    method: Rows
    decoders: Array
    decoder: Rows
    single: Mask
    flop_per_pair: Array
    unique: float
    chance: float
    noise: float = 0.01

    @property
    def params(self) -> Array:
        return self.decoders[self.decoder]

    def __len__(self) -> int:
        return len(self.method)


@dataclass(frozen=True, eq=False)
class Runs:
    """Finished runs: which choice of the pool, for how many FLOP, with which held-out loss."""

    choice: Rows
    flop: Array
    loss: Array

    @classmethod
    def none(cls) -> Runs:
        return cls(np.empty(0, int), np.empty(0), np.empty(0))

    def __add__(self, other: Runs) -> Runs:
        return Runs(*(np.concatenate((getattr(self, n), getattr(other, n)))
                      for n in ("choice", "flop", "loss")))  # fmt: skip

    def __len__(self) -> int:
        return len(self.choice)

    def only(self, rows: Mask) -> Runs:
        return Runs(self.choice[rows], self.flop[rows], self.loss[rows])

    @property
    def spent(self) -> float:
        return float(self.flop.sum())

    def cells(self, pool: Pool) -> Cells:
        """The runs as a surface wants them, every decoder of the pool among its decoders."""
        pairs = self.flop / pool.flop_per_pair[self.choice]
        return Cells(
            methods=pool.methods,
            method=pool.method[self.choice],
            decoders=pool.decoders,
            decoder=pool.decoder[self.choice],
            single=pool.single,
            log_pairs=np.log(pairs),
            log_unique=np.full(len(self), np.log(pool.unique)),
            log_flop=np.log(self.flop),
            log_loss=np.log(self.loss),
            runs=np.ones(len(self)),
            chance=pool.chance,
            noise=pool.noise,
        )
