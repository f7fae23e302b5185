"""The files of networks: what there is, where, whether it is what it should be, and how one's own are added."""
