"""Input of ``thgen demo``; README.md says where it comes from."""
