"""What a run shows, in a sentence or two, made from its measurements and never saying more than their verdicts do."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from loopsim.measure import Summary, interval, summaries
from loopsim.records import NO_CONTROL

FEW = 3
"""So many cells are named one by one; more are counted."""
_VERDICTS = ("decay", "no decay", "rise", "undecided")
_PLURAL = {"image": "pictures", "text": "captions"}


@dataclass(frozen=True)
class Headline:
    """What stands at the top of a report."""

    sentences: tuple[str, ...]
    """The finding, with intervals."""
    notes: tuple[str, ...]
    """What a reader must know to read it rightly."""
    lines: tuple[Summary, ...]
    """The cells it is made from, then those of the controls."""


def headline(measurements: pd.DataFrame | None) -> Headline:
    """The finding of a run.

    Args:
        measurements: of a whole run, as `loopsim.measure.measure_run` returns them; None where it was not measured.
    """
    if measurements is None:
        return Headline(("This run has not been measured yet.",), (), ())
    measurements, broken = _arms(measurements)
    lines = [line for line in summaries(measurements) if line.modality in _PLURAL]
    beside = [line for line in summaries(broken) if line.modality in _PLURAL] if len(broken) else []
    if not lines:
        why = "no distances between trajectories were measured, for want of embeddings or of trajectories"
        return Headline((f"Nothing can be said about convergence: {why}.",), (), tuple(beside))
    first = lines[0].embedder
    mine = [line for line in lines if line.embedder == first]
    sentences = [
        _diversity(modality, [x for x in mine if x.modality == modality], measurements) for modality in _PLURAL
    ]
    sentences += [_memory(mine), _ends(mine), _absorbed(measurements)]
    sentences.append(_controls([line for line in beside if line.embedder == first]))
    return Headline(tuple(one for one in sentences if one), tuple(_notes(mine, lines)), (*lines, *beside))


def _arms(measurements: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the loop itself, and those of its controls, which are broken on purpose and show nothing of it."""
    if "control" not in measurements:
        return measurements, measurements.iloc[:0]
    broken = measurements["control"].notna() & (measurements["control"] != NO_CONTROL)
    return measurements[~broken], measurements[broken]


# ---- between-trajectory diversity ------------------------------------------------------------------------------------


def _diversity(modality: str, lines: Sequence[Summary], measurements: pd.DataFrame) -> str:
    if not lines:
        return ""
    what = _PLURAL[modality]
    share = _margin(measurements)
    if len(lines) == 1:
        return _one(what, lines[0], share)
    if len(lines) <= FEW:
        return f"{what.capitalize()}: {'; '.join(_clause(line, lines, share) for line in lines)}."
    return _counted(what, lines, share)


def _one(what: str, line: Summary, share: str) -> str:
    ends = _ends_of_curve(line)
    if line.verdict == "decay":
        return f"Between-trajectory diversity of {what} fell {ends}{_pace(line)}."
    if line.verdict == "rise":
        return f"Between-trajectory diversity of {what} rose {ends}{_pace(line)}."
    if line.verdict == "no decay":
        return f"No convergence of {what}: between-trajectory diversity stayed within {share} of its start, {ends}."
    if math.isnan(line.first[0]) and math.isnan(line.last[0]):
        return f"Nothing can be said about a convergence of {what}: {line.reason}."
    went = "was" if line.first_t == line.last_t else "went"
    return f"Whether {what} converge is undecided (between-trajectory diversity {went} {ends}): {_neither(line)}."


def _clause(line: Summary, among: Sequence[Summary], share: str) -> str:
    ends, where = _ends_of_curve(line), _where(line, among)
    if line.verdict == "decay":
        return f"between-trajectory diversity fell {where}, {ends}{_pace(line)}"
    if line.verdict == "rise":
        return f"between-trajectory diversity rose {where}, {ends}{_pace(line)}"
    if line.verdict == "no decay":
        return f"no convergence {where}, where diversity stayed within {share} of its start ({ends})"
    return f"undecided {where} ({ends})"


