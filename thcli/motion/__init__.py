"""Motion of the face: expression (Ψ, §3.2), head motion (Φ, §3.3), blinks, and closed lips in silence."""
