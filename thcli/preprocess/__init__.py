"""Preprocessing of videos to the store that training reads, and of the store to the episodes that Θ learns from."""
