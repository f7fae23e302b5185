"""Face tracking: mesh and head pose of a face in every frame (unprojection §4.1, motion disentangler §3.3)."""
