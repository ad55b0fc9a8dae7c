r"""
Frames per second alone, and beside processes that keep the cores busy, as on a robot.

    python benchmarks/busy_robot.py [--busy 2] [--seconds 15] [--threads 0] [--model FILE]

Tracks the bundled clip (two heads) again and again in the environment of the process
`head_tracker`, for which this program is started once more. Both rates are measured in turns, three
each, so that other load of the machine meets both. Threads that wait actively show in the cores
that are used alone.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import time

from trans3dhead_ros.ros.node.head_tracker import set_environment


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--busy', type=int, default=2, help='number of busy processes')
    parser.add_argument('--seconds', type=float, default=15.0, help='length of a measurement, s')
    parser.add_argument('--threads', type=int, default=0, help='as `threads` of the node')
    parser.add_argument('--model', default='default')
    options = parser.parse_args()
    set_environment()
    import cv2

    from trans3dhead_ros.inference.open_engine import default_threads
    from trans3dhead_ros.media.clip_truth import bundled_clip
    from trans3dhead_ros.media.sources import open_source
    from trans3dhead_ros.perception.pipeline import HeadPipeline

    cv2.setNumThreads(options.threads or default_threads())
    pipeline = HeadPipeline.load(options.model, 'cpu', threads=options.threads)
    frames = [frame.image for frame in open_source(str(bundled_clip()))]
    stamps = itertools.count()

    def rate() -> tuple[float, float]:
        """Return frames per second and the cores that were used."""
        begin, used, count = time.monotonic(), time.process_time(), 0
        while (elapsed := time.monotonic() - begin) < options.seconds:
            pipeline.track(frames[count % len(frames)], next(stamps) / 30.0)
            count += 1
        return count / elapsed, (time.process_time() - used) / elapsed

    rate()
    alone, beside, cores = [], [], []
    for _ in range(3):
        result = rate()
        alone.append(result[0])
        cores.append(result[1])
        busy = [subprocess.Popen([sys.executable, '-S', '-c', 'while True: pass'])
                for _ in range(options.busy)]
        try:
            beside.append(rate()[0])
        finally:
            for process in busy:
                process.kill()
                process.wait()
    first, second = statistics.median(alone), statistics.median(beside)
    print(f'alone {first:.1f} Hz with {statistics.median(cores):.2f} cores, beside '
          f'{options.busy} busy processes {second:.1f} Hz: {100.0 * second / first:.0f} %')


if __name__ == '__main__':
    main()
