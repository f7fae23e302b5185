"""Media in and out: the only user of ffmpeg."""
