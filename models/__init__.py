"""The networks. They depend on PyTorch only and know no files, configuration or commands."""
