"""Where the tasks of a study run: processes of this machine, or a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
from joblib.externals.loky import BrokenProcessPool

from ppl_models.errors import InvalidInput

SECONDS_TO_CONNECT = 10


@dataclass(frozen=True)
class Pool:
    """Processes, each on one thread.

    Args:
        jobs: how many at a time on this machine.
        dask: address of a Dask scheduler whose workers are used in place of them, all of them. They must see the study
            folder under the same path, have this package installed, and run one thread each: runs that share a process
            would share a random number generator.
    """

    jobs: int = 1
    dask: str | None = None

    def check(self) -> None:
        """Raise ``InvalidInput`` for a cluster that cannot be used."""
        if self.dask is not None:
            with self.opened():
                pass

    @property
    def deaths(self) -> tuple[type[Exception], ...]:
        """What is raised when a process that ran a task is gone."""
        if self.dask is None:
            return (BrokenProcessPool,)
        from distributed import KilledWorker  # takes a second, and is an extra

        return (BrokenProcessPool, KilledWorker)

    @contextmanager
    def opened(self) -> Iterator[dict[str, Any]]:
        """Joblib's backend in place; gives the settings of ``joblib.Parallel``.

        Raises:
            InvalidInput: for a cluster that cannot be used.
        """
        if self.dask is None:
            # Two processes at least, of which `pre_dispatch` uses as many as asked for: with one, joblib would run the
            # tasks in this process, which would die with them.
            with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
                yield {"n_jobs": max(2, self.jobs), "pre_dispatch": self.jobs}
            return
        with connected(self.dask) as client, joblib.parallel_config(backend="dask", client=client):
            yield {"n_jobs": -1}


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the cluster.

    Raises:
        InvalidInput: where Dask is not installed, no scheduler answers, or its workers are none or run several threads.
    """
    try:
        from distributed import Client  # takes a second, and is an extra
    except ModuleNotFoundError as error:
        remedy = "pip install 'ppl-models[dask]'"
        raise InvalidInput("--dask", address, "dask.distributed is not installed", remedy) from error
    try:
        client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:  # no answer; no address
        remedy = "give the scheduler's address, for example tcp://10.0.0.1:8786"
        raise InvalidInput("--dask", address, "no Dask scheduler answers there", remedy) from error
    with client:
        threads = client.nthreads()
        if not threads:
            raise InvalidInput("--dask", address, "the cluster has no workers", "start some: dask worker --nthreads 1")
        if set(threads.values()) != {1}:
            problem = "its workers run several threads, and runs that share a process share its random numbers"
            raise InvalidInput("--dask", address, problem, "start them with --nthreads 1")
        yield client
