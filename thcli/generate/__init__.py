"""``thgen generate``: one job from its options to its files, around the join in ``thcli.pipeline``."""
