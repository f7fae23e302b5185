"""Measurement of videos: recordings, metrics (one per file), comparisons, reports, the suite and user studies."""
