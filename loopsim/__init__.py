"""loopsim: simulate image-caption feedback loops and measure what they do."""

__version__ = "0.1.0"
