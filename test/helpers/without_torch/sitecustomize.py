"""
With this folder on PYTHONPATH, no Python process can import torch: as where it is not installed.

None in `sys.modules` makes an import fail, and `importlib.util.find_spec` find nothing.
"""

import sys

sys.modules['torch'] = None
