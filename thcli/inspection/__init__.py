"""What a clip or a recording holds, in figures and advice."""
