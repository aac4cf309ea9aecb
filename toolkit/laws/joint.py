"""The joint law in coordinates: ln L of every method and decoder, its slopes and its priors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from toolkit.laws.cells import Cells
from toolkit.laws.gauss_newton import Prior
from toolkit.laws.links import Link, effective_data
from toolkit.laws.optimiser import Array, Rows

# Priors, as (centre, standard deviation). Exponents of published laws lie between 0.05 and 1.1. R
# is 15 for language models (Muennighoff et al.) and was 2 for contrastive pairs. E is a share of
# the lowest loss, in logits.
PRIORS = {
    "E": (-0.5, 1.5),
    "alpha": (np.log(0.35), 0.6),
    "beta": (np.log(0.5), 0.8),
    "A": (0.0, 3.0),
    "B": (0.0, 3.0),
}
PRIOR_DECAY = (np.log(3.0), 0.8)
# How far one method's may lie from the others': the asymptote and the exponents are nearly shared,
# or, where the runs say so, so many times farther apart.
BETWEEN_METHODS = {"E": 0.1, "alpha": 0.03, "beta": 0.03, "A": 0.4, "B": 0.9}
SHARED = ("E", "alpha", "beta")
SINGLE_BLOCK = 3.0  # Times as far off the law as others may a decoder of one block be.


@dataclass(frozen=True, eq=False)
class Points:
    """Where a surface is asked: methods by number, and for each point its decoder and data.

    Cells are such points, with what came of them.

    Attributes:
        method: (q,) numbers of methods.
        log_params: (q,). decoder: (q,) its number in the cells; -1 for one that was not tried, or
            for the common law that holds no decoder's own effects.
        log_pairs, log_unique: (q,).
    """

    method: Rows
    log_params: Array
    decoder: Rows
    log_pairs: Array
    log_unique: Array


class JointLaw:
    """ln L and its derivatives in coordinates, for the cells of one group of methods."""

    def __init__(self, cells: Cells, link: Link, own: bool | None = None) -> None:
        """Args: own: Whether decoders stand off the law; None where cells are many enough."""
        self.link, self.cells = link, cells
        known = np.isfinite(cells.chance)
        top = float(np.exp(cells.log_loss.max()))
        self.ceiling = cells.chance if known else top
        self.floor = float(np.exp(cells.log_loss.min()))
        self.middle = (float(cells.log_params.mean()), float(cells.log_pairs.mean()))
        # Decoders stand off the law where each is met often enough to tell.
        if own is None:
            own = len(cells.decoders) <= max(3, len(cells.log_loss) // 2)
        methods, effects = len(cells.methods), len(cells.decoders) if own else 0
        self.parts = {n: slice(k * methods, (k + 1) * methods) for k, n in enumerate(PRIORS)}
        self.decay = len(PRIORS) * methods
        self.capacity = slice(self.decay + 1, self.decay + 1 + effects)
        self.efficiency = slice(self.capacity.stop, self.capacity.stop + effects)
        self.size = self.efficiency.stop

    def prior(self, spread: Array, apart: Array) -> Prior:
        """The stated priors, decoders standing off by `spread` (B,), methods `apart` (B,) times."""
        centre, covariance = np.zeros(self.size), np.zeros((self.size, self.size))
        for name, (mean, sd) in PRIORS.items():
            part = self.parts[name]
            centre[part] = mean
            covariance[part, part] = sd**2
        centre[self.decay], covariance[self.decay, self.decay] = PRIOR_DECAY[0], PRIOR_DECAY[1] ** 2
        batch = np.repeat(covariance[None], len(spread), axis=0)
        for name, own in BETWEEN_METHODS.items():
            rows = np.arange(self.parts[name].start, self.parts[name].stop)
            times = apart if name in SHARED else np.ones_like(apart)
            batch[:, rows, rows] += (own * times[:, None]) ** 2
        if self.capacity.stop > self.capacity.start:
            wide = np.where(self.cells.single, SINGLE_BLOCK, 1.0) ** 2
            for part in (self.capacity, self.efficiency):
                rows = np.arange(part.start, part.stop)
                batch[:, rows, rows] = spread[:, None] ** 2 * wide
        return Prior(np.repeat(centre[None], len(spread), axis=0), batch)

    def starts(self) -> Array:
        """A few corners of what is likely; the prior leaves one optimum as a rule."""
        phi = np.zeros((8, self.size))
        corners = product((-2.0, 0.0), np.log((0.2, 0.6)), np.log((0.3, 0.9)))
        for name, column in zip(("E", "alpha", "beta"), zip(*corners, strict=True), strict=True):
            phi[:, self.parts[name]] = np.array(column)[:, None]
        phi[:, self.parts["A"]] = phi[:, self.parts["B"]] = -1.5
        phi[:, self.decay] = PRIOR_DECAY[0]
        return phi

    def __call__(self, phi: Array) -> tuple[Array, Array]:
        return self.at(phi, self.cells, slopes=True)

    def at(self, phi: Array, p: Points | Cells, *, slopes: bool = False) -> tuple[Array, Array]:
        """ln L (B, q) at points, and its derivatives (B, q, K), empty unless asked for."""
        part = {name: phi[:, place][:, p.method] for name, place in self.parts.items()}
        share = 1 / (1 + np.exp(-part["E"]))
        asymptote = self.floor * share
        alpha, beta = np.exp(part["alpha"]), np.exp(part["beta"])
        decay = phi[:, self.decay : self.decay + 1]
        data, by_decay = effective_data(p.log_pairs, p.log_unique, decay)
        z, d = p.log_params - self.middle[0], data - self.middle[1]
        log_a, log_b = part["A"], part["B"]
        known = (p.decoder >= 0) & (self.capacity.stop > self.capacity.start)
        if known.any():
            number = np.maximum(p.decoder, 0)
            log_a = log_a + known * phi[:, self.capacity][:, number]
            log_b = log_b + known * phi[:, self.efficiency][:, number]
        from_size = np.exp(np.clip(log_a - alpha * z, -50, 30))
        from_data = np.exp(np.clip(log_b - beta * d, -50, 30))
        x = from_size + from_data
        h = self.link.value(x)
        loss = asymptote + (self.ceiling - asymptote) * h
        if not slopes:
            return np.log(loss), np.empty(0)
        out = np.zeros((*loss.shape, self.size))
        by_x = (self.ceiling - asymptote) * self.link.slope(x) / loss
        by_size, by_data = by_x * from_size, by_x * from_data
        rows = np.arange(len(p.method))
        for name, slope in {
            "E": (1 - h) / loss * asymptote * (1 - share),
            "alpha": -by_size * z * alpha,
            "beta": -by_data * d * beta,
            "A": by_size,
            "B": by_data,
        }.items():
            out[:, rows, self.parts[name].start + p.method] = slope
        out[:, :, self.decay] = -by_data * beta * by_decay
        if known.any():
            out[:, rows[known], self.capacity.start + p.decoder[known]] = by_size[:, known]
            out[:, rows[known], self.efficiency.start + p.decoder[known]] = by_data[:, known]
        return np.log(loss), out
