"""Prompts to begin with: pools that ship with loopsim, and how to choose far-apart, typical or narrow ones of them."""

from __future__ import annotations

from loopsim.prompts.choosing import METHODS, Choice, choose
from loopsim.prompts.pools import POOLS, TIERS, Pool, Prompt, read_pool
from loopsim.prompts.writing import write_prompts

__all__ = ["METHODS", "POOLS", "TIERS", "Choice", "Pool", "Prompt", "choose", "read_pool", "write_prompts"]
