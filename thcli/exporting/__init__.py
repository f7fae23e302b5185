"""All networks as ONNX files, each checked against PyTorch; ``thgen export``."""
