"""TorchServe's ports: the ones set, else the defaults, else others that are free; and how others find them."""

import json
import socket

import pytest

from proxy.settings import BadSetting, Settings
from serve import ports
from serve.__main__ import alone
from serve.supervisor import StartError
from tests.stack import free_ports


@pytest.fixture
def settings(tmp_path) -> Settings:
    proxy, inference, management, metrics = free_ports(4)
    return Settings(
        host="127.0.0.1",
        port=proxy,
        ts_inference_port=inference,
        ts_management_port=management,
        ts_metrics_port=metrics,
        run_dir=tmp_path,
    )


def test_defaults_that_are_free_stay(settings):
    with ports.chosen(settings, {}) as chosen:
        assert chosen == settings


def test_a_default_gives_way_to_port(settings):
    same = settings.model_copy(update={"ts_inference_port": settings.port})
    with ports.chosen(same, {}) as chosen:
        pass
    assert chosen.ts_inference_port not in (same.port, same.ts_management_port, same.ts_metrics_port)
    assert chosen.model_copy(update={"ts_inference_port": same.port}) == same


def test_a_default_port_gives_way_to_one_in_use(settings):
    settings = settings.model_copy(update={"ts_metrics_port": settings.ts_inference_port})
    given = {"TS_METRICS_PORT": str(settings.ts_metrics_port)}
    with socket.create_server(("127.0.0.1", settings.ts_management_port)), ports.chosen(settings, given) as chosen:
        pass
    assert chosen.ts_metrics_port == settings.ts_metrics_port
    assert len({chosen.port, chosen.ts_inference_port, chosen.ts_management_port, chosen.ts_metrics_port}) == 4
    assert chosen.ts_management_port != settings.ts_management_port


def test_a_port_that_is_set_does_not_give_way(settings):
    with socket.create_server(("127.0.0.1", settings.ts_metrics_port)) as taken:
        sentence = f"TS_METRICS_PORT: cannot listen on 127.0.0.1:{taken.getsockname()[1]}: Address already in use"
        given = {"TS_METRICS_PORT": str(settings.ts_metrics_port)}
        with pytest.raises(BadSetting, match=sentence), ports.chosen(settings, given):
            pass


def test_copies_that_start_at_once_choose_different_ports(settings):
    """Neither TorchServe listens yet when the other copy looks for free ports."""
    other = settings.model_copy(update={"port": free_ports(1)[0]})
    with ports.chosen(settings, {}) as first, ports.chosen(other, {}) as second, ports.spare(other) as third:
        found = [getattr(each, f"ts_{name}_port") for each in (first, second, third) for name in ports.NAMES]
        assert len(set(found)) == 9
    with ports.chosen(settings, {}) as again:
        assert again == first


def test_others_read_the_ports_that_were_chosen(settings):
    settings.home.mkdir()
    file = ports.write(settings)
    assert json.loads(file.read_text()) == {
        "proxy": settings.port,
        "inference": settings.ts_inference_port,
        "management": settings.ts_management_port,
        "metrics": settings.ts_metrics_port,
    }
    assert (
        ports.read(Settings(port=settings.port, run_dir=settings.run_dir)).ts_metrics_port == settings.ts_metrics_port
    )


def test_two_copies_do_not_share_a_folder(tmp_path):
    """On two values of HOST both could listen on one PORT, and the second would empty the folder of the first."""
    settings = Settings(run_dir=tmp_path)
    with alone(settings), pytest.raises(StartError, match="another copy"), alone(settings):
        pass
    with alone(settings):
        pass
