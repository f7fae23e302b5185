"""Where the face is and how it is turned (unprojection §4.1, motion disentangler §3.3)."""
