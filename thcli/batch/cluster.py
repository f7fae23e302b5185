"""The jobs of a batch on a Ray cluster: an actor a device, each with its own networks and persons.

All machines see the same files under the same names, and have thgen with the same weights.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from thcli.batch.jobs import Job
from thcli.batch.outcomes import Outcome, failed
from thcli.batch.run import Manner, Runner
from thcli.errors import DeviceError, UsageError

ANSWER = 10.0
"""Seconds that a cluster has to answer."""


def run_on_ray(jobs: Sequence[Job], manner: Manner, address: str | None) -> Generator[Outcome, None, None]:
    """Outcomes as jobs end, in any order.

    address: of a running cluster; None for that of ``RAY_ADDRESS``, or where that is not set, one on this machine
    A device is a GPU; where the cluster has none, a CPU core. UsageError where Ray is not installed or not reached.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray: Ray is not installed; pip install '.[ray]'") from error
    _check_reached(address)
    return _run(ray, jobs, manner, address)


def _check_reached(address: str | None) -> None:
    """Ray itself leaves the process where nobody answers, after a minute."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except OSError as error:
        raise UsageError(
            f"--ray {address}: no cluster ({error.strerror or error}); start one there, or leave out the address"
        ) from error


def _run(ray: Any, jobs: Sequence[Job], manner: Manner, address: str | None) -> Generator[Outcome, None, None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    try:
        yield from _Cluster(ray, manner, jobs).run()
    finally:
        ray.shutdown()


class _Cluster:
    """Hands jobs to actors; one that is lost with its machine is started again elsewhere, and its job has failed."""

    def __init__(self, ray: Any, manner: Manner, jobs: Sequence[Job]) -> None:
        self.ray, self.manner, self.waiting = ray, manner, list(jobs)
        there = ray.cluster_resources()
        kind, amount = ("num_gpus", there["GPU"]) if there.get("GPU", 0) >= 1 else ("num_cpus", there.get("CPU", 0))
        if amount < 1:
            raise DeviceError("--ray: the cluster has neither a GPU nor a CPU core to offer; add machines to it")
        actor = ray.remote(**{kind: 1}, max_restarts=-1)(Runner)
        self.actors = [actor.remote(manner) for _ in range(min(int(amount), len(jobs)))]

    def run(self) -> Iterator[Outcome]:
        """Outcomes as jobs end."""
        running: dict[Any, tuple[Any, Job]] = {}

        def give(actor: Any, last: Job | None) -> None:
            job = self._next(last, [other for _, other in running.values()])
            if job is not None:
                running[actor.run_one.remote(job)] = (actor, job)

        for actor in self.actors:
            give(actor, None)
        while running:
            (ended, *_), _ = self.ray.wait(list(running), num_returns=1)
            actor, job = running.pop(ended)
            outcome = self._outcome(ended, job)
            yield outcome
            if outcome.status == "failed" and not self.manner.keep_going:
                self.waiting.clear()
            give(actor, job)

    def _next(self, last: Job | None, others: Sequence[Job]) -> Job | None:
        """The job for an actor: best of the reference that it has tracked, else of one that no other is at."""
        if not self.waiting:
            return None
        taken = {job.reference for job in others}
        own = last.reference if last is not None else None
        chosen = min(self.waiting, key=lambda job: (job.reference != own, job.reference in taken))
        self.waiting.remove(chosen)
        return chosen

    def _outcome(self, ended: Any, job: Job) -> Outcome:
        try:
            outcome: Outcome = self.ray.get(ended)
        except self.ray.exceptions.RayError as error:
            lost = f"lost with its worker ({type(error).__name__}); see the cluster's logs, and run again with --resume"
            return failed(job, 0.0, lost, 1)
        return outcome
