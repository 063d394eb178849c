"""The options of `loopsim run` that share out a run: shards, and a Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

_RAY = "With --executor ray"

ShardOption = Annotated[
    str | None, typer.Option(metavar="I/N", help="Do part I of N, counted from 1, beside others; see docs/scaling.md.")
]
ExecutorOption = Annotated[str, typer.Option(metavar="local|ray", help="This process, or a Ray cluster.")]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Of the cluster.", show_default="RAY_ADDRESS, or this machine", rich_help_panel=_RAY),
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Workers.", show_default="all there is room for", rich_help_panel=_RAY)
]
GpusOption = Annotated[
    float | None,
    typer.Option(
        min=0, help="GPUs of each worker, such as 0.5.", show_default="1, if there are any", rich_help_panel=_RAY
    ),
]
CpusOption = Annotated[float, typer.Option(min=0, help="CPU cores of each.", rich_help_panel=_RAY)]
CaptionersOption = Annotated[
    int, typer.Option(min=0, help="Captioners that all workers share; 0: each has its own.", rich_help_panel=_RAY)
]
CaptionerGpusOption = Annotated[
    float | None,
    typer.Option(min=0, help="GPUs of each of these.", show_default="as of a worker", rich_help_panel=_RAY),
]
DriverWritesOption = Annotated[
    bool, typer.Option("--driver-writes", help="This process stores what workers make.", rich_help_panel=_RAY)
]
