"""ROS in this process, and trackers, clients and pictures that many tests share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SIZE = (480, 360)
# Longer than any test waits between two images, also on a busy machine.
NO_IMAGE_WARNING = 60.0


@pytest.fixture(scope='module')
def ros() -> None:
    """Initialise ROS in this process; modules that need a context of their own shut it down."""
    from ros_graph import start_ros

    start_ros()


@pytest.fixture(scope='session')
def render() -> Callable[..., np.ndarray]:
    """Return a function that draws heads at (rotation, position in m) before a wall, as BGR."""
    pytest.importorskip('torch')
    from trans3dhead_ros.network.checkpoint import load_head_model
    from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

    renderer = HeadRenderer.from_model(load_head_model())

    def render(camera, *poses):
        image = np.full((camera.size[1], camera.size[0], 3), (120, 128, 122), np.uint8)
        for rotation, position in poses:
            image = renderer.render(image, camera, rotation, np.asarray(position, float))
        return image
    return render


@pytest.fixture(scope='session')
def camera():
    from trans3dhead_ros.camera import Camera

    return Camera.from_fov(SIZE, 60.0)


@pytest.fixture(scope='session')
def rendered(render, camera) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return pictures of a head that turns slowly, with its true rotation and position."""
    from trans3dhead_ros.geometry import rotation_from_euler

    position = np.array([0.02, -0.02, 0.5])
    poses = [rotation_from_euler(np.array([yaw, -3.0, 4.0])) for yaw in np.linspace(-8, 16, 5)]
    return [(render(camera, (rotation, position)), rotation, position) for rotation in poses]


@pytest.fixture(scope='session')
def picture(rendered) -> np.ndarray:
    """Return a picture of one head."""
    return rendered[2][0]


@pytest.fixture(scope='session')
def models(tmp_path_factory) -> Path:
    """Return the folder that the shared tracker may load models from, with good and bad files."""
    pytest.importorskip('torch')
    from synthetic import small_network

    from trans3dhead_ros.model_files.model_metadata import bundled_model
    from trans3dhead_ros.network.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp('models')
    whole = bundled_model().read_bytes()
    (folder / 'same.safetensors').write_bytes(whole)
    (folder / 'cut.safetensors').write_bytes(whole[:len(whole) // 2])
    (folder / 'text.safetensors').write_text('no tensors')
    save_checkpoint(folder / 'small.safetensors', small_network(), {'name': 'small'})
    (folder / 'out.safetensors').symlink_to('/etc/hostname')
    return folder


# Of a module each: two nodes of one name in the graph would both answer.
@pytest.fixture(scope='module')
def tracker(tmp_path_factory, models):
    """Return an active tracker of one camera; every test leaves it as it was."""
    from ros_graph import TrackerProcess

    process = TrackerProcess(
        tmp_path_factory.mktemp('tracker') / 'log.txt', '-p', 'autostart:=true',
        '-p', f'no_image_warning:={NO_IMAGE_WARNING}', '-p', f'model_folder:={models}')
    yield process
    assert process.stop() == 0, process.text()
    assert 'Traceback' not in process.text()


@pytest.fixture(scope='module')
def two_camera_tracker(tmp_path_factory):
    """Return an active tracker of the cameras raw and packed; every test leaves it as it was."""
    from tools.soak.stage import start_tracker

    process = start_tracker(tmp_path_factory.mktemp('cameras'))
    yield process
    assert process.stop() == 0, process.text()
    assert 'Traceback' not in process.text()


@pytest.fixture(scope='module')
def module_client(ros, tracker):
    from ros_graph import SMALL_OUTPUTS, Client

    client = Client(outputs=SMALL_OUTPUTS)
    client.wait_for_tracker()
    yield client
    client.close()


@pytest.fixture
def client(module_client):
    """Return a client of the shared tracker, which has no tracks; it reads the small outputs."""
    from std_srvs.srv import Trigger

    module_client.call(Trigger, 'head_tracker/reset', Trigger.Request())
    module_client.forget()
    return module_client


@pytest.fixture
def short_timeout(client, picture):
    """Let the tracker report missing images after one second."""
    client.set_tracker_parameters(no_image_warning=1.0)
    yield
    client.set_tracker_parameters(no_image_warning=NO_IMAGE_WARNING)
    # In the silence it has renewed its subscription, which DDS has still to connect; until the old
    # one is gone, that one receives images.
    client.spin_for(2.5)
    assert client.stream_is_processed(picture)


@pytest.fixture
def observer(client):
    """Return the client, which for this test reads the large outputs as well."""
    from ros_graph import KEEP, LARGE_OUTPUTS

    subscriptions = [client.listen(name, kind, KEEP) for name, kind in LARGE_OUTPUTS.items()]
    client.wait_for_tracker()
    yield client
    for subscription in subscriptions:
        client.destroy_subscription(subscription)
