"""The viewer's socket: on this machine alone, and a port that is taken is said to be."""

import socket

import pytest

from actkit.cli.commands.view import _bound
from actkit.errors import UsageError


def test_a_port_is_listened_on_before_its_address_is_printed_and_by_one_viewer() -> None:
    with _bound(0) as listening:
        host, port = listening.getsockname()
        assert host == "127.0.0.1" and port > 0
        with socket.create_connection((host, port), timeout=30):
            pass
        with pytest.raises(UsageError, match=f"port {port} cannot be used: ") as raised:
            _bound(port)
    assert "--port" in raised.value.hint
    with _bound(port) as again:  # at once, although its last connection has just ended
        assert again.getsockname()[1] == port
