"""
Measure in a separate process.

NumPy's and OpenMP's libraries read their number of threads when they are loaded, so that only the
environment of a new process limits all of them; and only a new process starts up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trans3dhead_ros.bench.settings import Settings
from trans3dhead_ros.errors import UserError

_THREAD_VARIABLES = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS',
                     'BLIS_NUM_THREADS', 'VECLIB_MAXIMUM_THREADS')
_USER_MISTAKE = 2


def measure_in_child(what: str, settings: Settings) -> Any:
    """
    Measure in a new process.

    :param what: 'stages', 'throughput' or 'start_up'.
    :param settings: its `threads` limit every library of the process.
    :return: JSON values.
    :raises UserError: what the process has raised.
    :raises RuntimeError: when the process fails otherwise; its traceback is on the standard error.
    """
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get('PYTHONPATH', '')]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths)),
                   **dict.fromkeys(_THREAD_VARIABLES, str(settings.threads))}
    request = json.dumps({'what': what, 'settings': asdict(settings), 'started': time.time()})
    done = subprocess.run([sys.executable, '-m', __name__], input=request, text=True,
                          stdout=subprocess.PIPE, env=environment)
    if done.returncode not in (0, _USER_MISTAKE):
        raise RuntimeError(f'bench: the process that measures {what} ended with code '
                           f'{done.returncode}')
    answer = json.loads(done.stdout.splitlines()[-1])
    if done.returncode:
        raise UserError(answer)
    return answer


def main() -> int:
    """Measure what the standard input asks for, and print it as one line of JSON."""
    request = json.load(sys.stdin)
    try:
        result = _measure(request['what'], Settings(**request['settings']), request['started'])
    except OSError as error:
        if error.filename is None:
            raise
        print(json.dumps(f'{error.filename}: {error.strerror}'))
        return _USER_MISTAKE
    except UserError as error:
        print(json.dumps(str(error)))
        return _USER_MISTAKE
    print(json.dumps(result))
    return 0


def _measure(what: str, settings: Settings, started: float) -> Any:
    if what == 'start_up':  # with no more imports than a program has that uses the library
        from trans3dhead_ros.bench.start_up import measure_start_up
        return measure_start_up(settings, started)
    from trans3dhead_ros.bench.measurement import measure_stages, measure_throughput
    return {'stages': measure_stages, 'throughput': measure_throughput}[what](settings)


if __name__ == '__main__':
    sys.exit(main())
