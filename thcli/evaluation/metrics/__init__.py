"""Metrics: each module defines one, or a few that belong together, as ``Metric`` objects in ``METRICS``."""
