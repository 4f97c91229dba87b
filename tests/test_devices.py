"""The devices of the current strategy decide the form of the computations."""

import threading

import pytest
import tensorflow as tf

from tfseg import devices


def test_a_cpu_gets_its_own_form():
    assert devices.current_form() is devices.CPU
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        assert devices.current_form() is devices.CPU


@pytest.mark.parametrize(("kind", "form"), [("GPU", devices.GPU), ("TPU", devices.TPU)])
def test_the_devices_of_the_strategy_decide(kind, form):
    # A strategy may be built for a device that is absent, as long as nothing runs.
    with tf.distribute.OneDeviceStrategy(f"/device:{kind}:0").scope():
        assert devices.current_form() is form
    assert devices.current_form() is devices.CPU


def test_a_form_can_be_asked_for_in_every_thread():
    found = []
    with devices.asking_for(devices.TPU):
        thread = threading.Thread(target=lambda: found.append(devices.current_form()))
        thread.start()
        thread.join()
        with devices.asking_for(devices.CPU):
            assert devices.current_form() is devices.CPU
        assert devices.current_form() is devices.TPU
    assert found == [devices.TPU]
    assert devices.current_form() is devices.CPU
