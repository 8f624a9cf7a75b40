"""One contender in a process of its own: builds, then runs one iteration whenever it is told to.

    python -m benchmark.worker CONTENDER NET SIZE THREADS

Reads `forward` or `both` line by line and answers seconds; `gradient PATH` saves the last picture gradient;
`end` answers the peak resident memory in bytes and stops.
"""

from __future__ import annotations

import gc
import resource
import sys
import time

import numpy as np

from benchmark.contenders import make


def main() -> None:
    contender, name, size, threads = sys.argv[1:]
    iterations = make(contender, name, int(size), int(threads))
    gc.collect()
    print("ready", flush=True)
    for line in sys.stdin:
        word, _, argument = line.strip().partition(" ")
        if word == "end":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
            return
        if word == "gradient":
            np.save(argument, iterations.gradient())
            print("saved", flush=True)
            continue
        begin = time.perf_counter()
        getattr(iterations, word)()
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()
