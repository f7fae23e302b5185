"""The preprocessed store and the datasets made of it."""
