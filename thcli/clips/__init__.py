"""Reading and writing of media files; no other package uses ffmpeg."""