def _counted(what: str, lines: Sequence[Summary], share: str) -> str:
    of = {verdict: [line for line in lines if line.verdict == verdict] for verdict in _VERDICTS}
    there = [verdict for verdict in _VERDICTS if of[verdict]]
    where = f"{len(lines)} conditions and groups of starts"
    if len(there) == 1:
        span, reasons = _span(lines), {_neither(line) for line in lines}
        why = reasons.pop() if len(reasons) == 1 else "neither a change nor its absence is shown"
        return {
            "decay": f"Between-trajectory diversity of {what} fell in all {where}, {span}{_half_lives(lines)}.",
            "no decay": f"No convergence of {what} in any of {where}: "
            f"between-trajectory diversity stayed within {share} of its start, {span}.",
            "rise": f"Between-trajectory diversity of {what} rose in all {where}, {span}.",
            "undecided": f"Whether {what} converge is undecided in all {where} (diversity went {span}): {why}.",
        }[there[0]]
    told = {
        "decay": "it fell in",
        "no decay": f"it stayed within {share} of its start in",
        "rise": "it rose in",
        "undecided": "it is undecided in",
    }
    parts = [f"{told[v]} {len(of[v])}, {_span(of[v])}{_half_lives(of[v])}" for v in there]
    return f"Between-trajectory diversity of {what}, in {where}: {'; '.join(parts)}."


def _span(lines: Sequence[Summary]) -> str:
    """From where to where several curves go: their values, and the outermost limits of their intervals."""
    ends = []
    for name, at in (("first", "first_t"), ("last", "last_t")):
        values = [getattr(line, name) for line in lines if math.isfinite(getattr(line, name)[0])]
        ts = sorted({getattr(line, at) for line in lines})
        when = f"t = {ts[0]}" if len(ts) == 1 else f"t = {ts[0]} to {ts[-1]}"
        ends.append(f"{_outermost(values)} at {when}" if values else f"– at {when}")
    return f"from {ends[0]} to {ends[1]}"


def _outermost(values: Sequence[tuple[float, float, float]]) -> str:
    low, high = (f"{pick(v[0] for v in values):.2f}" for pick in (min, max))
    known = [v for v in values if math.isfinite(v[1]) and math.isfinite(v[2])]
    some = "" if len(known) == len(values) else f" in {len(known)} of {len(values)}"
    limits = f" [{min(v[1] for v in known):.2f}, {max(v[2] for v in known):.2f}{some}]" if known else ""
    return (low if low == high else f"{low}–{high}") + limits


def _half_lives(lines: Sequence[Summary]) -> str:
    """Of those that fell and have one."""
    known = [line.half_life[0] for line in lines if math.isfinite(line.half_life[0]) and line.verdict == "decay"]
    if not known:
        return ""
    low, high = (f"{pick(known):.1f}" for pick in (min, max))
    span = low if low == high else f"{low} to {high}"
    return f", half-life {span} iterations{'' if len(known) == len(lines) else f' in {len(known)} of them'}"


def _ends_of_curve(line: Summary) -> str:
    if line.first_t == line.last_t:
        return f"{interval(line.first, 2)} at t = {line.first_t}"
    return f"from {interval(line.first, 2)} at t = {line.first_t} to {interval(line.last, 2)} at t = {line.last_t}"


def _pace(line: Summary) -> str:
    half, level = "", ""
    if math.isfinite(line.half_life[0]):
        span = f"{interval(line.half_life, 1)} iterations"
        half = f", half-life {span}" if line.verdict == "decay" else f", half of it within {span}"
    if math.isfinite(line.plateau[0]):
        # A fitted curve may level off a little below 0, where no distance can be.
        level = f", levelling off at {interval(line.plateau, 2)}" if line.plateau[0] >= 0 else ", towards 0"
    return half + level


def _neither(line: Summary) -> str:
    """Why nothing is decided; the reason as it was measured where there were too few iterations for a test."""
    if line.reason.startswith("change "):
        return "neither a change nor its absence is shown"
    return line.reason or "neither a change nor its absence is shown"


def _where(line: Summary, among: Sequence[Summary]) -> str:
    label = line.label if len({x.label for x in among}) > 1 else ""
    group = f"{line.group} starts" if line.group and len({x.group for x in among}) > 1 else ""
    return " ".join(part for part in (f"from {group}" if group else "", f"at {label}" if label else "") if part)


def _margin(measurements: pd.DataFrame) -> str:
    """The smallest change of interest as it was tested, from the signature: such as "10 %"."""
    tested = measurements[measurements["metric"] == "mean_pairwise_distance:half_life"]["signature"]
    found = re.search(r"\|share:([0-9.]+)", str(tested.iloc[0])) if len(tested) else None
    return f"{float(found[1]):.0%}".replace("%", " %") if found else "the smallest change of interest"


# ---- what else -------------------------------------------------------------------------------------------------------


