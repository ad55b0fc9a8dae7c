"""A tracker with two cameras, one raw and one compressed, and a client for each."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from ros_graph import HEADS, Client, TrackerProcess, compressed
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from trans3dhead.msg import HeadArray

from tools.soak.pictures import empty, rendered
from tools.soak.watch import FORBIDDEN_WORDS, Outcome, Usage, usage
from trans3dhead_ros.ros.messages import bgr_image

# Processing it takes next to no time.
SMALL = (32, 24)
_TIMEOUT = 120.0  # s, for busy machines
# Number of images within which a new head must be found.
_SEARCH = 20


def models_folder(folder: Path) -> Path:
    """Return the folder that the tracker may load models from."""
    return folder / 'models'


def start_tracker(folder: Path, name: str = 'tracker') -> TrackerProcess:
    """Start an active tracker of the cameras raw and packed, with its log in a folder."""
    models = models_folder(folder)
    models.mkdir(parents=True, exist_ok=True)
    return TrackerProcess(
        folder / f'{name}.log', '-p', 'autostart:=true', '-p', 'cameras:=[raw, packed]',
        '-p', 'packed.image_transport:=compressed', '-p', f'model_folder:={models}')


class Stage:
    """
    The tracker that scenarios run on, its clients and pictures for it.

    :param process: from `start_tracker`.
    """

    def __init__(self, process: TrackerProcess) -> None:
        self.forbidden_words: tuple[str, ...] = FORBIDDEN_WORDS
        self.process = process
        self.models = models_folder(process.log.parent)
        self.raw = Client(camera='raw', outputs=HEADS)
        self.packed = Client(camera='packed', topic='image_raw/compressed', kind=CompressedImage,
                             outputs=HEADS)
        (self.person,), self.nobody = rendered(1), empty(SMALL)

    @property
    def clients(self) -> tuple[Client, Client]:
        return self.raw, self.packed

    def wait(self) -> None:
        """
        Wait until an image of each client has been processed.

        Only that shows that DDS has matched both sides; what is published before is lost.

        :raises AssertionError: when that does not happen.
        """
        for client in self.clients:
            assert self._reaches(client), f'no image was processed, see {self.process.log}'

    def _reaches(self, client: Client) -> bool:
        sent: list[Header] = []

        def answered() -> bool:
            return any(client.all_of('heads', header) for header in sent)
        client.received['heads'].clear()
        for _ in range(round(_TIMEOUT)):
            message = self.message(client, self.nobody)
            sent.append(message.header)
            client.images.publish(message)
            if client.spin_until(lambda: answered() or not self.alive(), 1.0):
                break
        return answered()

    def usage(self) -> Usage:
        return usage(self.process.popen.pid)

    def alive(self) -> bool:
        return self.process.popen.poll() is None

    def message(self, client: Client, picture: np.ndarray, header: Header | None = None,
                ) -> Image | CompressedImage:
        """Return a picture as the message of a client's camera, by default with the next header."""
        header = header or client.header()
        if client is self.raw:
            return bgr_image(header, picture)
        return compressed(header, cv2.imencode('.jpg', picture)[1].tobytes())

    def answer(self, client: Client, message: Image | CompressedImage) -> HeadArray | None:
        """Send an image and return its heads; None when they are not received."""
        client.received['heads'].clear()
        client.images.publish(message)
        client.spin_until(
            lambda: client.all_of('heads', message.header) or not self.alive(), _TIMEOUT)
        return next(iter(client.all_of('heads', message.header)), None)

    def ask(self, client: Client, picture: np.ndarray) -> HeadArray | None:
        return self.answer(client, self.message(client, picture))

    def must_see(self, outcome: Outcome, when: str, *clients: Client) -> None:
        """Demand that the head in the picture of each client, by default of both, is found."""
        for client in clients or self.clients:
            # Each image searches a part of the scales.
            for _ in range(_SEARCH):
                answer = self.ask(client, self.person)
                if answer is None or answer.heads:
                    break
            outcome.demand(answer is not None, f'a valid image was not processed {when}')
            outcome.demand(answer is None or len(answer.heads) == 1,
                           f'{len(answer.heads) if answer else 0} heads instead of one {when}')

    def end(self, outcome: Outcome) -> None:
        """End the tracker, and demand that it exits in order and has not logged a defect."""
        code = self.process.stop(timeout=_TIMEOUT)
        outcome.demand(code == 0, f'exit code {code}')
        outcome.read_log(self.process, self.forbidden_words)
        self.close()

    def close(self) -> None:
        """Destroy the clients."""
        for client in self.clients:
            client.close()
