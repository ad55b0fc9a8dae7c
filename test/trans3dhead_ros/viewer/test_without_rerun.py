"""Without Rerun, the viewer says how to install it."""

import subprocess
import sys


def test_without_rerun_it_is_said_how_to_install_it(tmp_path):
    script = ('import sys; sys.modules["rerun"] = None\n'
              'from trans3dhead_ros.cli.main import main\n'
              f'sys.exit(main(["view", {str(tmp_path)!r}]))')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert 'python3 -m pip install rerun-sdk;' in done.stderr
