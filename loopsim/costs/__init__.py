"""What a study costs before it is run: pictures, captions, vectors, model loads, disk, time and money."""

from loopsim.costs.pricing import price_plan
from loopsim.costs.probing import probe_plan
from loopsim.costs.records import Costs, Disk, Estimate, Loads, Money, Probe, Rate, Work

__all__ = ["Costs", "Disk", "Estimate", "Loads", "Money", "Probe", "Rate", "Work", "price_plan", "probe_plan"]
