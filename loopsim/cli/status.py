"""`loopsim status`: how far a run is, and each of its shards where it is shared out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loopsim.cli._shared import JsonOption, RunArgument, app, print_json, print_text, reporting, table

if TYPE_CHECKING:
    from loopsim.store import Run
    from loopsim.store.lock import Holder


@app.command()
def status(directory: RunArgument, as_json: JsonOption = False) -> None:
    """Show how far a run is, its failures and its flags, and how each of its shards is."""
    with reporting():
        from loopsim.runner import describe_failures
        from loopsim.store import open_run

        found = open_run(directory)
        writer = found.writer()
        done, total = found.count_steps()
        failures, flags, shards = found.failures(), found.flag_counts(), _shards(found)
        if as_json:
            state = {
                "name": found.name, "steps": done, "total": total, "failed": len(failures),
                "flags": flags, "measured": found.is_measured(), "shards": shards,
                "state": _state(found, writer, done >= total)[0],
                "where": f"{writer.host}, process {writer.pid}" if writer.host else "",
            }  # fmt: skip
            print_json(state)
            return
        state_word = _state(found, writer, done >= total, [s["shard"] for s in shards if s["state"] == "running"])[1]
        measured = "measured" if found.is_measured() else "not measured yet"
        share = done / total if total else 1.0
        text = f"{found.name}: {done} of {total} steps ({share:.0%}), {state_word}, {measured}"
        print_text(text)
        if shards:
            rows = [
                (s["shard"], str(s["cohorts"]), f"{s['steps']} of {s['total']}", s["state"], s["where"]) for s in shards
            ]
            table("", ("shard", "cohorts", "steps", "state", "where"), rows)
        for line in _given_up(found):
            print_text(line)
        if failures:
            print_text(describe_failures(failures))
        for name, count in flags.items():
            print_text(f"flag {name}: {count} steps")


def _state(run: Run, writer: Holder, complete: bool, shards: Sequence[str] = ()) -> tuple[str, str]:
    """What a run is doing: one word, and the same in words for people.

    Args:
        run: the run.
        writer: who holds it, or held it last.
        complete: whether all its steps are stored.
        shards: those that are being written, where it is shared out.
    """
    by = f", shard{'s' * (len(shards) > 1)} {', '.join(shards)}" if shards else str(writer)
    if writer.held and not complete:
        return "running", f"running{by}"
    if writer.held and not run.is_measured():
        return "measuring", f"finished, being embedded and measured{by}"
    if complete:
        return "finished", "finished"
    resumes = "the same `loopsim run` command resumes it"
    if writer.elsewhere:  # some file systems show locks to their own machine only
        return "unfinished", f"unfinished: unless it still runs{writer}, which cannot be seen from here, {resumes}"
    return "unfinished", f"unfinished: {resumes}"


def _shards(run: Run) -> list[dict[str, Any]]:
    """Each shard of a run that is shared out: how far, who is at it, and if nobody is, how it ended."""
    from loopsim.store.journal import read_events
    from loopsim.store.shares import holders, latest

    held, found = holders(run.path), []
    for share in latest(run.path):
        cohorts = share.of(list(run.cohorts))
        done, total = run.count_steps(cohorts)
        holder = held.get(share)
        last = (read_events(run.path / f"log-{share.name}.jsonl") or [{}])[-1]
        if holder is not None and holder.held:
            state = "running"
        elif done >= total:
            state = "finished"
        elif holder is None:
            state = "not begun"
        elif last.get("event") == "end":  # iterations were added, or a repair has put some aside
            state = "ended, with more to do since"
        elif last.get("event") in ("stopped", "failed"):
            state = f"{last['event']}: {str(last.get('message', '')).partition(chr(10))[0][:60]}"
        else:
            state = "ended without a word: killed, or on a machine whose locks cannot be seen from here"
        where = f"{holder.host}, process {holder.pid}" if holder is not None and holder.host else ""
        found.append({"shard": str(share), "cohorts": len(cohorts), "steps": done, "total": total, "state": state,
                      "where": where})  # fmt: skip
    return found


def _given_up(run: Run) -> list[str]:
    """Cohorts that a cluster gave up since they were last begun; nothing of them is shut out for good."""
    given: dict[str, str] = {}
    for event in run.events():
        if event.get("event") == "start":
            given.clear()
        elif event.get("event") == "given up":
            message = str(event.get("message", "")).splitlines()[0][:200]
            given[str(event.get("cohort"))] = f"cohort {event.get('cohort')} was given up: {message}"
    return list(given.values())
