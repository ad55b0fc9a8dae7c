"""
Build the environment of this repository in `.venv`; quick when nothing has changed.

    python3 scripts/set_up.py [runtime] [torch] [training] [test]

Without ROS 2 on the machine, the real thing (rclpy and Fast DDS) is installed from Python wheels.
Where a distribution is sourced, its Python, rclpy, NumPy and OpenCV are used and only what it lacks
is installed. Either way the messages of this package are built with CMake into the venv itself, so
that `.venv/bin/python` imports them with nothing sourced (see `overlay_bootstrap.py`).

Every step leaves a stamp with a hash of its inputs in `.venv/stamps` and is skipped while the hash
stays the same. Standard library only: this runs before anything is installed.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
VENV_PYTHON = VENV / 'bin' / 'python'
OVERLAY = ROOT / 'scripts' / 'overlay'
PYTHON_VERSIONS = ((3, 10), (3, 13))

# Beside a ROS 2 distribution these come from apt, as in rosdep: wheels would shadow what the
# distribution's rclpy was built against. Requirement -> its module, its package in apt.
APT = {
    'matplotlib': ('matplotlib', 'python3-matplotlib'),
    'numpy': ('numpy', 'python3-numpy'),
    'opencv-python-headless': ('cv2', 'python3-opencv'),
    'pytest': ('pytest', 'python3-pytest'),
    'pillow': ('PIL', 'python3-pil'),
    'pyyaml': ('yaml', 'python3-yaml'),
    'scipy': ('scipy', 'python3-scipy'),
    'tqdm': ('tqdm', 'python3-tqdm'),
}
# For peers in evaluations and for the export of graphs; they need a newer NumPy than Humble has.
OPTIONAL = ('ai-edge-litert', 'onnx', 'onnxscript')


class SetUpError(Exception):
    """Something is missing on this machine; the message says what, and how to install it."""


def main(arguments: list[str]) -> int:
    """Set up the named requirement groups and return the exit code."""
    groups = arguments or ['runtime', 'torch', 'training', 'test']
    # Concurrent runs of make in one checkout would install over each other.
    lock = os.open(str(ROOT), os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        distribution = sourced_distribution()
        check_machine(distribution)
        make_venv(distribution)
        install_requirements(groups, distribution)
        install_bootstrap()
        build_overlay(distribution)
        install_package()
    except SetUpError as error:
        print(f'set-up: {error}', file=sys.stderr)
        return 1
    finally:
        os.close(lock)
    return 0


def sourced_distribution() -> str | None:
    """Return the name of the ROS 2 distribution that the shell has sourced, None without one."""
    prefixes = [Path(p) for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    # A venv with the wheels is a ROS prefix as well, but not a distribution.
    real = [p for p in prefixes if not (p / 'pyvenv.cfg').exists()]
    if any((p / 'share' / 'rclpy' / 'package.xml').exists() for p in real):
        return os.environ.get('ROS_DISTRO', 'unknown')
    return None


def check_machine(distribution: str | None) -> None:
    """Raise SetUpError, with the remedy, for anything that would make a later step fail."""
    if not PYTHON_VERSIONS[0] <= sys.version_info[:2] <= PYTHON_VERSIONS[1]:
        raise SetUpError(
            f'Python 3.10 to 3.13 is needed, {sys.executable} is {platform.python_version()}; '
            'name another one: make PYTHON=python3.12'
        )
    if any(importlib.util.find_spec(module) is None for module in ('venv', 'ensurepip')):
        raise SetUpError("Python's venv module is missing: sudo apt install python3-venv")
    if not (Path(sysconfig.get_path('include')) / 'Python.h').exists():
        raise SetUpError('the headers of Python are missing: sudo apt install python3-dev')
    if not any(shutil.which(compiler) for compiler in ('c++', 'g++', 'clang++')):
        raise SetUpError('a C++ compiler is missing: sudo apt install build-essential')
    for tool, package in (('cmake', 'cmake'), ('make', 'build-essential')):
        if shutil.which(tool) is None:
            raise SetUpError(f'{tool} is missing: sudo apt install {package}')
    if distribution is None and platform.machine() != 'x86_64':
        raise SetUpError(
            f'ROS 2 as Python wheels exists for x86-64 only, this is {platform.machine()}; '
            'install and source a ROS 2 distribution (Humble, Jazzy or Kilted) and run make again'
        )
    if distribution is not None and importlib.util.find_spec('rclpy') is None:
        raise SetUpError(
            f'ROS 2 {distribution} is sourced, but {sys.executable} cannot import its rclpy; '
            'name its Python: make PYTHON=/usr/bin/python3'
        )


def digest(*inputs: Path | str) -> str:
    """Return a hash of texts and of the names and contents of files."""
    state = hashlib.sha256()
    for item in inputs:
        if isinstance(item, Path):
            state.update(str(item.relative_to(ROOT)).encode() + b'\0' + item.read_bytes())
        else:
            state.update(item.encode())
        state.update(b'\0')
    return state.hexdigest()


def is_done(step: str, key: str) -> bool:
    """Tell whether a step was finished with exactly these inputs."""
    stamp = VENV / 'stamps' / step
    return stamp.exists() and stamp.read_text() == key


def mark_done(step: str, key: str) -> None:
    """Record that a step was finished with these inputs."""
    (VENV / 'stamps').mkdir(exist_ok=True)
    (VENV / 'stamps' / step).write_text(key)


def make_venv(distribution: str | None) -> None:
    """Create `.venv` on this interpreter, and again when its Python or ROS 2 has changed."""
    key = digest(os.path.realpath(sys.executable), sys.version, str(distribution))
    if is_done('venv', key):
        return
    say('virtual environment')
    options = ['--system-site-packages'] if distribution else []
    python = os.path.realpath(sys.executable)  # rather than a venv that happens to be active
    run([python, '-m', 'venv', '--clear', *options, str(VENV)])
    mark_done('venv', key)


def install_requirements(groups: list[str], distribution: str | None) -> None:
    """Install the groups' pinned requirements, and the ROS wheels where nothing is sourced."""
    files = [ROOT / 'requirements' / f'{group}.txt' for group in groups]
    missing = [file.stem for file in files if not file.exists()]
    if missing:
        raise SetUpError(f"no requirement group '{missing[0]}': runtime, torch, training or test")
    if distribution is None:
        files.append(ROOT / 'requirements' / 'ros.txt')
    todo = [(file, digest(file)) for file in files]
    todo = [(file, key) for file, key in todo if not is_done(f'requirements-{file.stem}', key)]
    if not todo:
        return
    say('requirements: ' + ', '.join(file.stem for file, _ in todo))
    if distribution is None:
        # Compiled packages stay at the versions of runtime.txt, whatever another group asks for.
        arguments = ['-c', str(ROOT / 'requirements' / 'runtime.txt')]
        for file, _ in todo:
            arguments += ['-r', str(file)]
        pip_install(arguments)
        fix_wheel_targets()
    else:
        install_beside_distribution([line for file, _ in todo for line in requirements(file)])
    for file, key in todo:
        mark_done(f'requirements-{file.stem}', key)


