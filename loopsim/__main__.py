"""`python -m loopsim` is the `loopsim` command."""

from loopsim.cli import main

main()
