"""What `import loopsim` offers."""

from __future__ import annotations

import loopsim


def test_every_public_name_is_there_and_the_list_is_sorted():
    assert loopsim.__all__ == sorted(loopsim.__all__)
    for name in loopsim.__all__:
        assert getattr(loopsim, name) is not None


def test_the_listed_names_are_the_lazy_ones():
    assert set(loopsim.__all__) == {*loopsim._WHERE, "__version__"}


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(loopsim, "nothing")
