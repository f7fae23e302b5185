"""User studies (§0.B.4): a page on which viewers rate shuffled, anonymous videos, and the scoring of their answers."""
