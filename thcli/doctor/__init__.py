"""``thgen doctor``: checks of the installation, and of a finished video and its sidecar."""
