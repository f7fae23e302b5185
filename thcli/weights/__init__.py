"""``thgen weights``: listing, verifying and adding of the files of the networks."""
