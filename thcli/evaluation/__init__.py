"""Measuring videos: recordings, metrics (one a file), comparisons, and what is written about them."""
