"""Networks as ONNX files, each compared with PyTorch."""