def install_beside_distribution(lines: list[str]) -> None:
    """Install only what neither the sourced distribution nor apt has."""
    names = {line: re.split(r'[=<>\[]', line)[0] for line in lines}
    missing = [
        package for module, package in (APT[name] for name in names.values() if name in APT)
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise SetUpError('packages beside ROS 2 are missing: sudo apt install '
                         f'{" ".join(missing)}')
    # Binary compatible with the one that the distribution's messages were compiled against.
    numpy = f'numpy~={importlib.metadata.version("numpy")}'
    wheels = [line for line in lines if names[line] not in APT]
    pip_install([line for line in wheels if names[line] not in OPTIONAL] + [numpy])
    for line in wheels:
        if names[line] in OPTIONAL:
            try:
                pip_install([line, numpy])
            except SetUpError:
                print(f'set-up: without {line}: the distribution is too old for it', flush=True)


def requirements(file: Path) -> list[str]:
    """Return the lines of a requirement file without comments."""
    lines = [line.split('#')[0].strip() for line in file.read_text().splitlines()]
    return [line for line in lines if line]


def pip_install(arguments: list[str]) -> None:
    """Install into the venv; what is imported is compiled then, which saves a fifth of the time."""
    run([str(VENV_PYTHON), '-m', 'pip', 'install', '--quiet', '--no-compile', *arguments])


def fix_wheel_targets() -> None:
    """
    Point the wheels' CMake targets at this interpreter's include folders.

    They name folders of the machine that built the wheels (below /opt/python), and CMake rejects
    targets whose include folders do not exist.
    """
    include = sysconfig.get_path('include')
    numpy_include = subprocess.run(
        [str(VENV_PYTHON), '-c', 'import numpy; print(numpy.get_include())'],
        check=True, capture_output=True, text=True,
    ).stdout.strip()
    for target in (VENV / 'share').glob('*/cmake/*.cmake'):
        text = target.read_text()
        fixed = re.sub(r'/opt/python/[^;"]*/numpy/_?core/include', numpy_include, text)
        fixed = re.sub(r'/opt/python/[^;"]*/include/python[\d.]+', include, fixed)
        if fixed != text:
            target.write_text(fixed)


def install_bootstrap() -> None:
    """Let `.venv/bin/python` find the overlay by itself: a .pth file imports the bootstrap."""
    bootstrap = ROOT / 'scripts' / 'overlay_bootstrap.py'
    key = digest(bootstrap)
    if is_done('bootstrap', key):
        return
    site_packages = Path(subprocess.run(
        [str(VENV_PYTHON), '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
        check=True, capture_output=True, text=True,
    ).stdout.strip())
    shutil.copy(str(bootstrap), str(site_packages))
    # The name sorts before the .pth file of the wheels, which it replaces.
    (site_packages / 'overlay_bootstrap.pth').write_text('import overlay_bootstrap\n')
    mark_done('bootstrap', key)


def build_overlay(distribution: str | None) -> None:
    """Build our messages, and tf2_msgs where no distribution has it, into the venv."""
    packages = [] if distribution else [OVERLAY / 'tf2_msgs']
    inputs = [ROOT / 'CMakeLists.txt', ROOT / 'package.xml', ROOT / 'requirements' / 'ros.txt']
    for folder in (ROOT / 'msg', ROOT / 'srv', *packages):
        inputs += sorted(path for path in folder.rglob('*') if path.is_file())
    key = digest(*inputs, str(distribution))
    if is_done('overlay', key):
        return
    say('messages')
    for package in (*packages, ROOT):
        cmake_install(package)
    mark_done('overlay', key)


def cmake_install(package: Path) -> None:
    """Configure, build and install one interface package with the venv as prefix."""
    build = VENV / 'build' / package.name
    shutil.rmtree(str(build), ignore_errors=True)
    environment = dict(os.environ)
    environment['PATH'] = f'{VENV / "bin"}{os.pathsep}{environment.get("PATH", "")}'
    for variable in ('AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH'):
        environment[variable] = os.pathsep.join(filter(None, (str(VENV), os.environ.get(variable))))
    run([
        'cmake', '-S', str(package), '-B', str(build),
        f'-DCMAKE_INSTALL_PREFIX={VENV}', '-DCMAKE_BUILD_TYPE=Release', '-DBUILD_TESTING=OFF',
        f'-DPython3_EXECUTABLE={VENV_PYTHON}', f'-DPYTHON_EXECUTABLE={VENV_PYTHON}',
        '-DTRANS3DHEAD_INTERFACES_ONLY=ON', '--no-warn-unused-cli',
    ], environment)
    run(['cmake', '--build', str(build), '--parallel', str(os.cpu_count() or 1)], environment)
    run(['cmake', '--install', str(build)], environment)
    shutil.rmtree(str(build))


def install_package() -> None:
    """Make both packages importable from the working tree, with the commands in `.venv/bin`."""
    key = digest(ROOT / 'setup.cfg', ROOT / 'setup.py', ROOT / 'package.xml')
    if is_done('package', key):
        return
    say('trans3dhead command')
    run([
        str(VENV_PYTHON), '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation',
        '--editable', str(ROOT),
    ])
    mark_done('package', key)


def say(step: str) -> None:
    """Announce a step that takes a while."""
    print(f'set-up: {step} ...', flush=True)


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a command silently; when it fails, show its last lines and raise SetUpError."""
    environment = dict(environment or os.environ)
    # Set by a parent in another venv, it would keep this venv's Python from its libraries.
    environment.pop('_ROS_WHEELS_BOOTSTRAP_COMPLETE', None)
    done = subprocess.run(
        command, env=environment, cwd=str(ROOT), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode:
        print('\n'.join(done.stdout.splitlines()[-30:]), file=sys.stderr)
        raise SetUpError(f'failed (exit code {done.returncode}): {" ".join(command)}')


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
