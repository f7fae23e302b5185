"""Export of networks as ONNX files, each of which is compared with PyTorch."""
