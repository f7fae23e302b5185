"""From references and geometry to finished frames (§4.2, §4.3)."""
