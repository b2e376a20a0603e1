"""The same names as in `millstream`."""

from millstream.tokens import TokensLoader

__all__ = ["TokensLoader"]
