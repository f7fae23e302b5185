"""Stored clips and episodes, and the training data made of them."""
