"""One training loop; a file per stage says what is built and what one step does."""
