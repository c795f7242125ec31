"""Work on many independent paths, in threads: chunks, progress, Ctrl-C, and the same complaint on any number of threads."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import numpy as np

from cme.progress import progress

_LOOK = 0.1  # seconds between two looks at the counters

Task = Callable[[int, int, np.ndarray, np.ndarray], None]


def run_chunks(
    task: Task, n_paths: int, *, threads: int, label: str, unit: str = "events", show: bool | None = None, grain: int = 1, batch: int = 1
) -> int:
    """Run ``task(first, stop, cancel, done)`` over chunks of the paths 0, 1, ..., and return the number of events (or other `unit`).

    A task stops early when ``cancel[0]`` is set, keeps the number of its finished paths in ``done[0]`` and of its events in
    ``done[1]``, and raises on a fault; if it works block by block, the numbers of the blocks before are in ``done[2]`` and ``done[3]``.
    Chunks begin at multiples of `grain`, and are of `batch` paths at least as long as there are enough for every thread. The error that
    is raised here is that of the lowest chunk, so it does not depend on the number of threads: chunks below a fault run to their end,
    those above are cancelled. The tasks run in threads of their own even if there is one, so that Ctrl-C gets through; it cancels all of
    them before it is raised.
    """
    n_grains = -(-n_paths // grain)
    n_chunks = min(n_grains, threads * max(1, min(8, n_paths // (threads * batch))))
    edges = np.minimum(np.linspace(0, n_grains, n_chunks + 1).astype(np.int64) * grain, n_paths).tolist()
    cancel = np.zeros((n_chunks, 1), dtype=np.uint8)
    done = np.zeros((n_chunks, 4))
    with progress(label, n_paths, show) as bar, ThreadPoolExecutor(threads) as pool:
        try:
            futures = [pool.submit(task, edges[i], edges[i + 1], cancel[i], done[i]) for i in range(n_chunks)]
            waiting = set(futures)
            while waiting:
                finished, waiting = wait(waiting, timeout=_LOOK, return_when=FIRST_COMPLETED)
                for future in finished:
                    if future.exception() is not None:
                        cancel[futures.index(future) + 1 :] = 1
                bar.to(float(done[:, ::2].sum()), f"{done[:, 1::2].sum():.3g} {unit}")
        except BaseException:
            cancel[:] = 1
            raise
    for future in futures:
        future.result()
    return int(done[:, 1::2].sum())
