"""The networks: torch only, no files, paths, configuration or commands."""
