"""Training: one loop, and one file per stage that says what is built and what one step does."""
