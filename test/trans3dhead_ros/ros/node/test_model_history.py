"""The history of a node's models is kept in the index, or at least by the process."""

from trans3dhead_ros.model_files.model_index import INDEX, UsedModel
from trans3dhead_ros.ros.node.model_history import ModelHistory

FIRST, SECOND = UsedModel('first.onnx', 'a1' * 32), UsedModel('second.onnx', 'b2' * 32)


def test_it_is_found_again(tmp_path):
    warnings = []
    history = ModelHistory('/front', str(tmp_path), warnings.append)
    history.set([FIRST])
    history.set(history.followed_by(SECOND))
    assert ModelHistory('/front', str(tmp_path), warnings.append).used == [FIRST, SECOND]
    assert ModelHistory('/rear', str(tmp_path), warnings.append).used == []
    assert history.name_of(FIRST.sha256) == f'first.onnx {FIRST.sha256[:12]}'
    assert history.name_of('0' * 64) == '0' * 12
    assert not warnings


def test_the_same_weights_are_one_model(tmp_path):
    history = ModelHistory('/front', str(tmp_path), print)
    history.set([FIRST, SECOND])
    copy = UsedModel('copy.onnx', SECOND.sha256)
    assert history.followed_by(copy) == [FIRST, copy]
    assert history.followed_by(FIRST) == [FIRST, SECOND, FIRST]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    warnings = []
    history = ModelHistory('/front', '', warnings.append)
    history.set([FIRST, SECOND])
    assert history.used == [FIRST, SECOND]
    assert not warnings and not list(tmp_path.iterdir())


def test_a_damaged_index_is_a_warning_and_the_history_lasts_as_long_as_the_process(tmp_path):
    (tmp_path / INDEX).write_text('no index')
    warnings = []
    history = ModelHistory('/front', str(tmp_path), warnings.append)
    history.set([FIRST, SECOND])
    assert history.used == [FIRST, SECOND]
    assert len(warnings) == 2 and all(INDEX in text for text in warnings)
    (tmp_path / INDEX).unlink()
    history.set([FIRST])
    assert ModelHistory('/front', str(tmp_path), warnings.append).used == [FIRST]
    assert len(warnings) == 2
