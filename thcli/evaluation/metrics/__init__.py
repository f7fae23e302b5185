"""The metrics, one a file: each module holds ``METRICS``, the ``Metric`` objects that it defines."""
