"""User studies, §0.B.4: a page on which viewers rate shuffled, anonymous videos, and what their answers come to."""
