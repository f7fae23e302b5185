"""What is there of what thgen needs, and what a finished video says of itself; ``thgen doctor``."""
