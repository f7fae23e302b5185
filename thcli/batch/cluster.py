"""Jobs of a batch on a Ray cluster: one actor per device, each with its own networks and persons.

All machines must see the same files under the same names, and have thgen installed with the same weights.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from thcli.batch.jobs import Job
from thcli.batch.outcomes import Outcome, failed
from thcli.batch.run import Runner, RunPolicy
from thcli.errors import DeviceError, UsageError
from thcli.signals import kept_handlers

ANSWER = 10.0
"""Seconds within which a cluster must accept a connection."""


def run_on_ray(jobs: Sequence[Job], policy: RunPolicy, address: str | None) -> Generator[Outcome, None, None]:
    """Yield outcomes as jobs end, in any order.

    An actor has one GPU, or one CPU core where the cluster has no GPU.

    address: address of a running cluster; None for that of ``RAY_ADDRESS``, or for a cluster that is started on this
        machine where ``RAY_ADDRESS`` is not set

    Raises UsageError where Ray is not installed or the cluster does not answer, DeviceError where it has no device.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray: Ray is not installed; pip install '.[ray]'") from error
    _check_reached(address)
    return _run(ray, jobs, policy, address)


def _check_reached(address: str | None) -> None:
    """Raise UsageError where no cluster answers; Ray itself would end the process after a minute."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except OSError as error:
        raise UsageError(
            f"--ray {address}: no cluster ({error.strerror or error}); start one there, or leave out the address"
        ) from error


def _run(ray: Any, jobs: Sequence[Job], policy: RunPolicy, address: str | None) -> Generator[Outcome, None, None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with kept_handlers():  # Ray sets one of its own for SIGTERM, and leaves it behind
        ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    try:
        yield from _Cluster(ray, policy, jobs).run()
    finally:
        ray.shutdown()


class _Cluster:
    """Actors of a cluster and the jobs that wait for them.

    An actor that is lost with its machine is started again elsewhere, and the job that it ran has failed.
    """

    def __init__(self, ray: Any, policy: RunPolicy, jobs: Sequence[Job]) -> None:
        self.ray, self.policy, self.waiting = ray, policy, list(jobs)
        there = ray.cluster_resources()
        kind, amount = ("num_gpus", there["GPU"]) if there.get("GPU", 0) >= 1 else ("num_cpus", there.get("CPU", 0))
        if amount < 1:
            raise DeviceError("--ray: the cluster has neither a GPU nor a CPU core to offer; add machines to it")
        actor = ray.remote(**{kind: 1}, max_restarts=-1)(Runner)
        self.actors = [actor.remote(policy) for _ in range(min(int(amount), len(jobs)))]

    def run(self) -> Iterator[Outcome]:
        """Yield outcomes as jobs end."""
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
            if outcome.status == "failed" and not self.policy.keep_going:
                self.waiting.clear()
            give(actor, job)

    def _next(self, last: Job | None, others: Sequence[Job]) -> Job | None:
        """Remove and return the next job for an actor, None where none waits.

        A job with the reference that the actor has just tracked is preferred, then one whose reference no other actor
        is using.
        """
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
