"""`loopsim verify`: find what is damaged in a run, and make room for it to be made again."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from loopsim.cli._shared import JsonOption, RunArgument, app, print_json, print_text, reporting, say, stderr

if TYPE_CHECKING:
    from loopsim.verify import Rerun, Verdict


@app.command()
def verify(
    directory: RunArgument,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put what is damaged aside, so that `loopsim run` makes it again.")
    ] = False,
    rerun: Annotated[
        int | None, typer.Option(min=1, help="Make this many stored steps again and compare every byte.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of --rerun.")] = 0,
    device: Annotated[str, typer.Option(help="For --rerun: auto, cpu, cuda, cuda:1, mps.")] = "auto",
    quick: Annotated[bool, typer.Option("--quick", help="Decode no pictures; checksums are still compared.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look whether a run is what was made. Exit status 1 when something is wrong."""
    with reporting():
        from loopsim.runner import check_device
        from loopsim.verify import repair_run, rerun_steps, verify_run

        check_device(device)
        watch = _counting if stderr.is_terminal else None
        verdict, done = verify_run(directory, pictures=not quick, watch=watch), list[str]()
        if repair:
            repaired = repair_run(directory, verdict, pictures=not quick, watch=watch)
            verdict, done = repaired.verdict, list(repaired.done)
        wrong = [finding for finding in verdict.findings if not repair or finding.remedy in ("none", "again")]
        again = None
        if rerun is not None and not wrong:
            again = rerun_steps(directory, rerun, seed=seed, device=device, on_load=say)
        if as_json:
            print_json(
                dataclasses.asdict(verdict) | {"hits": {c: sorted(ts) for c, ts in verdict.hits.items()},
                "done": done, "rerun": None if again is None else dataclasses.asdict(again)}
            )  # fmt: skip
        else:
            _print(verdict, done, repair, str(directory))
            if again is not None:
                _print_again(again)
            elif rerun is not None:
                say("nothing was made again for comparison, since something is wrong with what is stored")
        if wrong or (again is not None and not all(made.same for made in again.chosen)):
            raise typer.Exit(1)


def _counting(done: int, total: int) -> None:
    if done == total or done % 50 == 0:
        say(f"{done} of {total} cohorts")


def _print(verdict: Verdict, done: list[str], repair: bool, where: str) -> None:
    for finding in verdict.findings:
        print_text(finding.in_words())
    for line in verdict.notices:
        say(line, "notice:", "yellow")
    for line in done:
        print_text(line)
    n = len(verdict.findings)
    looked = f"{verdict.steps} steps, {verdict.pictures} pictures decoded, {verdict.vectors} vectors"
    if not n:
        print_text(f"{where}: nothing is wrong ({looked})")
        return
    print_text(f"{where}: {n} {'thing is' if n == 1 else 'things are'} wrong; right: {looked}")
    if repair and done:
        print_text(f"Damaged files are in {where}/damaged. The same `loopsim run` command makes again what is missing.")
    elif any(finding.remedy in ("move", "rewrite") for finding in verdict.findings):
        print_text(f"`loopsim verify {where} --repair` puts what is damaged aside; nothing is deleted.")


def _print_again(again: Rerun) -> None:
    for made in again.chosen:
        if not made.same:
            what = " and ".join(
                name for name, same in (("picture", made.same_picture), ("caption", made.same_text)) if not same
            )
            why = made.note or (
                f"another {what}" if made.same_shape
                else f"another {what}, in calls of another number of rows, which rounds otherwise"
            )  # fmt: skip
            print_text(f"trajectory {made.trajectory_id}, iteration {made.t}: {why}")
    same = sum(made.same for made in again.chosen)
    print_text(
        f"made again (choice seeded {again.seed}): {same} of {len(again.chosen)} steps are the same byte for byte; of "
        f"{again.beside} more from the same calls {again.beside_same}"
    )
    if same < len(again.chosen):
        print_text(
            "Another device, number of threads, version or number of rows a call may round a last digit otherwise."
        )
