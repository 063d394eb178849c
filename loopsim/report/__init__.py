"""Figures, from measurements and steps only."""
