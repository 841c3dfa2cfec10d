"""Adapters to other libraries, a package each; each imports its library, and nothing else does."""

__all__: list[str] = []
