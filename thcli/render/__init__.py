"""The 3D projector and motion matcher of §4.1: mesh, landmark maps, matched frame, warp."""
