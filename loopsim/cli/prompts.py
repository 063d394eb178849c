"""`loopsim prompts`: choose prompts that are far apart, typical or narrow from a pool."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from loopsim import __version__
from loopsim.cli._shared import JsonOption, app, print_json, print_text, reporting, say
from loopsim.errors import UsageError

if TYPE_CHECKING:
    from loopsim.prompts import Choice


@app.command()
def prompts(
    pool: Annotated[
        str,
        typer.Option(
            metavar="FILE|NAME",
            help="A file of prompts, general, postcards-even, postcards-prior, postcards-narrow or postcards-terse.",
        ),
    ] = "general",
    n: Annotated[int, typer.Option("--n", min=1, help="How many.")] = 20,
    method: Annotated[
        Literal["farthest", "dpp", "random"] | None,
        typer.Option(help="How to choose those that are far apart; random is a plain sample.", show_default="farthest"),
    ] = None,
    typical: Annotated[
        bool, typer.Option("--typical", help="Choose the nearest to the pool's centre instead.")
    ] = False,
    narrow: Annotated[bool, typer.Option("--narrow", help="Choose a tight neighbourhood instead.")] = False,
    embedder: Annotated[
        str | None,
        typer.Option(
            help="In whose space: one of `loopsim models` that reads texts, or tfidf (counts of words).",
            show_default="tfidf; postcards for postcards",
        ),
    ] = None,
    tier: Annotated[
        list[str] | None, typer.Option(metavar="TIER[,TIER…]", help="Only prompts of these tiers.", show_default="all")
    ] = None,
    balance: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Equally many of each value, such as --balance tier.")
    ] = None,
    without: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Leave out what was chosen before; may be repeated.")
    ] = None,
    max_words: Annotated[int, typer.Option(min=1, help="Leave longer prompts out.")] = 30,
    column: Annotated[
        str | None, typer.Option(help="Of a file: which holds the prompts.", show_default="prompt")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of a dataset with several.")] = None,
    at_most: Annotated[
        int, typer.Option(min=1, help="Choose from so many at most; a larger pool is sampled first.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 2025,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write .csv, .tsv, .jsonl (with tier, id, …) or .txt.", show_default="print"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace --out.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Choose prompts that are far apart, typical or narrow from a pool, and measure how far apart they are."""
    with reporting():
        from loopsim.prompts import choose, read_pool, write_prompts
        from loopsim.prompts.writing import check_out
        from loopsim.runner import check_device

        chosen_method = _method(method, typical, narrow)
        if out is not None:
            check_out(out, force)
            if Path(pool).exists() and out.exists() and out.samefile(pool):
                raise UsageError(f"--out {out}: is the pool itself; choose another")
        check_device(device)
        source = read_pool(
            pool, n=n, seed=seed, draw_only=chosen_method == "random", tiers=_listed(tier), max_words=max_words,
            column=column, split=split, without=without or (),
        )  # fmt: skip
        choice = choose(
            source,
            n,
            method=chosen_method,
            embedder=embedder,
            balance=balance,
            at_most=at_most,
            seed=seed,
            device=device,
            on_load=say,
        )
        if out is not None:
            write_prompts(out, choice.prompts)
        _show(choice, out, as_json, seed, embedder is not None)


def _method(method: str | None, typical: bool, narrow: bool) -> str:
    given = {"--method": method is not None, "--typical": typical, "--narrow": narrow}
    asked = [name for name, there in given.items() if there]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} exclude each other; give one")
    return "typical" if typical else "narrow" if narrow else method or "farthest"


def _listed(tiers: list[str] | None) -> list[str]:
    return [one.strip() for given in tiers or () for one in given.split(",") if one.strip()]


def _show(choice: Choice, out: Path | None, as_json: bool, seed: int, named: bool) -> None:
    for line in _notices(choice, named):
        say(line, "notice:", "yellow")
    if as_json:
        print_json({
            "loopsim": __version__,
            "pool": choice.pool.name,
            "of": len(choice.pool.prompts),
            "left_out": list(choice.pool.notices),
            "dropped_columns": list(choice.pool.dropped),
            "method": choice.method,
            "embedder": choice.weights or None,
            "seed": seed,
            "spread": None if choice.spread is None else dataclasses.asdict(choice.spread),
            "prompts": [{"prompt": one.text, **one.facts} for one in choice.prompts],
            "out": None if out is None else str(out),
        })  # fmt: skip
        return
    if out is None:
        for one in choice.prompts:
            print_text(one.text)
    # Printed prompts are the result, to be piped into a file; what is told of them is not.
    tell = say if out is None else print_text
    if out is not None or choice.spread is not None:
        tell(_what(choice, out))
    for line in _distances(choice):
        tell(line)


def _what(choice: Choice, out: Path | None) -> str:
    how = {
        "farthest": "far apart (farthest point)", "dpp": "far apart (determinantal)", "random": "drawn at random",
        "typical": "nearest to the centre", "narrow": "of the tightest neighbourhood",
    }[choice.method]  # fmt: skip
    size = len(choice.prompts)
    head = f"{size} of {len(choice.pool.prompts)} prompts of {choice.pool.name}, {how}"
    return head + (f": {out}" if out is not None else "")


def _distances(choice: Choice) -> list[str]:
    spread = choice.spread
    if spread is None:
        return []
    low, high = spread.random_mean_interval
    least, most = spread.random_minimum_interval
    share = f"{spread.confidence:.0%}"
    head = (
        f"cosine distance in the space of {choice.embedder}, beside {spread.subsets} random subsets of the same size "
        f"(mean, and where {share} of them lie):"
    )
    return [
        head,
        f"  mean of all pairs {spread.mean:.3f}; random {spread.random_mean:.3f} [{low:.3f}, {high:.3f}]",
        f"  nearest pair      {spread.minimum:.3f}; random {spread.random_minimum:.3f} [{least:.3f}, {most:.3f}]",
    ]


def _notices(choice: Choice, named: bool) -> list[str]:
    lines = [f"left out: {'; '.join(choice.pool.notices)}"] if choice.pool.notices else []
    if choice.pool.dropped:
        lines.append(
            f"columns of {choice.pool.name} that do not go along, because an experiment's results could not hold them "
            f"(lists, or names of their own): {', '.join(choice.pool.dropped)}"
        )
    if choice.embedder == "tfidf" and not named:
        lines.append(
            "tfidf counts words that prompts share and knows nothing of what they mean (a ship is as far from a boat "
            "as from a spoon); --embedder all-mpnet-base-v2 or clip-vit-l-14 does, and downloads a model"
        )
    if choice.embedder == "postcards" and not choice.pool.drawn:
        lines.append("the embedder postcards knows the words of its small world only")
    return lines
