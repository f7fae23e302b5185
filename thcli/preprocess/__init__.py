"""Videos to the store that training reads, and the store to the episodes that Θ learns from."""
