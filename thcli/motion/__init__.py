"""How the face is to move: expression Ψ §3.2, head motion Φ §3.3, blinks, silence."""
