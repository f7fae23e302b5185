"""Many videos from one list of jobs: ``thgen batch``.

jobs.py      reading of the list: JSON Lines, one job per line
run.py       running of jobs in one process, the next one prepared while one is rendered
cluster.py   running of jobs on a Ray cluster
resume.py    test of whether a job is done already
outcomes.py  log of the outcome of each job
folder.py    locking of the output folder, and removal of partial files of killed runs
prefetch.py  preparation of items in a thread, ahead of their use
"""
