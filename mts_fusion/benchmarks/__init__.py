"""The papers' tables, end to end: ``python -m mts_fusion.benchmarks <table>``."""

__all__: list[str] = []
