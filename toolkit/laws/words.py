"""A fit in words, for a terminal."""

from __future__ import annotations

from typing import Any


def as_text(report: dict[str, Any]) -> str:
    """A fit for a terminal, from what `toolkit.laws.report` tells of it."""
    starts = report["starts"]
    lines = [
        report["equation"],
        f"{report['status']}: {report['n_points']} runs, objective {report['objective']:.6g} "
        f"({report['objective_kind']}), reached by {starts['reached_best']} of {starts['tried']} "
        "starts",
    ]
    for name, estimate in {**report["params"], **report["derived"]}.items():
        held = ", pinned" if name in report.get("pinned", {}) else ""
        lines.append(f"  {name:18} {_interval(estimate, bare=bool(held))}{held}")
    middle = report.get("middle", {"amplitudes": {}})
    if middle["amplitudes"]:
        lines.append(
            f"  at the middle, {_place(middle['at'])}: loss {_interval(middle['loss'])}; its terms"
        )
    for name, estimate in middle["amplitudes"].items():
        lines.append(f"    {name:16} {_interval(estimate)}")
    for minimum in report.get("minima", ()):
        size = minimum[report["x"]]["value"]
        best = minimum[f"best_{report['x']}"]
        where = f"{size:.4g}" if size is not None else f"none; best size tried {best:.4g}"
        note = f" ({minimum['reason']})" if minimum["reason"] else ""
        lines.append(f"  minimum at {minimum['budget_flop']:.3g} FLOP: {where}{note}")
    for said in report.get("at", ()):
        parts = [
            f"{n} {_interval(said[n])}" for n in ("params", "tokens", "loss", "value") if n in said
        ]
        note = " (extrapolated)" if said["extrapolated"] else ""
        if "laws" not in report and "params" in said:
            note += ", with C = 6 N D"
        lines.append(f"  at {_place(said['at'])}: {', '.join(parts)}{note}")
    for rival in report["rivals"]:
        params = ", ".join(f"{n} {v:.4g}" for n, v in rival["params"].items())
        lines.append(f"  rival optimum: objective {rival['objective']:.6g} at {params}")
    if "held_out" in report:
        lines.append(f"  {report['held_out']['statement']}")
    lines += [f"  {path}" for path in report.get("figures", ())]
    lines += [f"  ! {warning}" for warning in report["warnings"]]
    return "\n".join(lines)


def _place(at: float | dict[str, float]) -> str:
    """A budget, or a point of the columns."""
    if isinstance(at, float):
        return f"{at:.3g}"
    return ", ".join(f"{name} {value:.3g}" for name, value in at.items())


def _interval(estimate: dict[str, float | None], bare: bool = False) -> str:
    """A value and its interval; without one where an end is open or unknown, or it is held."""
    value, low, high = (estimate[end] for end in ("value", "low", "high"))
    if value is None:
        return "unknown"
    return f"{value:.6g}" + (
        "" if bare or low is None or high is None else f" ({low:.4g} to {high:.4g})"
    )
