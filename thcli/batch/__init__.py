"""Many videos from one list of jobs: ``thgen batch``.

jobs.py      the list: JSON Lines, one job a line
run.py       the jobs of a process, the next one prepared while one is drawn
cluster.py   the same on a Ray cluster
resume.py    what is done already
outcomes.py  what has become of each job
folder.py    the folder they are written to: what a run that was killed has left there
"""