def _percent(values: tuple[float, float, float]) -> str:
    limits = "" if math.isnan(values[1]) else f" [{values[1] * 100:.0f}, {values[2] * 100:.0f}]"
    return f"{values[0] * 100:.0f} %{limits}"


def _memory(lines: Sequence[Summary]) -> str:
    """How much of what sets trajectories apart is still their start."""
    known = [line for line in lines if math.isfinite(line.memory[1][0])]
    if not known:
        return ""
    wholes = [line for line in known if line.memory[1][1] > 0]
    if len({(line.label, line.group) for line in known}) == 1:
        told = " and ".join(f"{_percent(line.memory[1])} of what sets {_PLURAL[line.modality]} apart" for line in known)
        return f"Late on, the start {'still explains' if len(wholes) == len(known) else 'explains'} {told}."
    values = [line.memory[1][0] for line in known]
    span = f"{min(values) * 100:.0f} to {max(values) * 100:.0f} %"
    if len(wholes) == len(known):
        return f"Late on, the start still explains {span} of what sets trajectories apart; every interval lies above 0."
    return (
        f"Late on, the start explains {span} of what sets trajectories apart; "
        f"the interval lies above 0 in {len(wholes)} of {len(known)} cases."
    )


def _ends(lines: Sequence[Summary]) -> str:
    """Whether endpoints are clustered beyond the nulls."""
    known = [line for line in lines if line.clusters in ("clustered", "no clusters shown")]
    clustered = [line for line in known if line.clusters == "clustered"]
    if not known:
        return ""
    if not clustered:
        return "No clusters of endpoints are shown beyond what chance and the starts give."
    which = (
        "Endpoints are" if len(clustered) == len(known) else f"In {len(clustered)} of {len(known)} cases endpoints are"
    )
    return f"{which} more clustered than chance and than the starts."


def _absorbed(measurements: pd.DataFrame) -> str:
    """Captions that repeat to the letter until the end."""
    of_texts = measurements["embedder"].isna() & (measurements["modality"] == "text")
    rows = measurements[of_texts & (measurements["metric"] == "absorbed") & measurements["item"].isna()]
    values = [float(v) for v in rows["value"] if math.isfinite(v)]
    if not values or max(values) == 0:
        return ""
    low, high = f"{min(values) * 100:.0f}", f"{max(values) * 100:.0f}"
    return f"{low if low == high else f'{low} to {high}'} % of trajectories end in captions that repeat to the letter."


def _controls(lines: Sequence[Summary]) -> str:
    """What the broken loops do, in a sentence: what the loop shows beyond them is the loop's doing."""
    told = {"decay": "fell", "no decay": "stayed within the margin", "rise": "rose", "undecided": "is undecided"}
    counts = [(told[v], sum(line.verdict == v for line in lines)) for v in _VERDICTS]
    there = [f"{what} in {count}" for what, count in counts if count]
    if not there:
        return ""
    of = "in the one case" if len(lines) == 1 else f"of {len(lines)} cases"
    return (
        f"Beside the loop, in its controls, which are broken on purpose, {of} diversity {' and '.join(there)}. "
        "What the loop shows beyond them is the loop's doing."
    )


def _notes(mine: Sequence[Summary], lines: Sequence[Summary]) -> list[str]:
    many = max(sum(line.modality == modality for line in mine) for modality in _PLURAL) > FEW
    notes = [
        (
            f"Diversity is the mean cosine distance between trajectories, as {mine[0].embedder} sees them; "
            f"[95 % intervals]{', of several cells their outermost limits,' if many else ''} are over starts like "
            "these, and speak of these models only."
        )
    ]
    if any(line.verdict == "decay" for line in mine):
        notes.append(
            "A fall is not yet homogenisation: starts chosen far apart come closer in any loop that forgets. "
            "`loopsim certify` asks whether groups of starts meet in one place."
        )
    others = [line.embedder for line in lines if line.embedder != mine[0].embedder]
    for name in dict.fromkeys(others):
        theirs = [line for line in lines if line.embedder == name]
        keys = {(x.label, x.group, x.modality): x.verdict for x in mine}
        differ = sum(keys.get((x.label, x.group, x.modality), x.verdict) != x.verdict for x in theirs)
        notes.append(
            f"{name} gives the same verdicts."
            if not differ
            else f"{name} gives another verdict in {differ} of {len(theirs)} cases: see the table."
        )
    return notes
