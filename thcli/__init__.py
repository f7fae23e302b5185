"""thgen: a talking-head video from a short clip of a person and any speech recording."""

import os

__version__ = "0.1.0"

# ONNX Runtime from 1.32 on reports its use to its maker, and leaves a file beside the temporary ones, unless it is told
# not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
