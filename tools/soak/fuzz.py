"""Malformed messages, after each of which the tracker must process the next valid image."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo
from tqdm import tqdm

from tools.soak.malformed import Malformed
from tools.soak.pictures import CAMERA
from tools.soak.stage import Stage
from tools.soak.watch import Outcome, windows
from trans3dhead_ros.ros.camera_info import camera_info

# Malformed messages between two pictures of a person on each camera.
_EACH = 50


def fuzz(stage: Stage, size: int, seed: int = 0) -> Outcome:
    """
    Send malformed images, compressed images and calibrations.

    Each is followed by a valid image that must be processed: one of the other camera after an
    image, so that the malformed one is not just replaced by it; one of its own after a calibration.

    :param stage: the tracker and its clients.
    :param size: number of malformed messages.
    :param seed: of the random choices.
    :return: the outcome.
    """
    outcome = Outcome('malformed messages')
    stage.wait()
    malformed = Malformed(seed, stage.nobody)
    good, answered, resident = 0, 0, []
    for index in tqdm(range(size), desc='malformed messages', unit='messages', disable=None):
        kind = index % 3
        client, picture = (stage.packed, stage.raw, stage.raw)[kind], stage.nobody
        if kind == 0:
            stage.raw.images.publish(malformed.image(stage.raw.header()))
        elif kind == 1:
            stage.packed.images.publish(malformed.compressed(stage.packed.header()))
        else:
            # With a head in the picture, the camera is also used.
            picture = stage.person if index % 30 == 2 else stage.nobody
            size_px = (picture.shape[1], picture.shape[0])
            client.infos.publish(malformed.camera_info(client.header(), size_px))
            client.spin_for(0.002)
        good += 1
        answered += stage.ask(client, picture) is not None
        if index % _EACH == _EACH - 1 or index == size - 1:
            _restore_calibration(stage)
            stage.must_see(outcome, f'after {index + 1} malformed messages')
            good, answered = good + 2, answered + 2
            resident.append(stage.usage().resident)
        if not stage.alive() or good - answered > 5:
            break
    outcome.demand(stage.alive(), 'the tracker died')
    outcome.demand(answered == good, f'{good - answered} valid images were not processed')
    outcome.figures |= {'malformed messages': index + 1, 'good images': good, 'answered': answered}
    if stage.alive():
        for client in stage.clients:
            report = client.diagnostics()
            outcome.figures |= {f'{name}, {client.get_name()[12:]}': int(report[name])
                                for name in ('bad images', 'bad camera_info')}
        before, after = windows(resident)
        outcome.figures['resident (MB)'] = f'{before:.0f} -> {after:.0f}'
    return outcome


def _restore_calibration(stage: Stage) -> None:
    info: CameraInfo = camera_info(CAMERA)
    info.header = stage.raw.header()
    stage.raw.infos.publish(info)
    stage.raw.spin_for(0.05)
